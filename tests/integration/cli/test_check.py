"""`check` without a name compares what runs: deployed definitions, and workers that have said that they are alive."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from saga_service.base.postgres import close_pool
from saga_service.definitions import Saga, Step, check_saga
from saga_service.engine.ports import Batch
from saga_service.store.pool import create_pool
from saga_service.store.process_registry import PostgresProcesses
from saga_service.wire.process_report import ProcessReport
from saga_service.worker import Worker
from saga_service.worker.description import describe
from tests.support.command_line import run_aside, store

worker = Worker("shop")


@worker.handler("shop.reserve")
async def reserve(command: dict[str, Any]) -> None: ...


@pytest.fixture(autouse=True)
def settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, postgres_dsn: str) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SAGA_POSTGRES_DSN", postgres_dsn)
    monkeypatch.setenv("SAGA_REDIS_URL", "redis://127.0.0.1:1/0")


async def deploy(postgres_dsn: str, *steps: Step) -> None:
    await store(postgres_dsn, Batch(), check_saga(Saga("order", steps=steps)).document)


async def report(postgres_dsn: str, *reports: ProcessReport) -> None:
    pool = await create_pool(postgres_dsn, 1)
    try:
        await PostgresProcesses(pool).record([(each, 0) for each in reports])
    finally:
        await close_pool(pool)


def alive(**changes: Any) -> ProcessReport:
    return ProcessReport(kind="worker", name="w-1", services=[describe(worker).to_json()], **changes)


async def test_what_runs_is_compared(postgres_dsn: str) -> None:
    await deploy(postgres_dsn, Step("reserve", action="shop.reserve"))
    await report(postgres_dsn, alive())

    ran = await run_aside("check")

    assert (ran.exit_code, ran.out) == (0, "right: 1 saga and 1 worker fit together\n")


async def test_a_command_that_no_living_worker_has_is_a_problem(postgres_dsn: str) -> None:
    await deploy(postgres_dsn, Step("reserve", action="shop.reserv"), Step("pay", action="payment.charge"))
    await report(postgres_dsn, alive())

    ran = await run_aside("check")

    assert ran.exit_code == 1
    assert "no worker for the service 'payment'" in ran.lines[0]
    assert "start it: saga-service worker MODULE:WORKER, or, where its" in ran.lines[0]
    assert ran.lines[0].endswith("--elsewhere payment")
    assert "problem: deployed: order: step 'reserve': its action 'shop.reserv' has no handler" in ran.lines[1]


async def test_a_worker_that_has_stopped_carries_nothing_out(postgres_dsn: str) -> None:
    await deploy(postgres_dsn, Step("reserve", action="shop.reserve"))
    await report(postgres_dsn, alive(has_stopped=True))

    assert "no worker for the service 'shop'" in (await run_aside("check")).out


async def test_a_worker_in_another_language_that_names_its_service_alone_counts_as_there(postgres_dsn: str) -> None:
    await deploy(postgres_dsn, Step("reserve", action="shop.reserve"), Step("mail", action="mail.send"))
    await report(postgres_dsn, alive(), ProcessReport(kind="worker", name="node-1", services=[{"service": "mail"}]))

    ran = await run_aside("check")

    assert (ran.exit_code, ran.out) == (0, "right: 1 saga and 2 workers fit together\n")


async def test_a_description_that_cannot_be_read_is_a_hint(postgres_dsn: str) -> None:
    await deploy(postgres_dsn, Step("reserve", action="shop.reserve"))
    await report(postgres_dsn, alive(), ProcessReport(kind="worker", name="w-2", services=[{"service": 3}]))

    ran = await run_aside("check")

    assert ran.exit_code == 0
    assert "hint: worker 'w-2': the worker's description cannot be read" in ran.lines[0]


async def test_without_any_deployment_it_is_told_what_to_name(postgres_dsn: str) -> None:
    ran = await run_aside("check")
    assert (ran.exit_code, "-d SOURCE -w MODULE:WORKER" in ran.err) == (1, True)
