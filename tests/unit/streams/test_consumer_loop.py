"""Consuming a stream: what is new, what dead consumers left, into the room that there is, through every outage."""

from __future__ import annotations

import asyncio

import pytest
import structlog

from saga_service.base.lifecycle import Milestone, Shutdown
from saga_service.streams.consumer_loop import (
    CONSUMER_DEAD_AFTER_MS,
    RECLAIMED_AT_ONCE_MAX,
    ConsumerLoop,
    Pace,
)
from saga_service.wire.entries import Entry
from saga_service.wire.transport import StreamLost, StreamRefused, TransportUnavailable
from tests.support.builders import entry
from tests.support.fakes import RECLAIM_IDLE_MS, TURNS_MAX, PausesThatPass, ScriptedSource

AWAY = TransportUnavailable("connection refused")
LOST = StreamLost("NOGROUP")
REFUSED = StreamRefused("WRONGTYPE")
READ_BLOCK_MS, NEVER_MS = 2_000, 10**9


def _entries(*ids: str) -> list[Entry]:
    return [entry({"type": "order"}, entry_id=entry_id) for entry_id in ids]


def _many(count: int) -> list[Entry]:
    return _entries(*(f"{number}-0" for number in range(count)))


class Room:
    """Room for so many entries; `asked` is reached each time that the loop waits for some."""

    def __init__(self, free: int) -> None:
        self.free = free
        self.asked = Milestone()
        self._made = asyncio.Event()

    async def wait(self) -> int:
        self.asked.reached()
        while not self.free:
            self._made.clear()
            await self._made.wait()
        return self.free

    def make(self, count: int) -> None:
        self.free += count
        self._made.set()


class Reading:
    """A loop on a scripted source; it is told to end when the script is through."""

    def __init__(
        self,
        shutdown: Shutdown | None = None,
        *,
        room: int = 100,
        entries_max: int = 100,
        reclaim_period_ms: int = NEVER_MS,
        last_read_ms: int = 0,
    ) -> None:
        self.shutdown = PausesThatPass() if shutdown is None else shutdown
        self.source = ScriptedSource()
        self.source.at_the_end = self.shutdown.request
        self.room = Room(room)
        self.taken_in: list[str] = []
        self.losses = 0
        self.loop = ConsumerLoop(
            self.source,
            self.room.wait,
            self._deliver,
            Pace(READ_BLOCK_MS, RECLAIM_IDLE_MS, reclaim_period_ms, entries_max, last_read_ms),
            self.shutdown,
            on_loss=self._record,
            on_mended=self._lost,
        )

    def _deliver(self, entries: list[Entry]) -> None:
        self.taken_in += [entry.id for entry in entries]
        self.room.free -= len(entries)

    async def _record(self) -> None:
        self.source.journal.append("record the loss")

    def _lost(self) -> None:
        self.losses += 1

    async def run(self) -> list[str]:
        """What was done, without what every first look does."""
        async with asyncio.timeout(10):
            await self.loop.run()
        return [line for line in self.source.journal if line.split()[0] in ("ensure", "read")]

    @property
    def pauses_s(self) -> list[float]:
        assert isinstance(self.shutdown, PausesThatPass)
        return self.shutdown.pauses_s


@pytest.fixture
def reading() -> Reading:
    return Reading()


async def test_the_group_is_ensured_before_the_first_read(reading: Reading) -> None:
    reading.source.reads.append(_entries("1-0"))
    assert (await reading.run())[:2] == ["ensure group", "read"]
    assert reading.taken_in == ["1-0"]
    assert reading.losses == 0


async def test_no_more_is_read_than_there_is_room_for() -> None:
    reading = Reading(room=5, entries_max=3)
    reading.source.reads.extend([_entries("1-0", "2-0", "3-0"), _entries("4-0")])
    await reading.run()
    assert reading.source.asked_for == [3, 2, 1]


async def test_nothing_is_read_while_there_is_no_room() -> None:
    reading = Reading(room=1)
    reading.source.reads.extend([_entries("1-0"), _entries("2-0")])
    running = asyncio.create_task(reading.run())
    await reading.room.asked.times(2)
    assert reading.source.asked_for == [1]
    reading.room.make(1)
    await reading.room.asked.times(3)
    assert reading.source.asked_for == [1, 1]
    reading.shutdown.request()
    await running


async def test_no_room_any_more_ends_the_loop() -> None:
    reading = Reading()

    async def no_room() -> int:
        return 0

    reading.loop._room = no_room
    assert await reading.run() == ["ensure group"]


async def test_the_first_read_is_small_and_the_next_ones_grow_with_what_comes() -> None:
    reading = Reading(room=10_000, entries_max=512)
    reading.source.reads.extend([_many(16), _many(128), _many(512), _many(3), []])
    await reading.run()
    assert reading.source.asked_for == [16, 128, 512, 512, 24, 16]


async def test_a_group_that_had_to_be_made_at_the_start_is_a_loss(reading: Reading) -> None:
    reading.source.groups.append(True)
    await reading.run()
    assert reading.losses == 1


async def test_a_stream_that_vanishes_is_made_anew_and_the_loss_reported(reading: Reading) -> None:
    reading.source.groups.extend([False, True])
    reading.source.reads.extend([_entries("1-0"), LOST, _entries("2-0")])
    assert (await reading.run())[:6] == ["ensure group", "read", "read", "ensure group", "read", "read"]
    assert reading.losses == 1
    assert reading.taken_in == ["1-0", "2-0"]


async def test_a_loss_is_on_record_before_the_group_is_made_anew(reading: Reading) -> None:
    """The missing group is all that tells of the loss: whoever dies in between leaves it missing."""
    reading.source.groups.extend([False, True])
    reading.source.reads.append(LOST)
    await reading.run()
    journal = [line for line in reading.source.journal if line in ("read", "ensure group", "record the loss")]
    assert journal[:4] == ["ensure group", "read", "record the loss", "ensure group"]


async def test_a_group_is_not_made_while_its_loss_cannot_be_recorded(reading: Reading) -> None:
    reading.source.groups.append(True)

    async def fail_once() -> None:
        reading.loop._on_loss = reading._record
        raise AWAY

    reading.loop._on_loss = fail_once
    await reading.run()
    assert reading.source.journal[:2] == ["record the loss", "ensure group"]


async def test_a_group_that_another_replica_made_anew_is_not_our_loss(reading: Reading) -> None:
    reading.source.groups.extend([False, False])
    reading.source.reads.extend([LOST, _entries("1-0")])
    await reading.run()
    assert reading.losses == 0
    assert reading.taken_in == ["1-0"]


async def test_a_group_that_a_reclaim_finds_gone_is_made_anew(reading: Reading) -> None:
    reading.source.reclaims.append(LOST)
    reading.source.reads.append(_entries("1-0"))
    assert await reading.run() == ["ensure group", "ensure group", "read", "read"]


@pytest.mark.parametrize("trouble", [LOST, AWAY, REFUSED])
async def test_trouble_over_and_over_is_no_hot_loop(reading: Reading, trouble: Exception) -> None:
    reading.source.groups.extend([True] * TURNS_MAX)
    reading.source.reads.extend([trouble] * TURNS_MAX)
    await reading.run()
    assert len(reading.source.asked_for) == len(reading.pauses_s) == 5
    assert reading.pauses_s[-1] > reading.pauses_s[0] * 4


async def test_an_outage_does_not_make_the_group_anew(reading: Reading) -> None:
    reading.source.reads.extend([AWAY, AWAY, _entries("1-0")])
    await reading.run()
    assert reading.source.journal.count("ensure group") == 1


async def test_the_first_wait_of_the_next_outage_is_short_again() -> None:
    reading = Reading(PausesThatPass(pauses_max=100))
    reading.source.reads.extend([*[AWAY] * 8, _entries("1-0"), AWAY, _entries("2-0")])
    await reading.run()
    assert reading.pauses_s[7] > 1
    assert reading.pauses_s[8] <= 0.05
    assert reading.taken_in == ["1-0", "2-0"]


async def test_an_outage_is_waited_out_however_long_it_lasts() -> None:
    reading = Reading(PausesThatPass(pauses_max=TURNS_MAX))
    reading.source.reads.extend([AWAY] * (TURNS_MAX - 1))
    reading.source.reads.append(_entries("1-0"))
    await reading.run()
    assert reading.taken_in == ["1-0"]
    assert max(reading.pauses_s) <= 5


@pytest.mark.parametrize("trouble", [AWAY, LOST, REFUSED])
async def test_a_group_that_cannot_be_made_yet_is_tried_again_before_reading(
    reading: Reading, trouble: Exception
) -> None:
    reading.source.groups.extend([trouble, trouble, False])
    reading.source.reads.append(_entries("1-0"))
    assert (await reading.run())[:4] == ["ensure group", "ensure group", "ensure group", "read"]
    assert len(reading.pauses_s) == 2


async def test_a_stream_that_redis_refuses_is_tried_until_it_is_mended(reading: Reading) -> None:
    reading.source.reads.extend([_entries("1-0"), REFUSED, _entries("2-0")])
    reading.source.groups.extend([False, REFUSED, REFUSED, False])
    await reading.run()
    assert reading.taken_in == ["1-0", "2-0"]
    assert reading.pauses_s[2] > reading.pauses_s[0]


@pytest.mark.parametrize(("error", "level"), [(AWAY, "warning"), (LOST, "warning"), (REFUSED, "error")])
async def test_an_outage_is_logged_once_when_it_begins_and_once_when_it_is_over(error: Exception, level: str) -> None:
    reading = Reading(PausesThatPass(pauses_max=100))
    reading.source.reads.extend([*[error] * 5, _entries("1-0")])
    with structlog.testing.capture_logs() as logs:
        await reading.run()
    assert [line["log_level"] for line in logs] == [level, "info"]
    assert str(error) in logs[0]["error"]


async def test_an_error_that_the_loop_has_no_answer_for_ends_it(reading: Reading) -> None:
    reading.source.reads.append(ValueError("a bug"))
    with pytest.raises(ValueError, match="a bug"):
        await reading.run()


async def test_the_first_look_is_for_what_dead_consumers_left(reading: Reading) -> None:
    reading.source.at_the_end = reading.shutdown.request
    reading.source.reads.append([])
    await reading.run()
    assert reading.source.journal[1:4] == [
        f"remove consumers idle {CONSUMER_DEAD_AFTER_MS}",
        f"reclaim {RECLAIMED_AT_ONCE_MAX}",
        "read",
    ]


async def test_entries_that_are_taken_over_are_delivered_like_those_read(reading: Reading) -> None:
    reading.source.reclaims.append((_entries("1-0"), True))
    reading.source.reads.append(_entries("2-0"))
    with structlog.testing.capture_logs() as logs:
        await reading.run()
    assert reading.taken_in == ["1-0", "2-0"]
    assert [line["event"] for line in logs] == ["entries of a consumer that is gone are taken over"]


async def test_nothing_is_taken_over_before_the_group_was_tidied(reading: Reading) -> None:
    reading.source.removals.append(AWAY)
    reading.source.reclaims.append((_entries("1-0"), True))
    reading.source.reads.append([])
    await reading.run()
    assert [line.split()[0] for line in reading.source.journal[:5]] == ["ensure", "remove", "remove", "reclaim", "read"]
    assert reading.taken_in == ["1-0"], "what was taken over is in our hands, and not just in Redis' list"


async def test_a_consumer_that_may_not_tidy_the_group_may_still_read(reading: Reading) -> None:
    reading.source.removals.append(REFUSED)
    reading.source.reads.append(_entries("1-0"))
    await reading.run()
    assert reading.taken_in == ["1-0"]


async def test_a_long_pending_list_is_walked_to_its_end_with_reads_between(reading: Reading) -> None:
    reading.source.reclaims.extend([([], False), ([], False), (_entries("9-0"), True)])
    reading.source.reads.extend([_entries("1-0"), _entries("2-0")])
    await reading.run()
    kinds = [line.split()[0] for line in reading.source.journal]
    assert kinds[:8] == ["ensure", "remove", "reclaim", "read", "reclaim", "read", "reclaim", "read"]
    assert reading.source.blocks_ms[:2] == [1, 1], "the next piece does not wait behind an idle stream"
    assert reading.taken_in == ["1-0", "2-0", "9-0"]


async def test_no_more_is_taken_over_than_there_is_room_for() -> None:
    reading = Reading(room=3)
    reading.source.reclaims.append((_entries("1-0"), True))
    await reading.run()
    assert "reclaim 3" in reading.source.journal


async def test_a_read_ends_when_the_next_reclaim_is_due() -> None:
    reading = Reading(reclaim_period_ms=500)
    await reading.run()
    assert 1 <= reading.source.blocks_ms[0] <= 500


async def test_reclaims_have_jitter_so_that_consumers_do_not_walk_in_step() -> None:
    blocks_ms = set()
    for _ in range(20):
        reading = Reading(reclaim_period_ms=READ_BLOCK_MS)
        await reading.run()
        blocks_ms.add(reading.source.blocks_ms[0])
    assert len(blocks_ms) > 10
    assert all(READ_BLOCK_MS * 0.45 <= block_ms <= READ_BLOCK_MS for block_ms in blocks_ms)


async def test_a_read_on_an_idle_stream_waits_as_long_as_it_was_told(reading: Reading) -> None:
    await reading.run()
    assert reading.source.blocks_ms == [READ_BLOCK_MS]


async def test_entries_of_a_read_under_way_at_the_stop_are_still_delivered() -> None:
    reading = Reading(Shutdown(), last_read_ms=10_000)
    reading.source.reads.append(_entries("1-0"))
    running = asyncio.create_task(reading.run())
    await reading.source.has_read.times(1)
    reading.shutdown.request()
    await running
    assert reading.taken_in == ["1-0"]
    assert len(reading.source.asked_for) == 1


async def test_entries_that_come_after_the_stop_are_left_to_be_handed_back() -> None:
    reading = Reading(Shutdown())
    read = reading.source.read

    async def read_during_the_stop(count_max: int, block_ms: int) -> list[Entry]:
        reading.shutdown.request()
        return [*await read(count_max, block_ms), *_entries("1-0")]

    reading.source.read = read_during_the_stop  # type: ignore[method-assign]  # the request comes meanwhile
    await reading.run()
    assert reading.taken_in == []


async def test_a_read_that_goes_on_for_too_long_after_the_stop_is_cut_short() -> None:
    reading = Reading(Shutdown(), last_read_ms=1)
    blocked = asyncio.Event()

    async def read(count_max: int, block_ms: int) -> list[Entry]:
        blocked.set()
        await asyncio.sleep(3_600)
        return []

    reading.source.read = read  # type: ignore[method-assign]  # a read that blocks for good
    running = asyncio.create_task(reading.run())
    await blocked.wait()
    reading.shutdown.request()
    await running
