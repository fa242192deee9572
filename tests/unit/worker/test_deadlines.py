"""What runs past its deadline is ended, and does not keep its slot."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import AsyncIterator, Callable
from itertools import count
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs

from saga_service.base.clock import now_ms
from saga_service.base.tasks import cancel
from saga_service.core.ids import CommandId
from saga_service.core.vocabulary import Outcome
from saga_service.wire.commands import read_command
from saga_service.wire.entries import Entry
from saga_service.worker import Rejected, StepContext, Worker
from saga_service.worker import deadlines as deadlines_module
from saga_service.worker import dispatcher as handling_module
from saga_service.worker.deadlines import DEADLINE_GRACE_MS, LOOKED_AFTER_MS_MAX, Deadlines
from saga_service.worker.dispatcher import Handling
from saga_service.worker.registration import HandlerFunction
from saga_service.worker.replies import Replies
from tests.support.fakes import turns
from tests.support.waiting import eventually
from tests.support.workers import GROUP, NAMES, STREAM, RedisInMemory, command, command_entry

START_MS = 1_700_000_000_000
FOREVER_S = 60.0
SOON_MS = 150
"""Long enough for a slow machine to begin on a command before it is too late."""

# ------------------------------------------------------------------------------------------------- the one timer


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
    monkeypatch.setattr(deadlines_module, "now_ms", lambda: time.now_ms)
    monkeypatch.setattr(asyncio.get_running_loop(), "call_later", time.call_later)
    return time


class Watched:
    def __init__(self) -> None:
        self.told: list[str] = []
        self.deadlines = Deadlines(self.told.append)

    def watch(self, name: str, in_ms: int) -> None:
        self.deadlines.watch(CommandId(name), START_MS + in_ms)

    def ended(self, name: str) -> bool:
        return self.deadlines.ended(CommandId(name))


async def test_each_is_told_of_once_a_grace_after_its_deadline_in_whatever_order_they_came(time: Time) -> None:
    watched = Watched()
    for name, in_ms in (("second", 2_000), ("first", 1_000), ("third", 3_000)):
        watched.watch(name, in_ms)
    time.goes_on(1_000 + DEADLINE_GRACE_MS - 1)
    assert watched.told == []
    time.goes_on(1)
    assert watched.told == ["first"]
    time.goes_on(5_000)
    assert watched.told == ["first", "second", "third"]
    assert time.timers_left == 0


async def test_what_ended_is_not_told_of(time: Time) -> None:
    watched = Watched()
    watched.watch("ends", 1_000)
    watched.watch("stays", 1_000)
    assert not watched.ended("ends")
    time.goes_on(5_000)
    assert watched.told == ["stays"]
    assert not watched.ended("stays"), "it was told of"


async def test_a_deadline_can_be_moved_both_ways(time: Time) -> None:
    watched = Watched()
    watched.watch("later", 1_000)
    watched.watch("later", 4_000)
    watched.watch("earlier", 9_000)
    watched.watch("earlier", 2_000)
    time.goes_on(2_000 + DEADLINE_GRACE_MS)
    assert watched.told == ["earlier"]
    time.goes_on(2_000)
    assert watched.told == ["earlier", "later"]


async def test_thousands_that_end_in_time_share_one_timer(time: Time) -> None:
    watched = Watched()
    for number in range(5_000):
        watched.watch(f"c{number}", 60_000 + number)
        watched.ended(f"c{number}")
    assert time.timers_made == 1
    time.goes_on(70_000)
    assert watched.told == []
    assert (time.timers_made, time.timers_left) == (1, 0)


async def test_what_ended_late_while_nothing_could_be_told_is_said_to_the_one_who_ends_it(time: Time) -> None:
    watched = Watched()
    watched.watch("blocked the loop", 1_000)
    time.is_set_forward(1_000 + DEADLINE_GRACE_MS)
    assert watched.ended("blocked the loop")
    assert not watched.ended("blocked the loop")


async def test_a_clock_that_is_set_forward_is_noticed_before_long(time: Time) -> None:
    watched = Watched()
    watched.watch("far", 3_600_000)
    time.is_set_forward(3_600_000 + DEADLINE_GRACE_MS)
    time.goes_on(LOOKED_AFTER_MS_MAX)
    assert watched.told == ["far"]


async def test_a_clock_that_is_set_back_tells_of_nothing_too_early(time: Time) -> None:
    watched = Watched()
    watched.watch("patient", 1_000)
    time.is_set_forward(-5_000)
    time.goes_on(1_000 + DEADLINE_GRACE_MS)
    assert watched.told == []
    time.goes_on(5_000)
    assert watched.told == ["patient"]


async def test_a_stop_leaves_no_timer_and_what_is_watched_next_is_told_of(time: Time) -> None:
    watched = Watched()
    watched.watch("first", 1_000)
    watched.deadlines.stop()
    assert time.timers_left == 0
    watched.watch("second", 2_000)
    time.goes_on(9_000)
    assert "second" in watched.told


# ------------------------------------------------------------------------------------------------- handlers


class AtWork:
    """Handlers in two kinds: one heeds its cancellation, one does not until it is let go."""

    def __init__(self, concurrency: int = 1) -> None:
        self.redis = RedisInMemory()
        self.begun: list[str] = []
        self.let_go = asyncio.Event()
        self.contexts: list[StepContext] = []
        self.worker = Worker("payment")
        self.replies = Replies(
            self.redis.send, (STREAM, GROUP), NAMES, lambda _: self.handling.look_for_room(), structlog.get_logger()
        )
        self.worker.handler("payment.charge")(self.heedful)
        self.worker.handler("payment.mine")(self.heedless)
        self.handling = Handling(self.worker.handlers, self.replies, concurrency, 10_000, structlog.get_logger())

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
            return await self.handling.room()

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
    monkeypatch.setattr(handling_module, "CANCELLED_HANDLERS_WAIT_S", 0.02)
    work = AtWork()
    answering = asyncio.create_task(work.replies.run())
    yield work
    work.let_go.set()
    await work.handling.finish(FOREVER_S)
    await turns()
    await cancel([answering])


def overdue_soon(number: int, command_type: str = "payment.charge") -> Entry:
    return command_entry(number, command_type=command_type, deadline_in_ms=SOON_MS)


async def test_a_handler_that_never_returns_is_cancelled_gives_no_answer_and_frees_its_slot(work: AtWork) -> None:
    with capture_logs() as logs:
        work.handling.accept([overdue_soon(1)])
        assert await work.room() == 1
        await work.settled("1701-0")
    assert len(work.begun) == 1
    assert work.outcomes == []
    assert [(line["log_level"], line["event"]) for line in logs] == [
        ("warning", "a command's deadline has passed; its handler is asked to end")
    ]
    assert logs[0]["command_id"] == command(1).id


async def test_a_result_after_the_deadline_and_before_the_cancellation_is_sent(
    work: AtWork, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deadlines_module, "DEADLINE_GRACE_MS", 60_000)
    work.handling.accept([overdue_soon(1)])
    await eventually(lambda: work.contexts and work.contexts[0].remaining_seconds == 0)
    work.let_go.set()
    await work.settled("1701-0")
    assert work.outcomes == [Outcome.SUCCEEDED]


async def _carried_out(work: AtWork, function: HandlerFunction) -> None:
    """One command whose deadline comes soon, to its end, by this handler."""
    worker = Worker("payment")
    worker.handler("payment.charge")(function)
    handling = Handling(worker.handlers, work.replies, 1, 10_000, structlog.get_logger())
    handling.accept([overdue_soon(1)])
    async with asyncio.timeout(10):
        assert await handling.room() == 1
    await work.settled("1701-0")
    await handling.cancel()


async def test_a_result_that_is_returned_while_cleaning_up_is_sent(work: AtWork) -> None:
    async def charge(data: dict[str, Any]) -> dict[str, Any]:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await turns()
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


async def test_a_failure_that_the_cancellation_brought_about_is_no_answer(work: AtWork) -> None:
    async def charge(data: dict[str, Any]) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise ConnectionResetError("closed in the middle of it")

    with capture_logs() as logs:
        await _carried_out(work, charge)
    assert work.outcomes == []
    assert "the handler failed when it was cancelled; no reply is sent" in [line["event"] for line in logs]


async def test_a_library_that_cancels_the_task_for_its_own_time_out_is_not_taken_for_the_deadline(work: AtWork) -> None:
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


async def test_a_handler_that_blocks_the_loop_past_its_deadline_is_told_of_and_its_result_is_sent(work: AtWork) -> None:
    async def charge(data: dict[str, Any], context: StepContext) -> None:
        while context.remaining_seconds > 0:
            pass

    with capture_logs() as logs:
        await _carried_out(work, charge)
    assert work.outcomes == [Outcome.SUCCEEDED]
    (line,) = logs
    assert line["log_level"] == "warning"
    assert line["event"].startswith("a handler ended after its deadline, and could not be cancelled before")


async def test_a_handler_that_swallows_its_cancellation_is_abandoned_and_frees_its_slot(work: AtWork) -> None:
    with capture_logs() as logs:
        work.handling.accept([overdue_soon(1, "payment.mine")])
        assert await work.room() == 1
        await work.settled("1701-0")
    assert work.outcomes == []
    (error,) = [line for line in logs if line["log_level"] == "error"]
    assert error["event"].startswith(
        "a handler does not heed its cancellation and is abandoned; its slot is free again"
    )
    assert (error["command_id"], error["abandoned"]) == (command(1).id, 1)


async def test_an_abandoned_handler_that_returns_after_all_has_its_result_sent(work: AtWork) -> None:
    work.handling.accept([overdue_soon(1, "payment.mine")])
    await work.settled("1701-0")
    work.let_go.set()
    await work.settled("1701-0", "1701-0")
    assert work.outcomes == [Outcome.SUCCEEDED]
    assert await work.room() == 1


async def test_a_command_whose_handler_is_abandoned_is_not_begun_again(work: AtWork) -> None:
    work.handling.accept([overdue_soon(1, "payment.mine")])
    await work.settled("1701-0")
    work.handling.accept([command_entry(1, "1709-0", command_type="payment.mine")])
    await work.settled("1701-0", "1709-0")
    assert len(work.begun) == 1


async def test_abandoned_handlers_beyond_the_limit_keep_their_slots_until_one_ends(
    work: AtWork, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handling_module, "ABANDONED_PER_SLOT_MAX", 1)
    with capture_logs() as logs:
        for number in (1, 2):
            assert await work.room() == 1
            work.handling.accept([overdue_soon(number, "payment.mine")])
            await work.settled(*(f"170{done}-0" for done in range(1, number + 1)))
    errors = [line["event"] for line in logs if line["log_level"] == "error"]
    assert ["it keeps its slot" in event for event in errors] == [False, True]
    waiting = asyncio.create_task(work.room())
    await turns()
    assert not waiting.done()
    work.let_go.set()
    assert await waiting == 1


async def test_a_deadline_counts_while_a_stop_waits_for_what_runs(work: AtWork) -> None:
    work.handling.accept([overdue_soon(1)])
    with capture_logs() as logs:
        async with asyncio.timeout(10):
            await work.handling.finish(FOREVER_S)
        await work.settled("1701-0")
    assert [line["event"] for line in logs] == ["a command's deadline has passed; its handler is asked to end"]


async def test_a_stop_does_not_wait_for_abandoned_handlers(work: AtWork, monkeypatch: pytest.MonkeyPatch) -> None:
    work.handling.accept([overdue_soon(1, "payment.mine")])
    await work.settled("1701-0")
    monkeypatch.setattr(handling_module, "CANCELLED_HANDLERS_WAIT_S", FOREVER_S)
    with capture_logs() as logs:
        async with asyncio.timeout(10):
            await work.handling.finish(FOREVER_S)
    assert logs == []


async def test_a_stop_does_not_cut_short_what_is_timing_out(work: AtWork, monkeypatch: pytest.MonkeyPatch) -> None:
    cancellations: list[bool] = []
    cancelled = asyncio.Event()

    async def charge(data: dict[str, Any]) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancellations.append(True)
            cancelled.set()
            await turns()

    monkeypatch.setattr(handling_module, "CANCELLED_HANDLERS_WAIT_S", FOREVER_S)
    worker = Worker("payment")
    worker.handler("payment.charge")(charge)
    handling = Handling(worker.handlers, work.replies, 1, 10_000, structlog.get_logger())
    handling.accept([overdue_soon(1)])
    async with asyncio.timeout(10):
        await cancelled.wait()
        await handling.cancel()
    await work.settled("1701-0")
    assert (cancellations, work.outcomes) == ([True], [Outcome.SUCCEEDED])


async def test_a_handler_that_is_cancelled_as_soon_as_it_is_taken_on_frees_its_slot(work: AtWork) -> None:
    work.handling.accept([command_entry(1)])
    await work.handling.cancel()
    assert await work.room() == 1
    assert (work.outcomes, work.redis.acknowledged) == ([], [])


async def test_a_handler_that_ends_just_when_it_is_to_be_asked_has_answered_and_nothing_is_kept_of_it(
    work: AtWork, monkeypatch: pytest.MonkeyPatch
) -> None:
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
    handling = Handling(worker.handlers, work.replies, 1, 10_000, structlog.get_logger())
    entry = overdue_soon(1)
    deadline_ms = read_command(entry).deadline_ms
    monkeypatch.setattr(deadlines_module, "now_ms", lets_go_at_the_deadline)
    handling.accept([entry])
    await work.settled("1701-0")
    handling.accept([command_entry(1, "1709-0")])
    await work.settled("1701-0", "1709-0")
    assert work.outcomes == [Outcome.SUCCEEDED, Outcome.FAILED], "the second is one that nobody asked to end"
    await handling.cancel()
