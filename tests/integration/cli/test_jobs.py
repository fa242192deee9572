"""`jobs`: what the service carries out in bulk is seen and stopped from a terminal."""

from __future__ import annotations

from pathlib import Path

import asyncpg
import pytest

from saga_service.core.ids import SagaId
from saga_service.core.vocabulary import Operation
from saga_service.store.jobs import PostgresJobs
from saga_service.store.requests import OperationCall
from tests.support.command_line import run_aside

PAUSE = OperationCall(Operation.PAUSE, "ada", "the provider is down")
SAGAS = [SagaId(f"00000000-0000-0000-0000-00000000000{number}") for number in (1, 2)]


@pytest.fixture(autouse=True)
def settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, postgres_dsn: str) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SAGA_POSTGRES_DSN", postgres_dsn)


async def test_a_job_is_listed_shown_and_stopped(pool: asyncpg.Pool) -> None:
    jobs = PostgresJobs(pool)
    job = await jobs.preview_sagas(PAUSE, SAGAS, {"saga": "order"})
    await jobs.confirm(job.job_id, job.confirm, "ada")
    turn = await jobs.take_turn(1, 0, 1)
    assert turn is not None
    await jobs.request(turn, 1)

    listed = await run_aside("jobs", "list")
    shown = await run_aside("jobs", "show", "1")
    stopped = await run_aside("jobs", "stop", "1", "--actor", "bob")
    again = await run_aside("jobs", "show", "1", "--json")

    assert "no service is alive" in listed.out
    assert "job 1: pause of 2 items (saga order)" in shown.lines
    assert "because the provider is down" in shown.lines
    assert "1 of 2 requested, 0 applied, 0 so already, 1 refused, 0 open" in shown.out
    assert "the saga was removed" in shown.out
    assert (stopped.exit_code, stopped.lines[0].startswith("job 1 is stopped: 1 of 2 requested")) == (0, True)
    assert (again.json["stopped_by"], again.json["confirmed_by"]) == ("bob", "ada")


async def test_without_jobs_the_list_is_empty_and_a_job_that_is_not_there_is_not_found() -> None:
    listed, shown, stopped = [
        await run_aside("jobs", *arguments) for arguments in (("list",), ("show", "7"), ("stop", "7"))
    ]
    assert (listed.exit_code, listed.err) == (0, "no jobs\n")
    assert (shown.exit_code, "there is no job 7" in shown.err) == (1, True)
    assert (stopped.exit_code, "there is no job 7" in stopped.err) == (1, True)
