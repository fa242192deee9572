"""The command line as a test uses it, and what it finds in Postgres."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from typer.testing import CliRunner

from saga_service.base.postgres import close_pool
from saga_service.cli.main import app
from saga_service.definitions import definition_from_document
from saga_service.engine.ports import Batch
from saga_service.store.pool import create_pool
from saga_service.store.postgres_store import PostgresStore
from saga_service.store.process_registry import PostgresProcesses
from saga_service.wire.process_report import ProcessReport


class Ran:
    """What a command printed, and how it ended."""

    def __init__(self, exit_code: int, out: str, err: str) -> None:
        self.exit_code = exit_code
        self.out = out
        self.err = err

    @property
    def json(self) -> Any:  # whatever the command prints
        return json.loads(self.out)

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


def run(*arguments: str, stdin: str | bytes | None = None) -> Ran:
    """Run one command in this process. What it raises, other than its exit, is raised here."""
    result = CliRunner().invoke(app, list(arguments), input=stdin, catch_exceptions=False)
    return Ran(result.exit_code, result.stdout, result.stderr)


async def run_aside(*arguments: str) -> Ran:
    """Run a command in a thread, for a test with a loop of its own. Nothing else may print meanwhile."""
    return await asyncio.to_thread(run, *arguments)


async def run_process(*arguments: str) -> Ran:
    """Run one command as a process, for a test in which the service runs."""
    program = "from saga_service.cli.main import main; main()"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, *arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    out, err = await process.communicate()
    assert process.returncode is not None, "it has ended"
    return Ran(process.returncode, out.decode(), err.decode())


async def store(postgres_dsn: str, batch: Batch, *documents: Mapping[str, Any]) -> None:
    """Commit a batch as the service would, after putting the definitions of these documents on record."""
    pool = await create_pool(postgres_dsn, 1)
    try:
        store = PostgresStore(pool, definition_from_document)
        if documents:
            await store.remember_definitions(documents)
        await store.commit(batch)
    finally:
        await close_pool(pool)


async def report(postgres_dsn: str, *reports: ProcessReport) -> None:
    """Put reports of processes on record, as made just now."""
    pool = await create_pool(postgres_dsn, 1)
    try:
        await PostgresProcesses(pool).record([(each, 0) for each in reports])
    finally:
        await close_pool(pool)
