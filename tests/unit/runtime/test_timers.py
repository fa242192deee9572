"""Looking after sagas whose moment has come."""

from __future__ import annotations

import asyncio
from collections import deque

import pytest
import structlog

from saga_service.base.lifecycle import Shutdown
from saga_service.core.events import TimerDue
from saga_service.core.ids import SagaId
from saga_service.engine.failures import StoreConflict, StoreUnavailable
from saga_service.runtime.intake import Intake
from saga_service.runtime.timers import Timers
from tests.support.fakes import BATCH_BYTES_MAX, PausesThatPass

POLL_MS = 1_000_000
"""So long that no test ever waits for it: whatever is looked at was woken."""


class Due:
    """What claims find, in order; then nothing. `looks` tells how often was looked, and with which limit."""

    def __init__(self) -> None:
        self.finds: deque[tuple[list[str], int | None] | Exception] = deque()
        self.looks: list[int] = []
        self.moments_ms: list[int] = []
        self.looked = asyncio.Event()
        self.go_on = asyncio.Event()
        self.go_on.set()

    async def claim_due(self, now_ms: int, limit: int, lease_ms: int) -> tuple[list[SagaId], int | None]:
        self.looks.append(limit)
        self.moments_ms.append(now_ms)
        assert lease_ms == 7_000
        self.looked.set()
        await self.go_on.wait()
        found = self.finds.popleft() if self.finds else ([], None)
        if isinstance(found, Exception):
            raise found
        saga_ids, next_due_ms = found
        return [SagaId(saga_id) for saga_id in saga_ids], next_due_ms


class Clockwork:
    def __init__(self, shutdown: Shutdown | None = None, *, sagas_max: int = 3, inlet_max: int = 100) -> None:
        self.now_ms = 10_000
        self.due = Due()
        self.shutdown = Shutdown() if shutdown is None else shutdown
        self.intake = Intake(BATCH_BYTES_MAX, self.shutdown)
        self.inlet = self.intake.inlet(inlet_max)
        self.timers = Timers(
            self.due,
            self.inlet,
            poll_ms=POLL_MS,
            lease_ms=7_000,
            sagas_max=sagas_max,
            now_ms=lambda: self.now_ms,
            shutdown=self.shutdown,
        )

    def start(self) -> asyncio.Task[None]:
        return asyncio.create_task(self.timers.run())

    async def stop(self, running: asyncio.Task[None]) -> None:
        self.shutdown.request()
        async with asyncio.timeout(10):
            await running

    @property
    def taken_in(self) -> list[str]:
        return [item.saga_id for item in self.inlet.waiting if isinstance(item, TimerDue)]


@pytest.fixture
def clockwork() -> Clockwork:
    return Clockwork()


async def test_sagas_that_are_due_are_handed_on(clockwork: Clockwork) -> None:
    clockwork.due.finds.append((["a", "b"], None))
    running = clockwork.start()
    await clockwork.timers.waiting.times(1)
    assert clockwork.taken_in == ["a", "b"]
    assert clockwork.due.looks == [3]
    await clockwork.stop(running)


async def test_a_full_page_is_followed_by_another_look_at_once(clockwork: Clockwork) -> None:
    clockwork.due.finds.extend([(["a", "b", "c"], None), (["d", "e", "f"], None), (["g"], None)])
    running = clockwork.start()
    await clockwork.timers.waiting.times(1)
    assert clockwork.taken_in == list("abcdefg")
    assert len(clockwork.due.looks) == 3
    await clockwork.stop(running)


async def test_a_page_that_filled_the_room_is_followed_by_another() -> None:
    clockwork = Clockwork(sagas_max=3, inlet_max=2)
    clockwork.due.finds.extend([(["a", "b"], None), (["c"], None)])
    running = clockwork.start()
    await clockwork.inlet.full.times(1)
    assert clockwork.due.looks == [2]
    await clockwork.intake.take(2)
    await clockwork.timers.waiting.times(1)
    assert clockwork.due.looks == [2, 2]
    assert clockwork.taken_in == ["c"]
    await clockwork.stop(running)


async def test_nothing_is_looked_at_before_something_is_due(clockwork: Clockwork) -> None:
    running = clockwork.start()
    await clockwork.timers.waiting.times(1)
    assert len(clockwork.due.looks) == 1
    clockwork.timers.expect(clockwork.now_ms + POLL_MS)
    clockwork.timers.expect(clockwork.now_ms + 2 * POLL_MS)
    assert not clockwork.timers._sooner.is_set(), "nothing sooner than the next look was expected"
    clockwork.timers.expect(clockwork.now_ms + POLL_MS - 1)
    await clockwork.timers.waiting.times(2)
    assert len(clockwork.due.looks) == 1, "it is not due yet"
    await clockwork.stop(running)


async def test_what_is_expected_sooner_is_looked_at_sooner(clockwork: Clockwork) -> None:
    running = clockwork.start()
    await clockwork.timers.waiting.times(1)
    clockwork.now_ms += 500
    clockwork.due.finds.append((["a"], None))
    clockwork.timers.expect(clockwork.now_ms - 1)
    await clockwork.timers.waiting.times(2)
    assert clockwork.taken_in == ["a"]
    assert clockwork.due.moments_ms[-1] == clockwork.now_ms
    await clockwork.stop(running)


async def test_what_becomes_expected_in_the_middle_of_a_look_is_not_forgotten(clockwork: Clockwork) -> None:
    clockwork.due.go_on.clear()
    clockwork.due.finds.extend([([], None), (["a"], None)])
    running = clockwork.start()
    await clockwork.due.looked.wait()
    clockwork.timers.expect(clockwork.now_ms)
    clockwork.due.go_on.set()
    await clockwork.timers.waiting.times(1)
    assert clockwork.taken_in == ["a"]
    await clockwork.stop(running)


async def test_a_moment_expected_while_there_is_no_room_is_not_forgotten() -> None:
    clockwork = Clockwork(sagas_max=1, inlet_max=1)
    clockwork.due.finds.extend([(["a"], None), ([], 10_400), (["b"], None)])
    running = clockwork.start()
    await clockwork.inlet.full.times(1)
    clockwork.timers.expect(10_400)
    await clockwork.intake.take(1)
    await clockwork.timers.waiting.times(1)
    assert len(clockwork.due.looks) == 2
    clockwork.now_ms = 10_400
    clockwork.timers.expect(10_399)
    await clockwork.inlet.full.times(2)
    assert clockwork.taken_in == ["b"]
    await clockwork.stop(running)


async def test_the_next_moment_that_a_look_tells_of_is_waited_for(clockwork: Clockwork) -> None:
    """Seen from the clock: it is a real one here, and the poll alone would take a quarter of an hour."""
    loop = asyncio.get_running_loop()
    clockwork.timers._now_ms = lambda: int(loop.time() * 1_000)
    clockwork.due.finds.extend([([], int(loop.time() * 1_000) + 20), (["a"], None)])
    running = clockwork.start()
    async with asyncio.timeout(10):
        await clockwork.intake.take(1)
    assert len(clockwork.due.looks) == 2
    await clockwork.stop(running)


async def test_postgres_away_is_waited_for_and_looked_at_again() -> None:
    pauses = PausesThatPass(pauses_max=100)
    clockwork = Clockwork(pauses)
    clockwork.due.finds.extend([*[StoreUnavailable("gone")] * 4, (["a"], None)])
    running = clockwork.start()
    await clockwork.timers.waiting.times(1)
    assert clockwork.taken_in == ["a"]
    assert len(pauses.pauses_s) == 4
    assert pauses.pauses_s[-1] > pauses.pauses_s[0]
    await clockwork.stop(running)


async def test_a_conflict_is_told_for_what_it_is_and_tried_again() -> None:
    clockwork = Clockwork(PausesThatPass(pauses_max=100))
    clockwork.due.finds.extend([StoreConflict("deadlock detected"), (["a"], None)])
    with structlog.testing.capture_logs() as logs:
        running = clockwork.start()
        await clockwork.timers.waiting.times(1)
    assert clockwork.taken_in == ["a"]
    [line] = logs
    assert line["event"] == "another transaction was in the way; timers wait, and are tried again"
    await clockwork.stop(running)


async def test_the_loop_ends_wherever_it_is_when_it_is_time_to_stop() -> None:
    waiting_for_the_next_look = Clockwork()
    waiting_for_room = Clockwork(inlet_max=1)
    waiting_for_room.inlet.put([TimerDue(SagaId("a"))])
    for clockwork, waits in (
        (waiting_for_the_next_look, waiting_for_the_next_look.timers.waiting),
        (waiting_for_room, waiting_for_room.inlet.full),
    ):
        running = clockwork.start()
        await waits.times(1)
        await clockwork.stop(running)


async def test_a_loop_that_is_cancelled_leaves_no_task_behind(clockwork: Clockwork) -> None:
    running = clockwork.start()
    await clockwork.timers.waiting.times(1)
    before = len(asyncio.all_tasks())
    running.cancel()
    await asyncio.wait([running])
    assert len(asyncio.all_tasks()) == before - 1
