"""One timer notices every command that is past its deadline."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable
from itertools import count

import pytest

from saga_service.core.ids import CommandId
from saga_service.worker.lease import DEADLINE_GRACE_MS, TIMER_DELAY_MS_MAX, Deadlines

START_MS = 1_700_000_000_000
FOREVER_S = 60.0
SOON_MS = 150
"""Long enough for a slow machine to begin on a command before it is too late."""


class Timer:
    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback = callback
        self.is_cancelled = False

    def cancel(self) -> None:
        self.is_cancelled = True


class Time:
    """A clock that stands still, and the loop's timers, which go off when it is moved."""

    def __init__(self) -> None:
        self.now_ms = START_MS
        self.timers_made = 0
        self._ran_ms = 0
        self._timers: list[tuple[float, int, Timer]] = []
        self._order = count()

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> Timer:
        self.timers_made += 1
        timer = Timer(callback)
        heapq.heappush(self._timers, (self._ran_ms + delay_s * 1000, next(self._order), timer))
        return timer

    def goes_on(self, span_ms: int) -> None:
        end_ms, before_ms = self._ran_ms + span_ms, self.now_ms - self._ran_ms
        while self._timers and self._timers[0][0] <= end_ms:
            at_ms, _, timer = heapq.heappop(self._timers)
            if not timer.is_cancelled:
                self._ran_ms, self.now_ms = int(at_ms), before_ms + int(at_ms)
                timer.callback()
        self._ran_ms, self.now_ms = end_ms, before_ms + end_ms

    def is_set_forward(self, by_ms: int) -> None:
        self.now_ms += by_ms

    @property
    def timers_left(self) -> int:
        return sum(not timer.is_cancelled for _, _, timer in self._timers)


@pytest.fixture
async def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    time = Time()
    monkeypatch.setattr(asyncio.get_running_loop(), "call_later", time.call_later)
    return time


class Watched:
    def __init__(self, time: Time) -> None:
        self.told: list[str] = []
        self.deadlines = Deadlines(self.told.append, lambda: time.now_ms)

    def watch(self, name: str, in_ms: int) -> None:
        self.deadlines.watch(CommandId(name), START_MS + in_ms)

    def ended(self, name: str) -> bool:
        return self.deadlines.unwatch(CommandId(name))


async def test_each_is_overdue_once_a_grace_after_its_deadline_in_any_order(time: Time) -> None:
    watched = Watched(time)
    for name, in_ms in (("second", 2_000), ("first", 1_000), ("third", 3_000)):
        watched.watch(name, in_ms)
    time.goes_on(1_000 + DEADLINE_GRACE_MS - 1)
    assert watched.told == []
    time.goes_on(1)
    assert watched.told == ["first"]
    time.goes_on(5_000)
    assert watched.told == ["first", "second", "third"]
    assert time.timers_left == 0


async def test_a_command_that_ended_is_not_overdue(time: Time) -> None:
    watched = Watched(time)
    watched.watch("ends", 1_000)
    watched.watch("stays", 1_000)
    assert not watched.ended("ends")
    time.goes_on(5_000)
    assert watched.told == ["stays"]
    assert not watched.ended("stays"), "it was told of"


async def test_a_deadline_can_be_moved_both_ways(time: Time) -> None:
    watched = Watched(time)
    watched.watch("later", 1_000)
    watched.watch("later", 4_000)
    watched.watch("earlier", 9_000)
    watched.watch("earlier", 2_000)
    time.goes_on(2_000 + DEADLINE_GRACE_MS)
    assert watched.told == ["earlier"]
    time.goes_on(2_000)
    assert watched.told == ["earlier", "later"]


async def test_thousands_that_end_in_time_share_one_timer(time: Time) -> None:
    watched = Watched(time)
    for number in range(5_000):
        watched.watch(f"c{number}", 60_000 + number)
        watched.ended(f"c{number}")
    assert time.timers_made == 1
    time.goes_on(70_000)
    assert watched.told == []
    assert (time.timers_made, time.timers_left) == (1, 0)


async def test_an_end_after_a_blocked_loop_is_known_to_be_late(time: Time) -> None:
    watched = Watched(time)
    watched.watch("blocked the loop", 1_000)
    time.is_set_forward(1_000 + DEADLINE_GRACE_MS)
    assert watched.ended("blocked the loop")
    assert not watched.ended("blocked the loop")


async def test_a_clock_that_is_set_forward_is_noticed_before_long(time: Time) -> None:
    watched = Watched(time)
    watched.watch("far", 3_600_000)
    time.is_set_forward(3_600_000 + DEADLINE_GRACE_MS)
    time.goes_on(TIMER_DELAY_MS_MAX)
    assert watched.told == ["far"]


async def test_a_clock_that_is_set_back_makes_nothing_overdue_too_early(time: Time) -> None:
    watched = Watched(time)
    watched.watch("patient", 1_000)
    time.is_set_forward(-5_000)
    time.goes_on(1_000 + DEADLINE_GRACE_MS)
    assert watched.told == []
    time.goes_on(5_000)
    assert watched.told == ["patient"]


async def test_a_stop_leaves_no_timer_and_a_later_watch_works(time: Time) -> None:
    watched = Watched(time)
    watched.watch("first", 1_000)
    watched.deadlines.stop()
    assert time.timers_left == 0
    watched.watch("second", 2_000)
    time.goes_on(9_000)
    assert "second" in watched.told
