"""How much of one type at once, and how often: what waits holds up nobody else, and gets its turn."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest
import structlog

from saga_service.base.tasks import cancel
from saga_service.core.vocabulary import Outcome
from saga_service.worker import StepContext, Worker
from saga_service.worker.dispatcher import WAITING_PER_SLOT_MAX, Handling
from saga_service.worker.limits import CAUGHT_UP_S_MAX, Limits, Waiting, seconds_between
from saga_service.worker.replies import Replies
from tests.support.fakes import backoffs, turns
from tests.support.waiting import eventually
from tests.support.workers import GROUP, NAMES, STREAM, RedisInMemory, command, command_entry

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


def test_a_rate_allows_one_at_a_time_and_says_when_the_next_may_begin() -> None:
    clock = Clock()
    limit = limits(clock, rate="1/s")
    assert limit.may_begin(SLOW)
    limit.begun(SLOW)
    assert not limit.may_begin(SLOW)
    assert limit.may_begin(OTHER)
    limit.wait(Waiting(_handler(), command(1), command_entry(1)))
    clock.now_s += 0.25
    assert limit.next() is None
    assert limit.next_in_s() == pytest.approx(0.75 - CAUGHT_UP_S_MAX)
    clock.now_s += 0.75
    assert limit.next() is not None
    assert len(limit) == 0


def test_a_pause_is_not_made_up_for_by_a_burst() -> None:
    clock = Clock()
    limit = limits(clock, rate="100/s")
    clock.now_s += 60
    begun = 0
    while limit.may_begin(SLOW):
        limit.begun(SLOW)
        begun += 1
    assert begun <= CAUGHT_UP_S_MAX * 100 + 1


def test_those_that_wait_for_a_slot_of_their_type_need_no_timer() -> None:
    limit = limits(Clock(), concurrency=1)
    limit.begun(SLOW)
    limit.wait(Waiting(_handler(), command(1), command_entry(1)))
    assert limit.next_in_s() is None
    limit.ended(SLOW)
    waiting = limit.next()
    assert waiting is not None
    assert waiting.command.id == command(1).id


def _handler() -> Any:
    worker = Worker("payment")

    @worker.handler(SLOW)
    async def charge(data: dict[str, Any]) -> None: ...

    return worker.handlers[SLOW]


# ------------------------------------------------------------------------------------------------- in the worker


class AtWork:
    def __init__(self, **options: Any) -> None:
        self.redis = RedisInMemory()
        self.begun: list[tuple[str, str]] = []
        self.at_once: Counter[str] = Counter()
        self.most_at_once: Counter[str] = Counter()
        self.let_go = asyncio.Event()
        worker = Worker("payment")

        async def work(data: dict[str, Any], context: StepContext) -> None:
            kind = "slow" if data["kind"] == "slow" else "other"
            self.begun.append((kind, context.saga_id))
            self.at_once[kind] += 1
            self.most_at_once[kind] = max(self.most_at_once[kind], self.at_once[kind])
            try:
                if kind == "slow":
                    await self.let_go.wait()
                    await asyncio.sleep(0)
            finally:
                self.at_once[kind] -= 1

        worker.handler(SLOW, **options)(work)
        worker.handler(OTHER)(work)
        self.replies = Replies(
            self.redis.send, (STREAM, GROUP), NAMES, lambda _: self.handling.look_for_room(), structlog.get_logger()
        )
        self.handling = Handling(worker.handlers, self.replies, CONCURRENCY, 10_000, structlog.get_logger())

    def slow(self, *numbers: int, **more: Any) -> None:
        self.handling.accept([command_entry(number, data={"kind": "slow"}, **more) for number in numbers])

    def other(self, *numbers: int) -> None:
        self.handling.accept([command_entry(n, data={"kind": "other"}, command_type=OTHER) for n in numbers])

    def begun_of(self, kind: str) -> int:
        return sum(1 for begun, _ in self.begun if begun == kind)


@pytest.fixture
async def replying(backoffs: list[float]) -> AsyncIterator[list[AtWork]]:
    """Whoever works puts itself here, and is ended."""
    at_work: list[AtWork] = []
    yield at_work
    for work in at_work:
        work.let_go.set()
        await work.handling.cancel()


def begin(replying: list[AtWork], **options: Any) -> AtWork:
    replying.append(AtWork(**options))
    return replying[0]


async def test_a_flood_of_one_type_holds_its_own_slots_and_no_others(replying: list[AtWork]) -> None:
    work = begin(replying, concurrency=1)
    work.slow(*range(1, 11))
    await turns()
    assert work.begun_of("slow") == 1
    assert await work.handling.room() == CONCURRENCY - 1, "those that wait take no slot"
    work.other(100, 101)
    await turns()
    assert work.begun_of("other") == 2


async def test_all_that_waited_is_carried_out_in_its_order_and_never_too_many_at_once(replying: list[AtWork]) -> None:
    work = begin(replying, concurrency=2)
    running = asyncio.create_task(work.replies.run())
    work.slow(*range(1, 21))
    work.let_go.set()
    await eventually(lambda: len(work.redis.replies) == 20)
    await work.replies.flushed()
    assert work.most_at_once["slow"] == 2
    assert [saga for _, saga in work.begun] == [command(number).saga_id for number in range(1, 21)]
    assert {reply.outcome for reply in work.redis.replies} == {Outcome.SUCCEEDED}
    await cancel([running])


async def test_a_rate_spreads_what_comes_at_once(replying: list[AtWork]) -> None:
    work = begin(replying, rate="20/s")
    loop = asyncio.get_running_loop()
    began_at_s = loop.time()
    work.let_go.set()
    work.slow(*range(1, 6))
    await eventually(lambda: work.begun_of("slow") == 5)
    assert loop.time() - began_at_s >= 4 / 20 - CAUGHT_UP_S_MAX


async def test_too_many_that_wait_stop_the_reading_until_some_are_through(replying: list[AtWork]) -> None:
    work = begin(replying, concurrency=1)
    work.slow(*range(1, CONCURRENCY * WAITING_PER_SLOT_MAX + 2))
    reading = asyncio.create_task(work.handling.room())
    await turns()
    assert not reading.done()
    work.let_go.set()
    async with asyncio.timeout(10):
        assert await reading > 0


async def test_a_command_that_waits_past_its_deadline_is_passed_over(replying: list[AtWork]) -> None:
    work = begin(replying, concurrency=1)
    running = asyncio.create_task(work.replies.run())
    work.slow(1)
    work.slow(2, deadline_in_ms=5)
    await eventually(lambda: "1702-0" in work.redis.acknowledged)
    assert (work.begun_of("slow"), work.redis.replies) == (1, [])
    await cancel([running])


async def test_a_command_that_comes_again_while_it_waits_waits_once(replying: list[AtWork]) -> None:
    work = begin(replying, concurrency=1)
    work.slow(1, 2)
    work.slow(2, entry_id="9-0")
    work.let_go.set()
    await work.handling.finish(10)
    assert work.begun_of("slow") <= 2


async def test_a_stop_begins_nothing_more_and_hands_back_what_waits(replying: list[AtWork]) -> None:
    work = begin(replying, concurrency=1)
    work.slow(1, 2, 3)
    await turns()
    work.let_go.set()
    await work.handling.finish(10)
    assert work.begun_of("slow") == 1
    assert work.redis.acknowledged == []


async def test_a_slot_that_one_that_waited_took_is_not_given_twice(replying: list[AtWork]) -> None:
    work = begin(replying, concurrency=CONCURRENCY)
    work.slow(1, 2, 3)
    work.other(100)
    await turns()
    assert (work.begun_of("slow"), work.begun_of("other")) == (3, 0)
    work.let_go.set()
    await eventually(lambda: work.begun_of("other") == 1)


async def test_a_heartbeat_comes_by_itself_until_the_handler_is_over(backoffs: list[float]) -> None:
    worker, redis = Worker("payment"), RedisInMemory()
    let_go = asyncio.Event()

    @worker.handler(SLOW, heartbeat=0.1)
    async def charge(data: dict[str, Any]) -> None:
        await let_go.wait()

    replies = Replies(redis.send, (STREAM, GROUP), NAMES, lambda _: None, structlog.get_logger())
    handling = Handling(worker.handlers, replies, CONCURRENCY, 10_000, structlog.get_logger())
    running = asyncio.create_task(replies.run())
    handling.accept([command_entry(1)])
    await eventually(lambda: len(redis.replies) >= 2)
    let_go.set()
    await handling.finish(10)
    await replies.flushed()
    outcomes = [reply.outcome for reply in redis.replies]
    assert set(outcomes[:-1]) == {Outcome.PROGRESS}
    assert outcomes[-1] is Outcome.SUCCEEDED
    await cancel([running])
