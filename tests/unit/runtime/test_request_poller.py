"""Looking for what was asked by SQL."""

from __future__ import annotations

import asyncio
from collections import deque

import pytest
import structlog

from saga_service.base.lifecycle import Shutdown
from saga_service.engine.failures import StoreConflict, StoreUnavailable
from saga_service.runtime.intake import Inlet, Intake
from saga_service.runtime.request_poller import POLL_MS_MIN, RequestPoller
from saga_service.wire.entries import Entry
from saga_service.wire.transport import REQUESTS
from tests.support.fakes import BATCH_BYTES_MAX, PausesThatPass

POLL_MS = 100
LEASE_MS = 7_000


class Asked:
    """What claims find, in order; then nothing. `looks` tells how often was looked, and with which limit."""

    def __init__(self, *finds: list[str] | Exception) -> None:
        self.finds = deque(finds)
        self.looks: list[int] = []

    async def claim_requests(self, now_ms: int, limit: int, lease_ms: int) -> list[Entry]:
        assert (now_ms, lease_ms) == (10_000, LEASE_MS)
        self.looks.append(limit)
        await asyncio.sleep(0)
        found = self.finds.popleft() if self.finds else []
        if isinstance(found, Exception):
            raise found
        return [Entry(REQUESTS, number, {b"type": b"saga.pause"}) for number in found]


class Reading:
    """A reader with all around it. Its pauses pass at once, and the last of them says that it is time to stop."""

    def __init__(self, asked: Asked, *, pauses_max: int, inlet_max: int = 100) -> None:
        self.asked = asked
        self.pauses = PausesThatPass(pauses_max)
        self.intake = Intake(BATCH_BYTES_MAX, self.pauses)
        self.inlet = self.intake.inlet(inlet_max)
        self.reader = reader(asked, self.intake, self.pauses, inlet=self.inlet)

    async def run(self) -> None:
        async with asyncio.timeout(10):
            await self.reader.run()

    @property
    def taken_in(self) -> list[str]:
        return [item.id for item in self.inlet.waiting if isinstance(item, Entry)]

    @property
    def paused_ms(self) -> list[int]:
        return [round(seconds * 1_000) for seconds in self.pauses.pauses_s]


def reader(asked: Asked, intake: Intake, shutdown: Shutdown, *, inlet: Inlet | None = None) -> RequestPoller:
    return RequestPoller(
        asked,
        inlet or intake.inlet(1),
        poll_ms=POLL_MS,
        lease_ms=LEASE_MS,
        requests_max=3,
        now_ms=lambda: 10_000,
        shutdown=shutdown,
    )


async def test_what_was_asked_is_taken_in() -> None:
    reading = Reading(Asked(["1", "2"], ["3"]), pauses_max=2)
    await reading.run()
    assert reading.taken_in == ["1", "2", "3"]


async def test_it_polls_soon_after_a_find_and_ever_less_often_after_none() -> None:
    reading = Reading(Asked([], ["1"], ["2"]), pauses_max=8)
    await reading.run()
    soon = POLL_MS_MIN
    assert reading.paused_ms == [POLL_MS, soon, soon, 2 * soon, 4 * soon, POLL_MS, POLL_MS, POLL_MS]


async def test_a_full_page_is_followed_by_the_next_without_a_pause() -> None:
    reading = Reading(Asked(["1", "2", "3"], ["4", "5", "6"], ["7"]), pauses_max=1)
    await reading.run()
    assert reading.taken_in == list("1234567")
    assert reading.paused_ms == [POLL_MS_MIN]


async def test_no_more_is_asked_for_than_there_is_room_for() -> None:
    reading = Reading(Asked(["1", "2"], ["3"]), pauses_max=1, inlet_max=2)
    running = asyncio.create_task(reading.run())
    await reading.inlet.full.times(1)
    assert reading.asked.looks == [2]
    await reading.intake.take(2)
    await running
    assert reading.asked.looks == [2, 2]


async def test_postgres_away_is_waited_for_longer_and_longer() -> None:
    gone = StoreUnavailable("gone")
    reading = Reading(Asked(gone, gone, gone, gone, ["1"]), pauses_max=10)
    await reading.run()
    assert reading.taken_in == ["1"]
    waits_ms = reading.paused_ms[:8:2]
    assert waits_ms == sorted(waits_ms)
    assert waits_ms[-1] > waits_ms[0]


async def test_a_conflict_is_told_for_what_it_is_and_tried_again() -> None:
    reading = Reading(Asked(StoreConflict("deadlock detected"), ["1"]), pauses_max=4)
    with structlog.testing.capture_logs() as logs:
        await reading.run()
    assert reading.taken_in == ["1"]
    [line] = logs
    assert line["event"] == "another transaction was in the way; requests wait, and are tried again"


async def test_the_first_wait_of_the_next_outage_is_short_again() -> None:
    gone = StoreUnavailable("gone")
    reading = Reading(Asked(*[gone] * 5, ["1"], gone), pauses_max=14)
    await reading.run()
    assert reading.paused_ms[11] <= reading.paused_ms[8]


@pytest.mark.parametrize("inlet_is_full", [False, True])
async def test_the_loop_ends_wherever_it_is_when_it_is_time_to_stop(inlet_is_full: bool) -> None:
    shutdown = Shutdown()
    intake = Intake(BATCH_BYTES_MAX, shutdown)
    inlet = intake.inlet(1)
    if inlet_is_full:
        inlet.put([Entry(REQUESTS, "0", {})])
    polling = reader(Asked(), intake, shutdown, inlet=inlet)
    running = asyncio.create_task(polling.run())
    await (inlet.full if inlet_is_full else polling.started).times(1)
    shutdown.request()
    async with asyncio.timeout(10):
        await running
    assert running.done()
