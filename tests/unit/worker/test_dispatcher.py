"""Many commands at once, each carried out once and answered once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs

from saga_service.base.lifecycle import Milestone, cancel
from saga_service.core.vocabulary import Outcome
from saga_service.wire.dead_letters import raw_pairs, read_dead_letter
from saga_service.wire.entries import Entry
from saga_service.wire.transport import TransportUnavailable
from saga_service.worker import StepContext, Worker
from saga_service.worker.dispatcher import REPLIES_UNSENT_PER_SLOT_MAX
from saga_service.worker.replies import Replies
from tests.support.builders import delivered, entry
from tests.support.fakes import backoffs
from tests.support.waiting import eventually
from tests.support.workers import (
    NAMES,
    STREAM,
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
FOREVER_S = 60.0


class AtWork:
    """A handler that is at work until it is let go, and all that is around it."""

    def __init__(self) -> None:
        self.redis = RedisInMemory()
        self.begun: list[str] = []
        self.contexts: list[StepContext] = []
        self.began = Milestone()
        self.let_go = asyncio.Event()
        worker = Worker("payment")

        @worker.handler("payment.charge")
        async def charge(data: dict[str, Any], context: StepContext) -> None:
            self.begun.append(context.saga_id)
            self.contexts.append(context)
            self.began.reached()
            await self.let_go.wait()

        self.replies = Replies(
            self.redis.send, acknowledgement, NAMES, lambda _: self.dispatcher.recheck_room(), structlog.get_logger()
        )
        self.copies = copies_of(self.redis)
        self.dispatcher = dispatcher_of(
            worker.handlers, self.replies, self.redis, concurrency=CONCURRENCY, copies=self.copies
        )

    def accept(self, *entries: Entry) -> None:
        self.dispatcher.accept(entries)

    async def all_answered(self) -> None:
        async with asyncio.timeout(10):
            await self.dispatcher.drain(FOREVER_S)
            await self.replies.flushed()

    @property
    def outcomes(self) -> list[Outcome]:
        return [reply.outcome for reply in self.redis.replies]


@pytest.fixture
async def work(backoffs: list[float]) -> AsyncIterator[AtWork]:
    work = AtWork()
    running = [asyncio.create_task(work.replies.run()), asyncio.create_task(work.copies.run())]
    yield work
    work.let_go.set()
    await work.dispatcher.drain(FOREVER_S)
    await cancel(running)


async def test_commands_run_side_by_side_and_each_is_answered(work: AtWork) -> None:
    work.accept(*(command_entry(number) for number in (1, 2, 3)))
    await work.began.times(3)
    assert len(work.begun) == 3
    assert work.outcomes == []
    work.let_go.set()
    await work.all_answered()
    assert work.outcomes == [Outcome.SUCCEEDED] * 3
    assert work.redis.acknowledged == ["1701-0", "1702-0", "1703-0"]


async def test_room_is_what_is_not_running_and_is_waited_for(work: AtWork) -> None:
    assert await work.dispatcher.wait_for_room() == CONCURRENCY
    work.accept(command_entry(1))
    assert await work.dispatcher.wait_for_room() == CONCURRENCY - 1
    work.accept(command_entry(2), command_entry(3))
    waiting = await waiting_for_room(work.dispatcher)
    assert not waiting.done()
    work.let_go.set()
    assert await waiting > 0


async def test_a_command_that_comes_twice_while_it_runs_runs_once(work: AtWork) -> None:
    work.accept(command_entry(1, "1-0"), command_entry(1, "2-0"))
    await work.began.times(1)
    work.accept(command_entry(1, "3-0"))
    await work.replies.flushed()
    assert len(work.begun) == 1
    assert work.redis.acknowledged == ["2-0", "3-0"], "the first stays pending until its answer is taken"
    work.let_go.set()
    await work.all_answered()
    assert work.outcomes == [Outcome.SUCCEEDED]
    assert work.redis.acknowledged == ["2-0", "3-0", "1-0"]


async def test_another_attempt_at_the_same_step_is_another_command(work: AtWork) -> None:
    work.accept(command_entry(1, "1-0"), command_entry(1, "2-0", attempt=2))
    await work.began.times(2)
    assert len(work.begun) == 2


async def test_a_command_past_its_deadline_is_skipped(work: AtWork) -> None:
    with capture_logs() as logs:
        work.accept(command_entry(1, deadline_in_ms=-5_000))
        await eventually(lambda: work.redis.acknowledged)
    assert (work.begun, work.redis.acknowledged) == ([], ["1701-0"])
    assert [line["log_level"] for line in logs] == ["warning"]
    assert logs[0]["late_ms"] >= 5_000
    assert logs[0]["command_id"] == command(1).id


async def test_an_unknown_command_is_answered_shortly_before_its_deadline(work: AtWork) -> None:
    work.accept(command_entry(1, command_type="payment.guess", deadline_in_ms=1_000), command_entry(2))
    work.let_go.set()
    await work.all_answered()
    assert work.outcomes == [Outcome.FAILED, Outcome.SUCCEEDED]
    fault = work.redis.replies[0].fault
    assert fault is not None
    assert fault.code == "unknown_command"


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"nothing": "of use"}, "field 'id' is missing or empty"),
        ({b"id": b"\xff"}, "field 'id' is not valid UTF-8"),
        ({"id": "pay-1"}, "field 'id' is not the id of a command"),
    ],
)
async def test_a_malformed_entry_becomes_a_dead_letter(
    work: AtWork, fields: dict[str | bytes, str | bytes], reason: str
) -> None:
    poison = entry(fields, STREAM, "1-0")
    work.accept(poison, command_entry(2))
    work.let_go.set()
    await work.all_answered()
    (message,) = [message for message in work.redis.added if message.stream == NAMES.dead_letters]
    letter = read_dead_letter(delivered(message))
    assert (letter.stream, letter.entry_id) == (STREAM, "1-0")
    assert letter.reason.startswith(reason)
    assert dict(raw_pairs(letter.raw)) == poison.fields
    assert work.outcomes == [Outcome.SUCCEEDED]
    assert set(work.redis.acknowledged) == {"1-0", "1702-0"}


async def test_broken_data_is_a_dead_letter_too(work: AtWork) -> None:
    fields = {**command_entry(1).fields, b"data": b"{"}
    work.accept(Entry(STREAM, "1-0", fields))
    await work.all_answered()
    assert [message.stream for message in work.redis.added] == [NAMES.dead_letters]
    assert work.redis.acknowledged == ["1-0"]


async def test_signs_of_life_are_sent_while_the_handler_runs_and_not_after(work: AtWork) -> None:
    work.accept(command_entry(1))
    await work.began.times(1)
    await work.contexts[0].progress()
    await work.replies.flushed()
    work.let_go.set()
    await work.all_answered()
    await work.contexts[0].progress()
    await work.all_answered()
    assert work.outcomes == [Outcome.PROGRESS, Outcome.SUCCEEDED]


async def test_lines_that_others_log_meanwhile_name_the_command_too(work: AtWork) -> None:
    bound: list[dict[str, Any]] = []
    worker = Worker("payment")

    @worker.handler("payment.charge")
    async def charge(data: dict[str, Any]) -> None:
        bound.append(structlog.contextvars.get_contextvars())

    dispatcher = dispatcher_of(worker.handlers, work.replies)
    dispatcher.accept([command_entry(1)])
    await dispatcher.drain(FOREVER_S)
    received = command(1)
    assert bound == [{"saga_id": received.saga_id, "saga": "order", "step": "charge", "command_id": received.id}]
    assert structlog.contextvars.get_contextvars() == {}


async def test_no_command_is_accepted_while_replies_cannot_be_sent(work: AtWork, backoffs: list[float]) -> None:
    work.redis.faults.lasting = TransportUnavailable("gone")
    work.accept(command_entry(1))
    work.let_go.set()
    await work.redis.tried.times(2)
    assert work.replies.are_held_up
    waiting = await waiting_for_room(work.dispatcher)
    assert not waiting.done()
    work.redis.faults.lasting = None
    async with asyncio.timeout(10):
        assert await waiting == CONCURRENCY


async def test_the_end_of_an_outage_makes_room_even_without_unsent_replies(work: AtWork) -> None:
    work.redis.faults.lasting = TransportUnavailable("gone")
    work.accept(command_entry(1))
    await work.began.times(1)
    await work.contexts[0].progress()
    await work.redis.tried.times(2)
    waiting = await waiting_for_room(work.dispatcher)
    assert not waiting.done()
    work.redis.faults.lasting = None
    async with asyncio.timeout(10):
        assert await waiting == CONCURRENCY - 1


async def test_unsent_replies_are_bounded() -> None:
    work = AtWork()  # its replies are never sent
    work.let_go.set()
    limit = CONCURRENCY * REPLIES_UNSENT_PER_SLOT_MAX
    for number in range(limit):
        async with asyncio.timeout(10):
            assert await work.dispatcher.wait_for_room() > 0
        work.accept(command_entry(number))
    await work.dispatcher.drain(FOREVER_S)
    assert work.replies.unsent == limit
    room = await waiting_for_room(work.dispatcher)
    assert not room.done()
    room.cancel()
    with pytest.raises(asyncio.CancelledError):
        await room


async def test_a_handler_past_the_grace_period_is_cancelled_without_a_reply(work: AtWork) -> None:
    work.accept(command_entry(1))
    await work.began.times(1)
    with capture_logs() as logs:
        await work.dispatcher.drain(0)
    await work.replies.flushed()
    assert work.outcomes == []
    assert work.redis.acknowledged == []
    assert [line["event"] for line in logs] == ["handlers are cancelled; other workers will take over their commands"]


async def test_a_cancelled_handler_has_time_to_clean_up(work: AtWork) -> None:
    began, cleaned_up = asyncio.Event(), asyncio.Event()
    worker = Worker("payment")

    @worker.handler("payment.charge")
    async def charge(data: dict[str, Any]) -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            cleaned_up.set()

    dispatcher = dispatcher_of(worker.handlers, work.replies)
    dispatcher.accept([command_entry(1)])
    await began.wait()
    await dispatcher.cancel()
    assert cleaned_up.is_set()
    assert await dispatcher.wait_for_room() == 1


async def test_a_heartbeat_comes_by_itself_until_the_handler_is_over(backoffs: list[float]) -> None:
    worker, redis = Worker("payment"), RedisInMemory()
    let_go = asyncio.Event()

    @worker.handler("payment.charge", heartbeat=0.1)
    async def charge(data: dict[str, Any]) -> None:
        await let_go.wait()

    replies = Replies(redis.send, acknowledgement, NAMES, lambda _: None, structlog.get_logger())
    dispatcher = dispatcher_of(worker.handlers, replies, concurrency=CONCURRENCY)
    running = asyncio.create_task(replies.run())
    dispatcher.accept([command_entry(1)])
    await eventually(lambda: len(redis.replies) >= 2)
    let_go.set()
    await dispatcher.drain(10)
    await replies.flushed()
    outcomes = [reply.outcome for reply in redis.replies]
    assert set(outcomes[:-1]) == {Outcome.PROGRESS}
    assert outcomes[-1] is Outcome.SUCCEEDED
    await cancel([running])
