"""A late command that never began is answered so; wherever it may have begun, nothing is said."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from saga_service.base.lifecycle import cancel
from saga_service.core.vocabulary import Direction
from saga_service.wire.commands import ReceivedCommand, read_command
from saga_service.wire.entries import Entry
from saga_service.wire.transport import StreamLost, StreamRefused, TransportUnavailable
from saga_service.worker.copies import Copies
from tests.support.fakes import backoffs
from tests.support.workers import NAMES, RedisInMemory, command_entry, copies_of

__all__ = ["backoffs"]
LATE_MS = -5_000


def late(**more: object) -> Entry:
    return command_entry(1, "1701-0", deadline_in_ms=LATE_MS, **more)


def copy(entry: Entry) -> Entry:
    return Entry(entry.stream, entry.id, {name: value for name, value in entry.fields.items() if name != b"original"})


class Asking:
    def __init__(self) -> None:
        self.redis = RedisInMemory()
        self.copies: Copies = copies_of(self.redis)

    async def never_began(self, entry: Entry) -> bool:
        answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self.copies.ask(read_command(entry), entry, answer.set_result)
        async with asyncio.timeout(10):
            return await answer

    async def may_begin(self, command: ReceivedCommand) -> bool:
        async with asyncio.timeout(10):
            return await self.copies.may_begin(command)


@pytest.fixture
async def asking(backoffs: list[float]) -> AsyncIterator[Asking]:
    asking = Asking()
    running = asyncio.create_task(asking.copies.run())
    yield asking
    await cancel([running])


async def test_a_late_original_that_was_given_to_us_alone_never_began(asking: Asking) -> None:
    assert await asking.never_began(late())


async def test_nothing_is_said_of_a_late_copy_whose_original_may_have_begun(asking: Asking) -> None:
    assert not await asking.never_began(copy(late()))
    assert asking.redis.round_trips == [], "and nothing is asked"


async def test_nothing_is_said_of_a_late_original_of_another_run_of_redis(asking: Asking) -> None:
    asking.redis.server_id = "fedcba9876543210"
    assert not await asking.never_began(late())


async def test_nothing_is_said_where_redis_does_not_tell_its_run(asking: Asking) -> None:
    asking.redis.refusals["INFO"] = StreamRefused("NOPERM no right to run 'info'")
    assert not await asking.never_began(late())


async def test_nothing_is_said_of_a_late_original_that_others_were_given(asking: Asking) -> None:
    assert not await asking.never_began(replace(late(), was_delivered_before=True))


@pytest.mark.parametrize("deliveries", [0, 2])
async def test_nothing_is_said_once_others_were_given_it_while_we_were_paused(asking: Asking, deliveries: int) -> None:
    asking.redis.deliveries["1701-0"] = deliveries
    assert not await asking.never_began(late())


async def test_nothing_is_said_of_a_late_original_whose_copy_was_begun_on(asking: Asking) -> None:
    in_time = read_command(copy(command_entry(1)))
    assert await asking.may_begin(in_time)
    assert asking.redis.keys == {NAMES.begun(in_time.id)}
    assert not await asking.never_began(late())


async def test_a_copy_does_not_begin_after_its_deadline_by_redis_clock(asking: Asking) -> None:
    asking.redis.ahead_ms = 10_000
    assert not await asking.may_begin(read_command(copy(command_entry(1, deadline_in_ms=5_000))))


async def test_an_original_begins_without_asking_redis(asking: Asking) -> None:
    assert await asking.may_begin(read_command(command_entry(1)))
    assert asking.redis.round_trips == []


@pytest.mark.parametrize("direction", [Direction.COMPENSATION, Direction.PROBE])
async def test_nothing_is_said_of_undos_and_probes_which_are_sent_again_anyway(
    asking: Asking, direction: Direction
) -> None:
    assert not await asking.never_began(late(direction=direction))


async def test_what_is_late_by_our_clock_alone_is_asked_about_until_it_is_late_by_redis_clock(asking: Asking) -> None:
    asking.redis.ahead_ms = LATE_MS - 60
    assert await asking.never_began(late())
    assert len(asking.redis.round_trips) > 1


async def test_while_redis_is_away_the_question_waits(asking: Asking) -> None:
    asking.redis.faults.then(TransportUnavailable("gone"), TransportUnavailable("gone"))
    assert await asking.never_began(late())


async def test_a_stream_that_is_lost_answers_nothing(asking: Asking) -> None:
    asking.redis.refusals["XPENDING"] = StreamLost("NOGROUP")
    assert not await asking.never_began(late())


async def test_a_mark_that_redis_refuses_keeps_a_copy_from_beginning(asking: Asking) -> None:
    asking.redis.refusals["SET"] = TransportUnavailable("OOM")
    beginning = asyncio.create_task(asking.copies.may_begin(read_command(copy(command_entry(1)))))
    await asking.redis.tried.times(3)
    assert not beginning.done()
    asking.redis.refusals.clear()
    async with asyncio.timeout(10):
        assert await beginning
