"""A type at its limit holds up no other type, and what is queued gets its turn."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest
import structlog

from saga_service.base.lifecycle import Milestone, cancel
from saga_service.core.vocabulary import Outcome
from saga_service.worker import StepContext, Worker
from saga_service.worker.dispatcher import QUEUED_PER_SLOT_MAX
from saga_service.worker.limits import CATCH_UP_S_MAX
from saga_service.worker.replies import Replies
from tests.support.fakes import backoffs
from tests.support.waiting import eventually
from tests.support.workers import (
    NAMES,
    RedisInMemory,
    acknowledgement,
    command,
    command_entry,
    copies_of,
    dispatcher_of,
    waiting_for_room,
)

__all__ = ["backoffs"]
CONCURRENCY = 3
SLOW, OTHER = "payment.charge", "payment.refund"


class AtWork:
    def __init__(self, **options: Any) -> None:
        self.redis = RedisInMemory()
        self.begun: list[tuple[str, str]] = []
        self.began = Milestone()
        self.at_once: Counter[str] = Counter()
        self.most_at_once: Counter[str] = Counter()
        self.let_go = asyncio.Event()
        worker = Worker("payment")

        async def work(data: dict[str, Any], context: StepContext) -> None:
            kind = "slow" if data["kind"] == "slow" else "other"
            self.begun.append((kind, context.saga_id))
            self.began.reached()
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
            self.redis.send, acknowledgement, NAMES, lambda _: self.dispatcher.recheck_room(), structlog.get_logger()
        )
        self.copies = copies_of(self.redis)
        self.dispatcher = dispatcher_of(
            worker.handlers, self.replies, self.redis, concurrency=CONCURRENCY, copies=self.copies
        )

    def slow(self, *numbers: int, **more: Any) -> None:
        self.dispatcher.accept([command_entry(number, data={"kind": "slow"}, **more) for number in numbers])

    def other(self, *numbers: int) -> None:
        self.dispatcher.accept([command_entry(n, data={"kind": "other"}, command_type=OTHER) for n in numbers])

    def begun_of(self, kind: str) -> int:
        return sum(1 for begun, _ in self.begun if begun == kind)


@pytest.fixture
async def replying(backoffs: list[float]) -> AsyncIterator[list[AtWork]]:
    """Whoever works puts itself here, and is ended."""
    at_work: list[AtWork] = []
    yield at_work
    for work in at_work:
        work.let_go.set()
        await work.dispatcher.cancel()


def begin(replying: list[AtWork], **options: Any) -> AtWork:
    replying.append(AtWork(**options))
    return replying[0]


async def test_a_flood_of_one_type_holds_its_own_slots_and_no_others(replying: list[AtWork]) -> None:
    work = begin(replying, concurrency=1)
    work.slow(*range(1, 11))
    await work.began.times(1)
    assert await work.dispatcher.wait_for_room() == CONCURRENCY - 1, "those that wait take no slot"
    work.other(100, 101)
    await work.began.times(3)
    assert (work.begun_of("slow"), work.begun_of("other")) == (1, 2)


async def test_queued_commands_run_in_order_and_never_too_many_at_once(replying: list[AtWork]) -> None:
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
    assert loop.time() - began_at_s >= 4 / 20 - CATCH_UP_S_MAX


async def test_too_many_queued_commands_stop_the_reading(replying: list[AtWork]) -> None:
    work = begin(replying, concurrency=1)
    work.slow(*range(1, CONCURRENCY * QUEUED_PER_SLOT_MAX + 2))
    reading = await waiting_for_room(work.dispatcher)
    assert not reading.done()
    work.let_go.set()
    async with asyncio.timeout(10):
        assert await reading > 0


async def test_a_command_queued_past_its_deadline_is_skipped(replying: list[AtWork]) -> None:
    work = begin(replying, concurrency=1)
    running = [asyncio.create_task(work.replies.run()), asyncio.create_task(work.copies.run())]
    work.slow(1)
    work.slow(2, deadline_in_ms=5)
    await eventually(lambda: "1702-0" in work.redis.acknowledged)
    assert work.begun_of("slow") == 1
    assert [reply.fault and reply.fault.code for reply in work.redis.replies] == ["not_begun_in_time"]
    await cancel(running)


async def test_a_command_that_comes_again_while_queued_is_queued_once(replying: list[AtWork]) -> None:
    work = begin(replying, concurrency=1)
    work.slow(1, 2)
    work.slow(2, entry_id="9-0")
    work.let_go.set()
    await work.dispatcher.drain(10)
    assert work.begun_of("slow") <= 2


async def test_a_shutdown_starts_nothing_more_and_hands_back_the_queue(replying: list[AtWork]) -> None:
    work = begin(replying, concurrency=1)
    work.slow(1, 2, 3)
    await work.began.times(1)
    work.let_go.set()
    await work.dispatcher.drain(10)
    assert work.begun_of("slow") == 1
    assert work.redis.acknowledged == []


async def test_a_slot_that_a_queued_command_took_is_not_given_twice(replying: list[AtWork]) -> None:
    work = begin(replying, concurrency=CONCURRENCY)
    work.slow(1, 2, 3)
    work.other(100)
    await work.began.times(3)
    assert (work.begun_of("slow"), work.begun_of("other")) == (3, 0)
    work.let_go.set()
    await eventually(lambda: work.begun_of("other") == 1)
