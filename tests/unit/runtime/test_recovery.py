"""Recovery: losses go on record however long Postgres is away, and what is owed is worked off page by page."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence

import pytest
import structlog

from saga_service.base.lifecycle import Milestone, Shutdown
from saga_service.engine.failures import StoreUnavailable
from saga_service.engine.ports import RecoveryPage
from saga_service.runtime.recovery import LOSSES_GATHERED_MS, Recovery
from saga_service.wire.transport import SeenStream, TransportUnavailable
from tests.support.fakes import Faults, PausesThatPass

GONE = StoreUnavailable("gone")
AWAY = TransportUnavailable("away")
NOW_MS = 1_000_000
NEVER_S = 3_600.0
EVENTS = SeenStream("saga:events", "saga.child", 5, True, "1-0", 1, 1, "1-0")
NOTHING = RecoveryPage(0, False)


class Outside:
    """Streams to look at, and losses to work off page by page."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, ...]] = []
        self.lost: deque[list[str]] = deque()
        self.pages: deque[RecoveryPage] = deque()
        self.asked: list[tuple[int, int]] = []
        self.look_faults, self.record_faults, self.page_faults = Faults(), Faults(), Faults()
        self.recorded = Milestone()
        self.tried = Milestone()

    async def look(self) -> Sequence[SeenStream]:
        self.look_faults.strike()
        return [EVENTS]

    async def see_streams(self, seen: Sequence[SeenStream], now_ms: int, found_by: str) -> list[str]:
        self.tried.reached()
        await asyncio.sleep(0)
        self.record_faults.strike()
        assert (now_ms, found_by) == (NOW_MS, "me")
        self.seen.append(tuple(each.stream for each in seen))
        self.recorded.reached()
        return self.lost.popleft() if self.lost else []

    async def continue_recovery(self, now_ms: int, found_before_ms: int, sagas_max: int) -> RecoveryPage:
        self.page_faults.strike()
        self.asked.append((now_ms - found_before_ms, sagas_max))
        return self.pages.popleft() if self.pages else NOTHING


def made(outside: Outside, shutdown: Shutdown, period_s: float = NEVER_S) -> Recovery:
    return Recovery(
        outside, outside, found_by="me", sagas_max=10, period_s=period_s, now_ms=lambda: NOW_MS, shutdown=shutdown
    )


async def run_until(recovery: Recovery, shutdown: Shutdown, reached: Milestone, times: int = 1) -> None:
    async with asyncio.timeout(10):
        running = asyncio.create_task(recovery.run())
        await reached.times(times)
        shutdown.request()
        await running


async def test_a_loss_is_put_on_record_however_long_postgres_is_away() -> None:
    outside, shutdown = Outside(), PausesThatPass(pauses_max=100)
    outside.record_faults.then(GONE, GONE, GONE)
    await made(outside, shutdown).record_losses()
    assert (outside.seen, outside.tried.count) == ([("saga:events",)], 4)


async def test_a_look_that_fails_is_told_to_whoever_waits_for_it() -> None:
    """The group is not made anew then."""
    outside = Outside()
    outside.look_faults.then(AWAY)
    with pytest.raises(TransportUnavailable):
        await made(outside, Shutdown()).record_losses()
    assert outside.seen == []


async def test_a_start_without_redis_leaves_the_look_to_the_readers() -> None:
    outside = Outside()
    outside.look_faults.then(AWAY)
    recovery = made(outside, Shutdown())
    await recovery.find_losses()
    assert outside.seen == []
    await recovery.find_losses()
    assert outside.seen == [("saga:events",)]


async def test_a_loss_is_told_with_its_streams() -> None:
    outside = Outside()
    outside.lost.append(["saga:events", "saga:replies"])
    with structlog.testing.capture_logs() as logs:
        await made(outside, Shutdown()).record_losses()
    [line] = logs
    assert (line["log_level"], line["streams"]) == ("warning", ["saga:events", "saga:replies"])


async def test_a_recovery_goes_on_page_by_page_until_nothing_is_owed() -> None:
    outside, shutdown = Outside(), Shutdown()
    outside.pages.extend([RecoveryPage(10, True), RecoveryPage(3, True), RecoveryPage(4, False)])
    recovery = made(outside, shutdown)
    with structlog.testing.capture_logs() as logs:
        await run_until(recovery, shutdown, recovery.recovered)
    assert outside.asked == [(LOSSES_GATHERED_MS, 10)] * 3
    assert [line["sagas"] for line in logs] == [17]


async def test_the_streams_are_looked_at_before_each_page() -> None:
    """A loss in the middle of a recovery is on record before the recovery goes on."""
    outside, shutdown = Outside(), Shutdown()
    outside.pages.extend([RecoveryPage(10, True), RecoveryPage(10, False)])
    recovery = made(outside, shutdown)
    await run_until(recovery, shutdown, recovery.recovered)
    assert len(outside.seen) == len(outside.asked) == 2


async def test_what_any_replica_found_lost_is_worked_off_by_a_replica_that_found_nothing() -> None:
    outside, shutdown = Outside(), Shutdown()
    outside.pages.append(RecoveryPage(5, False))
    recovery = made(outside, shutdown)
    await run_until(recovery, shutdown, recovery.recovered)
    assert list(outside.lost) == []


async def test_a_group_that_was_made_anew_is_looked_at_at_once() -> None:
    outside, shutdown = Outside(), Shutdown()
    recovery = made(outside, shutdown)
    async with asyncio.timeout(10):
        running = asyncio.create_task(recovery.run())
        await outside.recorded.times(1)
        recovery.look_soon()
        await outside.recorded.times(2)
        shutdown.request()
        await running


@pytest.mark.parametrize("fault", ["redis", "postgres"])
async def test_an_outage_is_over_at_the_next_look(fault: str) -> None:
    outside, shutdown = Outside(), Shutdown()
    if fault == "redis":
        outside.look_faults.then(AWAY, AWAY)
    else:
        outside.page_faults.then(GONE, GONE)
    outside.pages.append(RecoveryPage(5, False))
    recovery = made(outside, shutdown, period_s=0.001)
    await run_until(recovery, shutdown, recovery.recovered)


async def test_a_recovery_that_waits_for_postgres_ends_when_it_is_time_to_stop() -> None:
    outside, shutdown = Outside(), Shutdown()
    outside.record_faults.lasting = GONE
    recovery = made(outside, shutdown)
    recovery._backoff.attempts = 30
    await run_until(recovery, shutdown, outside.tried)
