"""Reading what is new, what was left with us, and what dead workers left, into the room that there is."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from typing import TypeVar

import pytest
import structlog
from redis.exceptions import ConnectionError as RedisAway
from redis.exceptions import OutOfMemoryError, ResponseError
from structlog.testing import capture_logs

from saga_service.wire.entries import Entry
from saga_service.worker.intake import CONSUMER_DEAD_AFTER_MS, RECLAIMED_AT_ONCE_MAX, Intake
from tests.support.fakes import TURNS_MAX, backoffs
from tests.support.workers import command_entry

__all__ = ["backoffs"]
NO_GROUP = ResponseError("NOGROUP No such key 'saga:commands:payment' or consumer group 'payment'")
AWAY = RedisAway("connection refused")
T = TypeVar("T")
READ_BLOCK_MS, RECLAIM_IDLE_MS, NEVER_MS = 2_000, 60_000, 10**9


class ScriptEnds(Exception):
    pass


class Script:
    """A stream that gives and raises what it was told, in order, and ends the test after it."""

    def __init__(self) -> None:
        self.journal: list[str] = []
        self.reads: deque[list[Entry] | Exception] = deque()
        self.reclaims: deque[tuple[list[Entry], bool] | Exception] = deque()
        self.groups: deque[bool | Exception] = deque()
        self.removals: deque[int | Exception] = deque()
        self.blocks_ms: list[int] = []
        self.during_a_read: Callable[[], None] | None = None
        self._through = True

    async def ensure_group(self) -> bool:
        self.journal.append("ensure group")
        return _given(self.groups.popleft() if self.groups else True)

    async def read(self, count_max: int, block_ms: int) -> list[Entry]:
        self.journal.append(f"read {count_max}")
        self.blocks_ms.append(block_ms)
        if not self.reads:
            raise ScriptEnds
        if self.during_a_read is not None:
            self.during_a_read()
            self.journal.append("read is over")
        return _given(self.reads.popleft())

    async def reclaim(self, count_max: int, min_idle_ms: int) -> list[Entry]:
        self.journal.append(f"reclaim {count_max} idle {min_idle_ms}")
        entries, self._through = _given(self.reclaims.popleft() if self.reclaims else ([], True))
        return entries

    def reclaim_is_through(self) -> bool:
        return self._through

    def settle(self, entry_ids: Iterable[str]) -> None:
        self.journal.extend(f"settle {entry_id}" for entry_id in entry_ids)

    async def remove_dead_consumers(self, idle_ms: int) -> int:
        self.journal.append(f"remove consumers idle {idle_ms}")
        return _given(self.removals.popleft() if self.removals else 0)


def _given(scripted: T | Exception) -> T:
    if isinstance(scripted, Exception):
        raise scripted
    return scripted


class Reading:
    def __init__(self, *, rooms: Iterable[int] = (), reclaim_period_ms: int = NEVER_MS) -> None:
        self.source = Script()
        self.accepted: list[str] = []
        self._rooms = iter(rooms)
        self.intake = Intake(
            self.source,
            self._room,
            lambda entries: self.accepted.extend(entry.id for entry in entries),
            read_block_ms=READ_BLOCK_MS,
            reclaim_idle_ms=RECLAIM_IDLE_MS,
            reclaim_period_ms=reclaim_period_ms,
            log=structlog.get_logger(),
        )

    async def _room(self) -> int:
        return next(self._rooms, 10)

    async def run(self) -> list[str]:
        """What was done, without what every first look does."""
        with pytest.raises(ScriptEnds):
            async with asyncio.timeout(10):
                await self.intake.run()
        return [line for line in self.source.journal if not line.startswith(("reclaim 10 ", "remove"))]


async def test_no_more_is_read_than_there_is_room_for() -> None:
    reading = Reading(rooms=[10, 3, 1])
    reading.source.reads.extend([[command_entry(1)], []])
    assert await reading.run() == ["read 10", "read 3", "read 1"]
    assert reading.accepted == ["1701-0"]


async def test_the_first_look_is_for_what_dead_workers_left() -> None:
    reading = Reading()
    await reading.run()
    assert reading.source.journal == [
        f"remove consumers idle {CONSUMER_DEAD_AFTER_MS}",
        f"reclaim 10 idle {RECLAIM_IDLE_MS}",
        "read 10",
    ]


async def test_what_is_taken_over_is_handled_like_what_is_read() -> None:
    reading = Reading(rooms=[1_000] * 5)
    reading.source.reclaims.append(([command_entry(1)], True))
    with capture_logs() as logs:
        await reading.run()
    assert reading.source.journal[1] == f"reclaim {RECLAIMED_AT_ONCE_MAX} idle {RECLAIM_IDLE_MS}"
    assert reading.accepted == ["1701-0"]
    assert [line["event"] for line in logs] == ["commands of another worker were taken over"]


async def test_nothing_is_taken_over_before_the_looking_after_the_group_has_worked(backoffs: list[float]) -> None:
    reading = Reading()
    reading.source.removals.append(AWAY)
    reading.source.reclaims.append(([command_entry(1)], True))
    await reading.run()
    assert [line.split()[0] for line in reading.source.journal] == ["remove", "remove", "reclaim", "read"]
    assert reading.accepted == ["1701-0"], "what was taken over is in our hands, and not just in Redis' list"


async def test_a_long_list_of_pending_entries_is_gone_through_to_its_end_with_reads_in_between() -> None:
    reading = Reading()
    reading.source.reclaims.extend([([], False), ([], False), ([command_entry(9)], True)])
    reading.source.reads.extend([[command_entry(1)], [command_entry(2)]])
    await reading.run()
    kinds = [line.split()[0] for line in reading.source.journal]
    assert kinds == ["remove", "reclaim", "read", "reclaim", "read", "reclaim", "read"]
    assert reading.source.blocks_ms[:2] == [1, 1], "the next piece does not wait behind an idle stream"
    assert reading.accepted == ["1701-0", "1702-0", "1709-0"]


async def test_a_read_ends_when_the_next_reclaim_is_due() -> None:
    reading = Reading(reclaim_period_ms=500)
    await reading.run()
    assert 1 <= reading.source.blocks_ms[0] <= 500


async def test_a_read_on_an_idle_stream_ends_when_it_was_told_to() -> None:
    reading = Reading()
    await reading.run()
    assert reading.source.blocks_ms == [READ_BLOCK_MS]


async def test_a_group_that_vanished_is_made_again(backoffs: list[float]) -> None:
    reading = Reading()
    reading.source.reads.extend([NO_GROUP, [command_entry(1)]])
    assert await reading.run() == ["read 10", "ensure group", "read 10", "read 10"]
    assert reading.accepted == ["1701-0"]


async def test_a_group_that_vanished_is_made_again_even_if_the_reclaim_finds_it_gone(backoffs: list[float]) -> None:
    reading = Reading()
    reading.source.reclaims.append(NO_GROUP)
    reading.source.reads.append([command_entry(1)])
    assert await reading.run() == ["ensure group", "read 10", "read 10"]


async def test_a_group_that_vanishes_over_and_over_is_no_hot_loop(backoffs: list[float]) -> None:
    reading = Reading()
    reading.source.reads.extend([NO_GROUP] * 6)
    await reading.run()
    assert len(backoffs) == 6
    assert backoffs[-1] > backoffs[0] * 4


async def test_a_group_that_cannot_be_made_for_want_of_memory_is_waited_for(backoffs: list[float]) -> None:
    reading = Reading()
    reading.source.reads.extend([NO_GROUP, NO_GROUP, [command_entry(1)]])
    reading.source.groups.extend([OutOfMemoryError("command not allowed when used memory > 'maxmemory'."), True])
    await reading.run()
    assert len(backoffs) == 2
    assert reading.accepted == ["1701-0"]


@pytest.mark.parametrize(
    ("error", "level"),
    [
        (AWAY, "warning"),
        (OSError("no route to host"), "warning"),
        (ResponseError("UNBLOCKED force unblock from blocking operation, instance state changed"), "warning"),
        (ResponseError("WRONGTYPE Operation against a key holding the wrong kind of value"), "error"),
    ],
)
async def test_whatever_redis_says_is_waited_out_with_one_line_for_its_begin_and_one_for_its_end(
    backoffs: list[float], error: Exception, level: str
) -> None:
    reading = Reading()
    reading.source.reads.extend([error] * 5)
    reading.source.reads.append([command_entry(1)])
    with capture_logs() as logs:
        await reading.run()
    assert reading.accepted == ["1701-0"]
    assert len(backoffs) == 5
    assert [line["log_level"] for line in logs] == [level, "info"]
    assert str(error) in logs[0]["error"]


async def test_an_outage_is_waited_out_however_long_it_lasts(backoffs: list[float]) -> None:
    reading = Reading()
    reading.source.reads.extend([AWAY] * (TURNS_MAX - 1))
    reading.source.reads.append([command_entry(1)])
    await reading.run()
    assert reading.accepted == ["1701-0"]
    assert max(backoffs) <= 5


async def test_what_is_settled_is_told_to_the_source_between_reads_and_not_during_one() -> None:
    reading = Reading()
    reading.source.reads.extend([[command_entry(1)], []])
    reading.source.during_a_read = lambda: reading.intake.settle(["7-0"])
    journal = await reading.run()
    assert journal == ["read 10", "read is over", "settle 7-0", "read 10", "read is over", "settle 7-0", "read 10"]
