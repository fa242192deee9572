"""The one contract of all loops: each ends within a second of the request, and reserves room before it reads."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from importlib import import_module
from pkgutil import iter_modules
from typing import NamedTuple

import pytest

from saga_service import runtime, streams
from saga_service.base.lifecycle import Loop, Milestone, Shutdown
from saga_service.core.ids import SagaId
from saga_service.engine.outbox import OutboxRows
from saga_service.engine.ports import JobTurn, RecoveryPage
from saga_service.runtime.intake import Inlet, Intake
from saga_service.runtime.job_runner import JobRunner
from saga_service.runtime.lane import Lane
from saga_service.runtime.maintenance import Maintenance
from saga_service.runtime.process_registry import ProcessRegistration, Received
from saga_service.runtime.recovery import Recovery
from saga_service.runtime.relay import Relay
from saga_service.runtime.request_poller import RequestPoller
from saga_service.runtime.timers import Timers
from saga_service.streams.consumer_loop import ConsumerLoop, Pace
from saga_service.wire.entries import Entry, Message
from saga_service.wire.process_report import ProcessReport
from saga_service.wire.transport import SeenStream
from tests.support.fakes import BATCH_BYTES_MAX, MemoryPublisher, ServiceInMemory

LONG_S = 3_600.0
LONG_MS = 3_600_000


class Outside:
    """Everything that a loop asks: nothing comes, and what is asked is counted."""

    stream = "saga:events"
    reclaim_is_through = True

    def __init__(self) -> None:
        self.asked = Milestone()

    async def has_group(self) -> bool:
        return True

    async def ensure_group(self) -> bool:
        return False

    async def look(self) -> list[SeenStream]:
        self.asked.reached()
        return []

    async def see_streams(self, seen: Sequence[SeenStream], now_ms: int, found_by: str) -> list[str]:
        return []

    async def continue_recovery(self, now_ms: int, found_before_ms: int, sagas_max: int) -> RecoveryPage:
        return RecoveryPage(0, False)

    async def read(self, count_max: int, block_ms: int) -> list[Entry]:
        self.asked.reached()
        await asyncio.sleep(LONG_S)
        return []

    async def reclaim(self, count_max: int, min_idle_ms: int) -> list[Entry]:
        self.asked.reached()
        return []

    async def remove_dead_consumers(self, idle_ms: int) -> int:
        return 0

    async def claim_due(self, now_ms: int, limit: int, lease_ms: int) -> tuple[list[SagaId], int | None]:
        self.asked.reached()
        return [], None

    async def claim_requests(self, now_ms: int, limit: int, lease_ms: int) -> list[Entry]:
        self.asked.reached()
        return []

    async def claim_unpublished(self, now_ms: int, older_than_ms: int, limit: int) -> list[tuple[int, list[Message]]]:
        self.asked.reached()
        return []

    async def forget_published(self, ids: Sequence[int]) -> None:
        self.asked.reached()

    async def keep_unpublished(self, outbox_id: int, messages: Sequence[Message]) -> None:
        self.asked.reached()

    async def names(self) -> list[str]:
        return []

    async def reports(self) -> Sequence[Received]:
        self.asked.reached()
        return ()

    async def clock_ahead_ms(self) -> int | None:
        return None

    async def record(self, reports: Sequence[tuple[ProcessReport, int]]) -> None:
        self.asked.reached()

    async def task(self) -> None:
        self.asked.reached()

    async def take_turn(self, now_ms: int, pause_ms: int, open_max: int) -> JobTurn | None:
        self.asked.reached()
        return None

    async def request(self, turn: JobTurn, now_ms: int) -> int:
        return 0

    async def drop_letters(self, turn: JobTurn, now_ms: int) -> None:
        return

    async def put_back(self, turn: JobTurn, now_ms: int) -> None:
        return

    async def note_problem(self, job_id: int, problem: str) -> bool:
        return True


class Around(NamedTuple):
    """What a loop is made of."""

    outside: Outside
    intake: Intake
    inlet: Inlet
    shutdown: Shutdown


def consumer(around: Around) -> Loop:
    pace = Pace(LONG_MS, LONG_MS, LONG_MS, last_read_ms=100)
    return ConsumerLoop(around.outside, around.inlet.room, around.inlet.put, pace, around.shutdown)


def timers(around: Around) -> Loop:
    return Timers(
        around.outside,
        around.inlet,
        poll_ms=LONG_MS,
        lease_ms=1,
        sagas_max=10,
        now_ms=lambda: 0,
        shutdown=around.shutdown,
    )


def request_poller(around: Around) -> Loop:
    return RequestPoller(
        around.outside,
        around.inlet,
        poll_ms=LONG_MS,
        lease_ms=1,
        requests_max=10,
        now_ms=lambda: 0,
        shutdown=around.shutdown,
    )


def recovery(around: Around) -> Loop:
    return Recovery(
        around.outside,
        around.outside,
        found_by="me",
        sagas_max=10,
        period_s=LONG_S,
        now_ms=lambda: 0,
        shutdown=around.shutdown,
    )


def relay(around: Around) -> Loop:
    return Relay(
        around.outside,
        OutboxRows(),
        MemoryPublisher(),
        lease_ms=1,
        period_s=LONG_S,
        now_ms=lambda: 0,
        shutdown=around.shutdown,
    )


def maintenance(around: Around) -> Loop:
    return Maintenance([around.outside.task], LONG_S, around.shutdown)


def lane(around: Around) -> Loop:
    service = ServiceInMemory()
    # The service requests it when the sources have ended.
    around.shutdown.request = around.intake.drained.request  # type: ignore[method-assign]
    return Lane(around.intake, service.engine, service.publisher, service.outbox, 10, lambda _: None)


def process_registration(around: Around) -> Loop:
    own = ProcessReport(kind="service", name="me")
    return ProcessRegistration(own, [], around.outside, around.outside, period_s=LONG_S, shutdown=around.shutdown)


def job_runner(around: Around) -> Loop:
    outside = around.outside
    return JobRunner(outside, outside, period_s=LONG_S, now_ms=lambda: 0, shutdown=around.shutdown)


Make = Callable[[Around], Loop]
SOURCES: list[Make] = [consumer, timers, request_poller]
"""The loops that fill the intake."""
LOOPS: list[Make] = [*SOURCES, recovery, relay, maintenance, process_registration, job_runner, lane]


@pytest.fixture
def around() -> Around:
    return _around()


def _around() -> Around:
    shutdown = Shutdown()
    intake = Intake(BATCH_BYTES_MAX, shutdown)
    return Around(Outside(), intake, intake.inlet(1), shutdown)


@pytest.mark.parametrize("make", LOOPS)
async def test_every_loop_ends_within_a_second_of_the_request(make: Make, around: Around) -> None:
    loop = make(around)
    running = asyncio.create_task(loop.run())
    await loop.started.times(1)
    if make in (consumer, timers, request_poller, recovery, relay, job_runner):
        await around.outside.asked.times(1)
    around.shutdown.request()
    async with asyncio.timeout(1):
        await running


@pytest.mark.parametrize("make", LOOPS)
async def test_every_loop_may_be_told_to_end_before_it_runs(make: Make, around: Around) -> None:
    loop = make(around)
    around.shutdown.request()
    async with asyncio.timeout(1):
        await loop.run()
    assert around.outside.asked.count == 0


@pytest.mark.parametrize("make", LOOPS)
async def test_every_loop_may_be_told_twice(make: Make, around: Around) -> None:
    loop = make(around)
    running = asyncio.create_task(loop.run())
    await loop.started.times(1)
    around.shutdown.request()
    around.shutdown.request()
    async with asyncio.timeout(1):
        await running
    around.shutdown.request()


@pytest.mark.parametrize("make", SOURCES)
async def test_every_source_reserves_room_before_it_reads(make: Make, around: Around) -> None:
    around.inlet.put([Entry("saga:events", "1-0", {})])
    running = asyncio.create_task(make(around).run())
    await around.inlet.full.times(1)
    assert around.outside.asked.count == 0
    await around.intake.take(1)
    await around.outside.asked.times(1)
    around.shutdown.request()
    async with asyncio.timeout(1):
        await running


def test_no_loop_is_left_out() -> None:
    """Whoever adds a loop adds it here: each class of these folders that has a `run`."""
    modules = [
        import_module(f"{package.__name__}.{found.name}")
        for package in (runtime, streams)
        for found in iter_modules(package.__path__)
    ]
    loops = {
        name
        for module in modules
        for name, kind in vars(module).items()
        if isinstance(kind, type) and hasattr(kind, "run") and kind.__module__ == module.__name__ and name[0] != "_"
    }
    assert {type(make(_around())).__name__ for make in LOOPS} == loops - {"Service"}
