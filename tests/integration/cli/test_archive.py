"""`archive`: ended sagas with all that is known of them, as a file; and out of the database, if asked and then only."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import stat
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from pyarrow import parquet

from saga_service.cli.access import archive as archiving
from tests.support.command_line import run_aside, run_process
from tests.support.ended_sagas import DAY_MS, HOUR_MS, OLD_MS, left, put


@pytest.fixture(autouse=True)
def settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, postgres_dsn: str) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SAGA_POSTGRES_DSN", postgres_dsn)


@pytest.fixture
async def connection(postgres_dsn: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(postgres_dsn)
    yield connection
    await connection.close()


@pytest.fixture
async def ended(connection: asyncpg.Connection) -> None:
    """Three that ended one after the other, and some that have not."""
    await put(connection, "first", ended_at_ms=OLD_MS)
    await put(connection, "second", "compensated", OLD_MS + 1)
    await put(connection, "of-another", ended_at_ms=OLD_MS + 2, saga="trip")
    await put(connection, "running", "running", None, wake_at_ms=1)
    await put(connection, "stuck", "stuck", None)


def sagas_in(lines: str | bytes) -> list[dict[str, Any]]:
    """Any: whatever a line holds."""
    return [json.loads(line) for line in lines.splitlines()]


def keys_in(lines: str | bytes) -> list[str]:
    return [saga["key"] for saga in sagas_in(lines)]


# ------------------------------------------------------------------------------------------------------------ writing


async def test_a_line_holds_all_that_the_views_show_of_a_saga(connection: asyncpg.Connection) -> None:
    saga_id = await put(connection, "A-1")

    ran = await run_process("archive")

    [saga] = sagas_in(ran.out)
    columns = await archiving.columns_of_the_views(connection)
    assert list(saga) == [*columns["sagas"], "steps", "history"]
    assert all(list(step) == list(columns["steps"]) for step in saga["steps"])
    assert all(list(line) == list(columns["history"]) for line in saga["history"])
    assert {name: saga[name] for name in ("id", "saga", "key", "status", "revision", "ended_at", "input")} == {
        "id": saga_id,
        "saga": "order",
        "key": "A-1",
        "status": "completed",
        "revision": 3,
        "ended_at": "1970-01-01T01:23:20Z",
        "input": {"amount": 5, "note": "Zone ä"},
    }
    assert [(step["step"], step["status"], step["output"], step["error_code"]) for step in saga["steps"]] == [
        ("reserve", "succeeded", {"place": "A"}, None),
        ("charge", "failed", None, "no_funds"),
    ]
    assert [(line["revision"], line["sent"]) for line in saga["history"]] == [
        (revision, ["reserve:action:1"]) for revision in (1, 2, 3)
    ]


async def test_only_what_has_ended_is_written_in_the_order_of_the_ends(ended: None) -> None:
    ran = await run_process("archive")

    assert (ran.exit_code, keys_in(ran.out)) == (0, ["first", "second", "of-another"])
    assert ran.err.startswith("3 sagas that ended before 20")


async def test_what_is_written_can_be_narrowed_down(connection: asyncpg.Connection, ended: None) -> None:
    now_ms = time.time_ns() // 1_000_000
    await put(connection, "two-hours-ago", ended_at_ms=now_ms - 2 * HOUR_MS)

    async def keys(*arguments: str) -> list[str]:
        return keys_in((await run_process("archive", *arguments)).out)

    assert await keys("--saga", "trip") == ["of-another"]
    assert await keys("--saga", "nobody") == []
    assert await keys("--before", "1h") == ["first", "second", "of-another", "two-hours-ago"]
    assert await keys("--before", "3h") == ["first", "second", "of-another"]
    assert await keys("--before", "2001-01-01") == ["first", "second", "of-another"]
    at_second = datetime.fromtimestamp((OLD_MS + 1) / 1000, UTC).isoformat()
    assert await keys("--before", at_second) == ["first"]


async def test_pages_leave_nothing_out_and_repeat_nothing(
    connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(archiving, "PAGE_SAGAS_MAX", 4)
    # Many that ended in one moment, across the ends of pages.
    for number in range(19):
        await put(connection, f"A-{number:02}", ended_at_ms=OLD_MS + number // 6)

    ran = await run_aside("archive", "--output", "sagas.jsonl", "--json")

    assert ran.json["sagas"] == 19
    assert sorted(keys_in((tmp_path / "sagas.jsonl").read_text())) == [f"A-{number:02}" for number in range(19)]


async def test_a_file_is_written_whole_and_what_was_done_is_told(ended: None, tmp_path: Path) -> None:
    told = await run_aside("archive", "--output", "sagas.jsonl")
    shown = await run_aside("archive", "--before", "2020-06-01", "--output", "again.jsonl.gz", "--json")

    assert keys_in((tmp_path / "sagas.jsonl").read_text()) == ["first", "second", "of-another"]
    assert told.out.splitlines()[0].endswith(" UTC are in sagas.jsonl")
    assert gzip.decompress((tmp_path / "again.jsonl.gz").read_bytes()) == (tmp_path / "sagas.jsonl").read_bytes()
    assert shown.json == {
        "sagas": 3,
        "ended_before": "2020-06-01T00:00:00Z",
        "output": "again.jsonl.gz",
        "removed": None,
    }
    assert sorted(os.listdir(tmp_path)) == ["again.jsonl.gz", "sagas.jsonl"]


async def test_parquet_has_typed_columns_and_reads_back(ended: None, tmp_path: Path) -> None:

    ran = await run_aside("archive", "--before", "90d", "--output", "sagas.parquet", "--remove", "--json")

    rows = parquet.read_table(tmp_path / "sagas.parquet").to_pylist()
    assert (ran.json["sagas"], ran.json["removed"]) == (3, 3)
    assert [row["key"] for row in rows] == ["first", "second", "of-another"]
    assert rows[0]["ended_at"] == datetime.fromtimestamp(OLD_MS / 1000, UTC)
    assert rows[0]["revision"] == 3
    assert json.loads(rows[0]["input"]) == {"amount": 5, "note": "Zone ä"}
    assert [json.loads(step["output"] or "null") for step in rows[0]["steps"]] == [{"place": "A"}, None]
    assert [step["attempts"] for step in rows[0]["steps"]] == [1, 2]
    assert rows[0]["history"][0]["sent"] == ["reserve:action:1"]


# ----------------------------------------------------------------------------------------------------------- removing


async def test_what_the_file_holds_is_removed_and_nothing_else(
    connection: asyncpg.Connection, ended: None, tmp_path: Path
) -> None:
    await put(connection, "young", ended_at_ms=time.time_ns() // 1_000_000 - 2 * DAY_MS)

    told = await run_aside("archive", "--before", "3d", "--saga", "order", "--output", "sagas.jsonl.gz", "--remove")

    assert told.lines[1:] == ["removed from Postgres: 2 of them"]
    assert keys_in(gzip.decompress((tmp_path / "sagas.jsonl.gz").read_bytes())) == ["first", "second"]
    assert await left(connection) == ["of-another", "running", "stuck", "young"]


async def test_a_child_is_written_and_stays_with_its_parent(connection: asyncpg.Connection) -> None:
    await put(connection, "parent", "running", None, wake_at_ms=1)
    await put(connection, "child", child_of="parent")
    await put(connection, "alone")

    told = await run_aside("archive", "--before", "3d", "--output", "sagas.jsonl", "--remove")

    assert told.lines[1] == "removed from Postgres: 1 of them"
    assert told.lines[2].startswith("1 stay: they changed meanwhile")
    assert await left(connection) == ["child", "parent"]


async def test_a_saga_that_moves_on_while_the_file_is_written_stays(
    connection: asyncpg.Connection, ended: None, monkeypatch: pytest.MonkeyPatch, postgres_dsn: str
) -> None:
    fsync, moved = os.fsync, []

    def move_on_meanwhile(descriptor: int) -> None:
        fsync(descriptor)
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            moved.append("second")
            _at_once(postgres_dsn, "update saga_private.sagas set revision = 4 where key = 'second'")

    monkeypatch.setattr(os, "fsync", move_on_meanwhile)
    ran = await run_aside("archive", "--before", "3d", "--output", "sagas.jsonl", "--remove", "--json")

    assert moved == ["second"]
    assert (ran.json["sagas"], ran.json["removed"]) == (3, 2)
    assert await left(connection) == ["running", "second", "stuck"]


async def test_nothing_is_removed_and_no_file_is_left_where_it_cannot_be_put_on_the_disk(
    connection: asyncpg.Connection, ended: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def disk_is_full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", disk_is_full)
    ran = await run_aside("archive", "--before", "3d", "--output", "sagas.jsonl", "--remove")

    assert (ran.exit_code, ran.out) == (1, "")
    assert ran.err == "saga-service: sagas.jsonl cannot be written: [Errno 28] No space left on device\n"
    assert os.listdir(tmp_path) == []
    assert len(await left(connection)) == 5


@pytest.mark.parametrize("output", ["sagas.jsonl", "sagas.jsonl.gz", "sagas.parquet"])
async def test_an_archive_of_nothing_leaves_no_file_that_blocks_the_next(output: str, tmp_path: Path) -> None:
    ran = await run_aside("archive", "--output", output, "--before", "90d", "--remove")
    shown = await run_aside("archive", "--output", output, "--json")

    assert (ran.exit_code, ran.out) == (0, "")
    assert ran.err.startswith("no saga ended before ")
    assert ran.err.endswith(" UTC: no file was written\n")
    assert (shown.exit_code, shown.json["sagas"], shown.json["output"]) == (0, 0, None)
    assert os.listdir(tmp_path) == []


async def test_whoever_stops_reading_ends_it_quietly(ended: None) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "saga_service", "archive", stdout=writing, stderr=subprocess.PIPE
    )
    os.close(writing)
    _, err = await process.communicate()

    assert (process.returncode, err.decode()) == (1, "")


async def test_an_archive_is_never_written_over(ended: None, tmp_path: Path) -> None:
    (tmp_path / "sagas.jsonl").write_text("all that is left of others\n")

    ran = await run_aside("archive", "--before", "3d", "--output", "sagas.jsonl", "--remove")

    assert (ran.exit_code, ran.err) == (2, "saga-service: sagas.jsonl exists already; name another file\n")
    assert (tmp_path / "sagas.jsonl").read_text() == "all that is left of others\n"


async def test_whoever_may_only_read_can_archive_and_is_told_that_he_may_not_remove(
    connection: asyncpg.Connection,
    ended: None,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    postgres_dsn: str,
) -> None:
    separator = "&" if "?" in postgres_dsn else "?"
    monkeypatch.setenv("SAGA_POSTGRES_DSN", f"{postgres_dsn}{separator}role=saga_reader")

    written = await run_aside("archive", "--output", "read.jsonl", "--json")
    refused = await run_aside("archive", "--before", "3d", "--output", "removed.jsonl", "--remove")

    assert (written.exit_code, written.json["sagas"]) == (0, 3)
    assert refused.exit_code == 3
    assert "permission denied" in refused.err
    assert len(await left(connection)) == 5
    assert (tmp_path / "removed.jsonl").exists(), "what was written is there, all the same"


def _at_once(postgres_dsn: str, statement: str) -> None:
    from tests.support.databases import run_apart

    async def execute() -> None:
        connection = await asyncpg.connect(postgres_dsn)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    run_apart(execute())
