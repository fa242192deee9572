"""A worker as a process of its own: stopped by a signal in good order, and killed without one."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from saga_service.core.vocabulary import Outcome
from saga_service.streams.pipeline import add, send
from saga_service.worker import Worker, WorkerOptions, run_workers
from tests.support.paths import ROOT
from tests.support.waiting import eventually
from tests.support.workers import GROUP, NAMES, STREAM, message, replies_in, saga_id

SOURCE = """
import asyncio, sys
from saga_service.worker import StepContext, Worker, WorkerOptions, run_workers

worker = Worker("payment")

@worker.handler("payment.charge")
async def charge(data: dict[str, object], context: StepContext) -> None:
    await context.progress()
    await asyncio.sleep(float(str(data["seconds"])))

redis_url, consumer = sys.argv[1:]
options = WorkerOptions(redis_url=redis_url, consumer_name=consumer, shutdown_grace_ms=60_000)
asyncio.run(run_workers([worker], options))
"""
AGES_S = 600
Start = Callable[[str], Awaitable[Process]]


@pytest.fixture
async def start(any_redis_url: str) -> AsyncIterator[Start]:
    """Starts a worker process under a consumer name."""
    processes: list[Process] = []

    async def start(consumer: str) -> Process:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", SOURCE, any_redis_url, consumer, stdout=PIPE, stderr=PIPE
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def order(client: Redis, number: int, seconds: float) -> None:
    await send(client, [add(message(number, data={"seconds": seconds}))])


def outcome(client: Redis, number: int, wanted: Outcome) -> Callable[[], Awaitable[bool]]:
    async def is_there() -> bool:
        return (saga_id(number), wanted) in [(reply.saga_id, reply.outcome) for reply in await replies_in(client)]

    return is_there


async def test_sigterm_lets_the_running_command_finish_and_the_process_ends_well(client: Redis, start: Start) -> None:
    process = await start("first")
    await order(client, 1, seconds=0.5)
    await eventually(outcome(client, 1, Outcome.PROGRESS), within_s=30)
    process.send_signal(signal.SIGTERM)
    _, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    assert await outcome(client, 1, Outcome.SUCCEEDED)()
    assert (await client.execute_command("XPENDING", STREAM, GROUP))[0] == 0
    assert await client.execute_command("XINFO", "CONSUMERS", STREAM, GROUP) == []


async def test_a_second_sigterm_ends_the_process_at_once(client: Redis, start: Start) -> None:
    process = await start("first")
    await order(client, 1, seconds=AGES_S)
    await eventually(outcome(client, 1, Outcome.PROGRESS), within_s=30)
    process.send_signal(signal.SIGTERM)
    assert process.stdout is not None
    while b"a second signal ends it at once" not in await process.stdout.readline():
        assert process.returncode is None
    process.send_signal(signal.SIGTERM)
    async with asyncio.timeout(20):
        _, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    assert (await client.execute_command("XPENDING", STREAM, GROUP))[0] == 1


async def test_what_a_killed_process_had_in_hand_is_carried_out_by_another(
    client: Redis, any_redis_url: str, start: Start
) -> None:
    process = await start("killed")
    await order(client, 1, seconds=AGES_S)
    await eventually(outcome(client, 1, Outcome.PROGRESS), within_s=30)
    os.kill(process.pid, signal.SIGKILL)
    await process.wait()
    survivor, stop = Worker("payment"), asyncio.Event()

    @survivor.handler("payment.charge")
    async def charge(data: dict[str, Any]) -> None: ...

    options = WorkerOptions(redis_url=any_redis_url, reclaim_idle_ms=200, reclaim_period_ms=50)
    running = asyncio.create_task(run_workers([survivor], replace(options, consumer_name="survivor"), stop=stop))
    try:
        await eventually(outcome(client, 1, Outcome.SUCCEEDED))
    finally:
        stop.set()
        await running
    assert await client.execute_command("XLEN", NAMES.dead_letters) == 0


DEAF = """
import asyncio
from saga_service.worker import StepContext, Worker

worker = Worker("payment")

@worker.handler("payment.charge")
async def charge(data: dict[str, object], context: StepContext) -> None:
    await context.progress()
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            continue
"""


async def test_a_process_ends_after_sigterm_though_a_handler_ignores_it(
    client: Redis, any_redis_url: str, tmp_path: Path
) -> None:
    (tmp_path / "deaf.py").write_text(DEAF)
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "SAGA_REDIS_URL": any_redis_url,
        "SAGA_SHUTDOWN_GRACE_MS": "100",
    }
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "saga_service", "worker", "deaf:worker"),
        cwd=tmp_path,
        env=environment,
        stdout=PIPE,
        stderr=STDOUT,
    )
    try:
        await order(client, 1, seconds=AGES_S)
        await eventually(outcome(client, 1, Outcome.PROGRESS), within_s=30)
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(25):
            said, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()
    assert process.returncode == 1, said.decode()
    assert "the process ends with tasks that do not heed their cancellation" in said.decode()


WITH_INBOX = """
from typing import Any
from saga_service.worker import PostgresInbox, Worker

payment = Worker("payment", inbox=PostgresInbox({dsn!r}))
plain = Worker("plain")
away = Worker("away", inbox=PostgresInbox("postgresql://nobody@127.0.0.1:1/nothing"))

@payment.handler("payment.charge")
async def charge(data: dict[str, Any]) -> None: ...

@away.handler("away.work")
@plain.handler("plain.work")
async def work(data: dict[str, Any]) -> None: ...
"""


@pytest.mark.parametrize(
    ("target", "exit_code", "told"),
    [
        ("inboxes:payment", 0, "the inbox of worker 'payment' exists"),
        ("inboxes:plain", 0, "worker 'plain' has no inbox, and needs no table"),
        ("inboxes:plain inboxes:payment", 0, "needs no table the inbox of worker 'payment' exists"),
        ("inboxes:away inboxes:none inboxes:payment", 3, "the inbox of worker 'payment' exists saga-service: 2 of 3"),
        ("inboxes:away inboxes:payment", 3, "the database of the inbox of worker 'away' cannot be used"),
    ],
)
async def test_worker_migrate_makes_the_inbox_and_may_be_run_by_many_at_once(
    blank_postgres_dsn: str, tmp_path: Path, target: str, exit_code: int, told: str
) -> None:
    (tmp_path / "inboxes.py").write_text(WITH_INBOX.format(dsn=blank_postgres_dsn))

    async def migrate() -> tuple[int | None, str]:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "saga_service", "worker-migrate", *target.split()),
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=PIPE,
            stderr=STDOUT,
        )
        said, _ = await process.communicate()
        return process.returncode, " ".join(said.decode().split())

    for ended_with, said in await asyncio.gather(*(migrate() for _ in range(3))):
        assert ended_with == exit_code, said
        assert told in said
