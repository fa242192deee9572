"""How much of one type at once, and how often: what waits holds up nobody else, and gets its turn."""

from __future__ import annotations

from typing import Any

import pytest

from saga_service.worker import Worker
from saga_service.worker.limits import CATCH_UP_S_MAX, Limits, QueuedCommand, seconds_between
from tests.support.fakes import backoffs
from tests.support.workers import command, command_entry

__all__ = ["backoffs"]
CONCURRENCY = 3
SLOW, OTHER = "payment.charge", "payment.refund"


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.mark.parametrize(("rate", "seconds"), [("50/s", 0.02), ("20/m", 3.0), ("100/h", 36.0), (" 1 / s ", 1.0)])
def test_a_rate_is_an_even_distance(rate: str, seconds: float) -> None:
    assert seconds_between(rate) == pytest.approx(seconds)


def limits(clock: Clock, **options: Any) -> Limits:
    worker = Worker("payment")

    @worker.handler(SLOW, **options)
    async def charge(data: dict[str, Any]) -> None: ...

    return Limits(worker.handlers.values(), clock)


def test_a_rate_allows_one_at_a_time_and_says_when_the_next_allow_start() -> None:
    clock = Clock()
    limit = limits(clock, rate="1/s")
    assert limit.allow_start(SLOW)
    limit.count_start(SLOW)
    assert not limit.allow_start(SLOW)
    assert limit.allow_start(OTHER)
    limit.enqueue(QueuedCommand(_handler(), command(1), command_entry(1)))
    clock.now_s += 0.25
    assert limit.dequeue() is None
    assert limit.next_start_in_s() == pytest.approx(0.75 - CATCH_UP_S_MAX)
    clock.now_s += 0.75
    assert limit.dequeue() is not None
    assert len(limit) == 0


def test_a_pause_is_not_made_up_for_by_a_burst() -> None:
    clock = Clock()
    limit = limits(clock, rate="100/s")
    clock.now_s += 60
    begun = 0
    while limit.allow_start(SLOW):
        limit.count_start(SLOW)
        begun += 1
    assert begun <= CATCH_UP_S_MAX * 100 + 1


def test_commands_queued_for_a_slot_need_no_timer() -> None:
    limit = limits(Clock(), concurrency=1)
    limit.count_start(SLOW)
    limit.enqueue(QueuedCommand(_handler(), command(1), command_entry(1)))
    assert limit.next_start_in_s() is None
    limit.count_end(SLOW)
    waiting = limit.dequeue()
    assert waiting is not None
    assert waiting.command.id == command(1).id


def _handler() -> Any:
    worker = Worker("payment")

    @worker.handler(SLOW)
    async def charge(data: dict[str, Any]) -> None: ...

    return worker.handlers[SLOW]
