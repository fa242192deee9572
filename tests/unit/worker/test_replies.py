"""A reply is taken by Redis before its command is acknowledged, whatever Redis does meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest
import structlog
from structlog.testing import capture_logs

from saga_service.base.lifecycle import cancel
from saga_service.wire.dead_letters import read_dead_letter
from saga_service.wire.replies import write_progress, write_success
from saga_service.wire.transport import StreamRefused, TransportUnavailable
from saga_service.worker import replies as module
from saga_service.worker.replies import Replies
from tests.support.builders import delivered
from tests.support.fakes import backoffs
from tests.support.workers import NAMES, STREAM, RedisInMemory, acknowledgement, command, command_entry

__all__ = ["backoffs"]
OUT_OF_MEMORY = TransportUnavailable("OOM command not allowed when used memory > 'maxmemory'.")
WRONG_TYPE = StreamRefused("WRONGTYPE Operation against a key holding the wrong kind of value")


class Answering:
    """Replies that go to a Redis in memory."""

    def __init__(self) -> None:
        self.redis = RedisInMemory()
        self.settled: list[str] = []
        self.replies = Replies(self.redis.send, acknowledgement, NAMES, self._settle, structlog.get_logger())

    def _settle(self, entry_ids: Sequence[str]) -> None:
        self.settled += entry_ids

    def answer(self, *numbers: int) -> None:
        for number in numbers:
            received = command(number)
            reply = write_success(received.reply_to, received.id, received.saga_id, {"number": number})
            self.replies.send(reply, command_entry(number, str(number)))

    def progress(self, number: int) -> None:
        received = command(number)
        self.replies.send_progress(received.id, write_progress(received.reply_to, received.id, received.saga_id))

    async def flushed(self) -> None:
        async with asyncio.timeout(10):
            await self.replies.flushed()

    @property
    def numbers(self) -> list[int]:
        return [reply.output["number"] for reply in self.redis.replies if reply.output]


@pytest.fixture
async def answering(backoffs: list[float]) -> AsyncIterator[Answering]:
    answering = Answering()
    running = asyncio.create_task(answering.replies.run())
    yield answering
    await cancel([running])


async def test_an_answer_is_added_and_then_its_command_acknowledged(answering: Answering) -> None:
    answering.answer(1)
    await answering.flushed()
    assert answering.redis.round_trips == [["XADD"], ["XACK"]]
    assert (answering.numbers, answering.redis.acknowledged, answering.settled) == ([1], ["1"], ["1"])


async def test_one_round_trip_sends_new_replies_and_acknowledges_earlier_ones(
    answering: Answering,
) -> None:
    answering.redis.meanwhile.append(lambda: answering.answer(4, 5))
    answering.answer(1, 2, 3)
    await answering.flushed()
    assert answering.redis.round_trips == [["XADD"] * 3, ["XADD", "XADD", "XACK"], ["XACK"]]
    assert answering.redis.acknowledged == ["1", "2", "3", "4", "5"]


async def test_a_round_trip_has_a_limit(answering: Answering, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REPLIES_PER_ROUND_TRIP_MAX", 2)
    answering.answer(1, 2, 3)
    await answering.flushed()
    assert answering.redis.round_trips == [["XADD", "XADD"], ["XADD", "XACK"], ["XACK"]]
    assert answering.numbers == [1, 2, 3]


async def test_an_entry_that_needs_no_answer_is_just_acknowledged(answering: Answering) -> None:
    answering.replies.acknowledge_unanswered("7")
    await answering.flushed()
    assert answering.redis.round_trips == [["XACK"]]
    assert answering.settled == ["7"]


async def test_a_refused_answer_is_never_acknowledged_before_it_is_taken(
    answering: Answering, backoffs: list[float]
) -> None:
    answering.redis.refusals[NAMES.replies] = OUT_OF_MEMORY
    answering.answer(1)
    answering.replies.acknowledge_unanswered("7")
    await answering.redis.tried.times(4)
    held_up: bool = answering.replies.are_held_up
    assert held_up
    assert answering.redis.acknowledged == ["7"], "acknowledging goes on while Redis has no room"
    assert len(backoffs) > 1
    answering.redis.refusals.clear()
    await answering.flushed()
    assert not answering.replies.are_held_up
    assert (answering.numbers, answering.redis.acknowledged) == ([1], ["7", "1"])


async def test_an_outage_is_logged_when_it_begins_and_when_it_is_over(answering: Answering) -> None:
    answering.redis.faults.then(*[TransportUnavailable("gone")] * 5)
    with capture_logs() as logs:
        answering.answer(1)
        await answering.flushed()
    assert [(line["log_level"], line["event"]) for line in logs] == [
        ("warning", "sending replies is held up; trying again until it works"),
        ("info", "sending replies goes on"),
    ]


async def test_replies_in_doubt_after_an_outage_are_sent_again(answering: Answering) -> None:
    answering.redis.lost_replies.then(TransportUnavailable("cut"))
    answering.answer(1)
    await answering.flushed()
    assert answering.numbers == [1, 1]
    assert answering.redis.acknowledged == ["1"]


async def test_refused_acknowledgements_are_sent_again_and_not_in_a_hot_loop(
    answering: Answering, backoffs: list[float]
) -> None:
    answering.redis.refusals["XACK"] = TransportUnavailable("You can't write against a read only replica.")
    answering.answer(1)
    await answering.redis.tried.times(5)
    assert answering.settled == []
    refused = answering.redis.round_trips.count(["XACK"])
    assert refused - len(backoffs) in (0, 1), "each is waited on; the last may still be under way"
    answering.redis.refusals.clear()
    await answering.flushed()
    assert answering.settled == ["1"]
    assert answering.numbers == [1]


async def test_a_reply_that_redis_will_never_take_becomes_a_dead_letter(
    answering: Answering,
) -> None:
    answering.redis.refusals[NAMES.replies] = WRONG_TYPE
    answering.answer(1)
    await answering.flushed()
    (message,) = answering.redis.added
    letter = read_dead_letter(delivered(message))
    assert message.stream == NAMES.dead_letters
    assert (letter.stream, letter.entry_id) == (STREAM, "1")
    assert letter.reason == f"the reply could not be added to the stream 'saga:replies': {WRONG_TYPE}"
    assert answering.redis.acknowledged == ["1"]
    assert not answering.replies.are_held_up


async def test_while_not_even_the_dead_letter_is_taken_the_command_stays_pending(answering: Answering) -> None:
    answering.redis.refusals.update({NAMES.replies: WRONG_TYPE, NAMES.dead_letters: WRONG_TYPE})
    answering.answer(1)
    await answering.redis.tried.times(3)
    assert answering.redis.acknowledged == []
    assert answering.replies.are_held_up
    answering.redis.refusals.clear()
    await answering.flushed()
    assert [message.stream for message in answering.redis.added] == [NAMES.dead_letters]
    assert answering.redis.acknowledged == ["1"]


async def test_one_refused_reply_does_not_hold_back_the_others(answering: Answering) -> None:
    answering.redis.refusals["elsewhere"] = OUT_OF_MEMORY
    received = command(1)
    answering.replies.send(write_success("elsewhere", received.id, received.saga_id, {}), command_entry(1, "1"))
    answering.answer(2)
    await answering.redis.tried.times(3)
    assert (answering.numbers, answering.redis.acknowledged) == ([2], ["2"])


async def test_a_sign_of_life_goes_before_the_reply_and_is_not_acknowledged(answering: Answering) -> None:
    answering.progress(1)
    answering.answer(1)
    await answering.flushed()
    assert [reply.outcome for reply in answering.redis.replies] == ["progress", "succeeded"]
    assert answering.redis.acknowledged == ["1"]


async def test_signs_of_life_that_come_faster_than_they_go_count_as_one(answering: Answering) -> None:
    for _ in range(10):
        answering.progress(1)
    answering.progress(2)
    await answering.flushed()
    assert len(answering.redis.replies) == 2


async def test_a_refused_sign_of_life_is_let_go(answering: Answering) -> None:
    answering.redis.refusals[NAMES.replies] = OUT_OF_MEMORY
    answering.progress(1)
    await answering.flushed()
    assert answering.redis.round_trips == [["XADD"]]
