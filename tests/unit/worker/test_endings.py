"""A handler that runs past its deadline is ended, and does not keep its slot."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs

from saga_service.base.clock import now_ms
from saga_service.base.lifecycle import cancel
from saga_service.core.vocabulary import Outcome
from saga_service.wire.commands import read_command
from saga_service.wire.entries import Entry
from saga_service.worker import Rejected, StepContext, Worker
from saga_service.worker import endings as endings_module
from saga_service.worker import lease as deadlines_module
from saga_service.worker.registration import HandlerFunction
from saga_service.worker.replies import Replies
from tests.support.waiting import eventually
from tests.support.workers import (
    NAMES,
    RedisInMemory,
    acknowledgement,
    command,
    command_entry,
    dispatcher_of,
    waiting_for_room,
)

START_MS = 1_700_000_000_000
FOREVER_S = 60.0
SOON_MS = 150
"""Long enough for a slow machine to begin on a command before it is too late."""


class AtWork:
    """Handlers in two kinds: one heeds its cancellation, one does not until it is let go."""

    def __init__(self, concurrency: int = 1) -> None:
        self.redis = RedisInMemory()
        self.begun: list[str] = []
        self.let_go = asyncio.Event()
        self.contexts: list[StepContext] = []
        self.worker = Worker("payment")
        self.replies = Replies(
            self.redis.send, acknowledgement, NAMES, lambda _: self.dispatcher.recheck_room(), structlog.get_logger()
        )
        self.worker.handler("payment.charge")(self.heedful)
        self.worker.handler("payment.mine")(self.heedless)
        self.dispatcher = dispatcher_of(self.worker.handlers, self.replies, concurrency=concurrency)

    async def heedful(self, data: dict[str, Any], context: StepContext) -> dict[str, Any]:
        self.begun.append(context.command_id)
        self.contexts.append(context)
        await self.let_go.wait()
        return {"was": "let go"}

    async def heedless(self, data: dict[str, Any], context: StepContext) -> dict[str, Any]:
        self.begun.append(context.command_id)
        while not self.let_go.is_set():
            try:
                await self.let_go.wait()
            except asyncio.CancelledError:
                context.logger.debug("no")
        return {"was": "heedless"}

    async def room(self) -> int:
        async with asyncio.timeout(10):
            return await self.dispatcher.wait_for_room()

    async def settled(self, *entry_ids: str) -> None:
        """Wait until just these entries are acknowledged, in any order."""

        def are() -> bool:
            assert sorted(self.redis.acknowledged) == sorted(entry_ids)
            return True

        await eventually(are)

    @property
    def outcomes(self) -> list[Outcome]:
        return [reply.outcome for reply in self.redis.replies]


@pytest.fixture
async def work(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[AtWork]:
    monkeypatch.setattr(deadlines_module, "DEADLINE_GRACE_MS", 0)
    monkeypatch.setattr(deadlines_module, "CANCELLED_HANDLER_WAIT_S", 0.02)
    work = AtWork()
    answering = asyncio.create_task(work.replies.run())
    yield work
    work.let_go.set()
    await work.dispatcher.drain(FOREVER_S)
    await cancel([answering])


def overdue_soon(number: int, command_type: str = "payment.charge") -> Entry:
    return command_entry(number, command_type=command_type, deadline_in_ms=SOON_MS)


async def test_a_handler_that_never_returns_is_cancelled_and_frees_its_slot(work: AtWork) -> None:
    with capture_logs() as logs:
        work.dispatcher.accept([overdue_soon(1)])
        assert await work.room() == 1
        await work.settled("1701-0")
    assert len(work.begun) == 1
    assert work.outcomes == []
    assert [(line["log_level"], line["event"]) for line in logs] == [
        ("warning", "a command's deadline has passed; its handler is cancelled")
    ]
    assert logs[0]["command_id"] == command(1).id


async def test_a_result_after_the_deadline_and_before_the_cancellation_is_sent(
    work: AtWork, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deadlines_module, "DEADLINE_GRACE_MS", 60_000)
    work.dispatcher.accept([overdue_soon(1)])
    await eventually(lambda: work.contexts and work.contexts[0].remaining_seconds == 0)
    work.let_go.set()
    await work.settled("1701-0")
    assert work.outcomes == [Outcome.SUCCEEDED]


async def _carried_out(work: AtWork, function: HandlerFunction) -> None:
    """One command whose deadline comes soon, to its end, by this handler."""
    worker = Worker("payment")
    worker.handler("payment.charge")(function)
    dispatcher = dispatcher_of(worker.handlers, work.replies)
    dispatcher.accept([overdue_soon(1)])
    async with asyncio.timeout(10):
        assert await dispatcher.wait_for_room() == 1
    await work.settled("1701-0")
    await dispatcher.cancel()


async def test_a_result_that_is_returned_while_cleaning_up_is_sent(work: AtWork) -> None:
    async def charge(data: dict[str, Any]) -> dict[str, Any]:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await asyncio.sleep(0)
        return {"charged": True}

    await _carried_out(work, charge)
    assert [(reply.outcome, reply.output) for reply in work.redis.replies] == [(Outcome.SUCCEEDED, {"charged": True})]


async def test_a_handler_that_is_cancelled_may_still_reject(work: AtWork) -> None:
    async def charge(data: dict[str, Any]) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise Rejected("called_off", "the provider called it off") from None

    await _carried_out(work, charge)
    assert work.outcomes == [Outcome.REJECTED]


async def test_a_failure_that_the_cancellation_caused_is_no_reply(work: AtWork) -> None:
    async def charge(data: dict[str, Any]) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise ConnectionResetError("closed in the middle of it")

    with capture_logs() as logs:
        await _carried_out(work, charge)
    assert work.outcomes == []
    assert "the handler failed when it was cancelled; no reply is sent" in [line["event"] for line in logs]


async def test_a_librarys_own_time_out_is_not_taken_for_the_deadline(work: AtWork) -> None:
    async def charge(data: dict[str, Any]) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()  # and never `uncancel`, as older libraries have it
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise TimeoutError("the provider does not answer") from None

    await _carried_out(work, charge)
    assert work.outcomes == [Outcome.FAILED]


async def test_a_handler_that_blocks_the_loop_is_logged_and_its_result_sent(work: AtWork) -> None:
    async def charge(data: dict[str, Any], context: StepContext) -> None:
        while context.remaining_seconds > 0:
            pass

    with capture_logs() as logs:
        await _carried_out(work, charge)
    assert work.outcomes == [Outcome.SUCCEEDED]
    (line,) = logs
    assert line["log_level"] == "warning"
    assert line["event"].startswith("a handler ended after its deadline, and could not be cancelled before")


async def test_a_handler_that_ignores_its_cancellation_is_abandoned(work: AtWork) -> None:
    with capture_logs() as logs:
        work.dispatcher.accept([overdue_soon(1, "payment.mine")])
        assert await work.room() == 1
        await work.settled("1701-0")
    assert work.outcomes == []
    (error,) = [line for line in logs if line["log_level"] == "error"]
    assert error["event"].startswith("a handler ignores its cancellation and is abandoned; its slot is free again")
    assert (error["command_id"], error["abandoned"]) == (command(1).id, 1)


async def test_an_abandoned_handler_that_returns_after_all_has_its_result_sent(work: AtWork) -> None:
    work.dispatcher.accept([overdue_soon(1, "payment.mine")])
    await work.settled("1701-0")
    work.let_go.set()
    await work.settled("1701-0", "1701-0")
    assert work.outcomes == [Outcome.SUCCEEDED]
    assert await work.room() == 1


async def test_a_command_whose_handler_is_abandoned_is_not_begun_again(work: AtWork) -> None:
    work.dispatcher.accept([overdue_soon(1, "payment.mine")])
    await work.settled("1701-0")
    work.dispatcher.accept([command_entry(1, "1709-0", command_type="payment.mine")])
    await work.settled("1701-0", "1709-0")
    assert len(work.begun) == 1


async def test_abandoned_handlers_over_the_limit_keep_their_slots(
    work: AtWork, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endings_module, "ABANDONED_PER_SLOT_MAX", 1)
    with capture_logs() as logs:
        for number in (1, 2):
            assert await work.room() == 1
            work.dispatcher.accept([overdue_soon(number, "payment.mine")])
            await work.settled(*(f"170{done}-0" for done in range(1, number + 1)))
    errors = [line["event"] for line in logs if line["log_level"] == "error"]
    assert ["it keeps its slot" in event for event in errors] == [False, True]
    waiting = await waiting_for_room(work.dispatcher)
    assert not waiting.done()
    work.let_go.set()
    assert await waiting == 1


async def test_a_deadline_counts_while_a_stop_waits_for_what_runs(work: AtWork) -> None:
    work.dispatcher.accept([overdue_soon(1)])
    with capture_logs() as logs:
        async with asyncio.timeout(10):
            await work.dispatcher.drain(FOREVER_S)
        await work.settled("1701-0")
    assert [line["event"] for line in logs] == ["a command's deadline has passed; its handler is cancelled"]


async def test_a_stop_does_not_wait_for_abandoned_handlers(work: AtWork, monkeypatch: pytest.MonkeyPatch) -> None:
    work.dispatcher.accept([overdue_soon(1, "payment.mine")])
    await work.settled("1701-0")
    monkeypatch.setattr(deadlines_module, "CANCELLED_HANDLER_WAIT_S", FOREVER_S)
    with capture_logs() as logs:
        async with asyncio.timeout(10):
            await work.dispatcher.drain(FOREVER_S)
    assert logs == []


async def test_a_stop_does_not_cut_short_what_is_timing_out(work: AtWork, monkeypatch: pytest.MonkeyPatch) -> None:
    cancellations: list[bool] = []
    cancelled, go_on = asyncio.Event(), asyncio.Event()

    async def charge(data: dict[str, Any]) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancellations.append(True)
            cancelled.set()
            await go_on.wait()

    monkeypatch.setattr(deadlines_module, "CANCELLED_HANDLER_WAIT_S", FOREVER_S)
    worker = Worker("payment")
    worker.handler("payment.charge")(charge)
    dispatcher = dispatcher_of(worker.handlers, work.replies)
    dispatcher.accept([overdue_soon(1)])
    async with asyncio.timeout(10):
        await cancelled.wait()
        stopping = asyncio.create_task(dispatcher.cancel())
        asyncio.get_running_loop().call_soon(go_on.set)  # it has its turn after the stop has begun
        await stopping
    await work.settled("1701-0")
    assert (cancellations, work.outcomes) == ([True], [Outcome.SUCCEEDED])


async def test_a_handler_cancelled_before_its_first_turn_frees_its_slot(work: AtWork) -> None:
    work.dispatcher.accept([command_entry(1)])
    await work.dispatcher.cancel()
    assert await work.room() == 1
    assert (work.outcomes, work.redis.acknowledged) == ([], [])


async def test_a_handler_that_ends_at_its_deadline_leaves_nothing_behind(work: AtWork) -> None:
    results: list[dict[str, Any]] = [{"in": "time"}]

    async def charge(data: dict[str, Any]) -> dict[str, Any]:
        await work.let_go.wait()
        return results.pop()

    def lets_go_at_the_deadline() -> int:
        now = now_ms()
        if now >= deadline_ms:
            work.let_go.set()
        return now

    worker = Worker("payment")
    worker.handler("payment.charge")(charge)
    entry = overdue_soon(1)
    deadline_ms = read_command(entry).deadline_ms
    dispatcher = dispatcher_of(worker.handlers, work.replies, now_ms=lets_go_at_the_deadline)
    dispatcher.accept([entry])
    await work.settled("1701-0")
    dispatcher.accept([command_entry(1, "1709-0")])
    await work.settled("1701-0", "1709-0")
    assert work.outcomes == [Outcome.SUCCEEDED, Outcome.FAILED], "the second is one that nobody asked to end"
    await dispatcher.cancel()
