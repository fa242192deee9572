"""Reading a stream into the intake, and taking over what dead consumers left on it."""

from __future__ import annotations

import asyncio

import pytest
import structlog

from saga_service.engine.ports import StreamLost, StreamRefused, TransportUnavailable
from saga_service.runtime.ingest import Ingest
from saga_service.runtime.intake import Intake
from saga_service.runtime.reclaim import ENTRIES_MAX, Reclaim
from saga_service.runtime.shutdown import Shutdown
from saga_service.wire.entries import Entry
from tests.support.builders import entry
from tests.support.fakes import BATCH_BYTES_MAX, TURNS_MAX, PausesThatPass, ScriptedSource, turns

AWAY = TransportUnavailable("connection refused")
LOST = StreamLost("NOGROUP")
REFUSED = StreamRefused("WRONGTYPE")


def _entries(*ids: str) -> list[Entry]:
    return [entry({"type": "order"}, entry_id=entry_id) for entry_id in ids]


class Reading:
    """An ingest loop on a scripted source; it is stopped when the script is through."""

    def __init__(
        self,
        shutdown: Shutdown | None = None,
        *,
        inlet_max: int = 10,
        entries_max: int = 10,
        bytes_max: int = BATCH_BYTES_MAX,
    ) -> None:
        self.shutdown = PausesThatPass() if shutdown is None else shutdown
        self.source = ScriptedSource()
        self.source.at_the_end = self.shutdown.say
        self.intake = Intake(bytes_max)
        self.inlet = self.intake.inlet(inlet_max)
        self.losses = 0
        self.ingest = Ingest(self.source, self.inlet, entries_max, self._lost, self.shutdown)

    def _lost(self) -> None:
        self.losses += 1

    async def run(self) -> None:
        async with asyncio.timeout(10):
            await self.ingest.run()

    @property
    def pauses_s(self) -> list[float]:
        assert isinstance(self.shutdown, PausesThatPass)
        return self.shutdown.pauses_s

    @property
    def taken_in(self) -> list[str]:
        return [item.id for item in self.inlet.waiting if isinstance(item, Entry)]


@pytest.fixture
def reading() -> Reading:
    return Reading()


async def test_the_group_is_made_sure_of_before_the_first_read(reading: Reading) -> None:
    reading.source.reads.append(_entries("1-0"))
    await reading.run()
    assert reading.source.journal[:2] == ["ensure group", "read"]
    assert reading.taken_in == ["1-0"]
    assert reading.losses == 0


async def test_no_more_is_read_than_there_is_room_for(reading: Reading) -> None:
    reading = Reading(inlet_max=5, entries_max=3)
    reading.source.reads.extend([_entries("1-0", "2-0", "3-0"), _entries("4-0")])
    await reading.run()
    assert reading.source.asked_for == [3, 2, 1]


async def test_nothing_is_read_while_there_is_no_room() -> None:
    reading = Reading(inlet_max=1)
    reading.source.reads.extend([_entries("1-0"), _entries("2-0")])
    running = asyncio.create_task(reading.run())
    await turns()
    assert reading.source.asked_for == [1]
    assert len(await reading.intake.take(1)) == 1
    await turns()
    assert reading.source.asked_for == [1, 1]
    reading.shutdown.say()
    reading.intake.fill_no_more()
    await running


def _of_bytes(size_bytes: int, count: int = 1) -> list[Entry]:
    return [entry({"": "x" * size_bytes}, entry_id=f"{number}-0") for number in range(count)]


async def test_the_first_read_is_small_and_the_next_ones_grow_with_what_comes() -> None:
    reading = Reading(inlet_max=10_000, entries_max=512)
    reading.source.reads.extend([_of_bytes(10, 16), _of_bytes(10, 128), _of_bytes(10, 512), _of_bytes(10, 3), []])
    await reading.run()
    assert reading.source.asked_for == [16, 128, 512, 512, 24, 16]


async def test_after_large_entries_no_more_are_asked_for_than_there_is_room_for_such_ones() -> None:
    reading = Reading(inlet_max=10_000, entries_max=512, bytes_max=8_000)
    reading.source.reads.extend([_of_bytes(2_000), _of_bytes(2_000, 3)])
    running = asyncio.create_task(reading.run())
    await turns()
    assert reading.source.asked_for == [16, 3], "8,000 bytes are in, and that is all"
    assert len(await reading.intake.take(100)) == 4
    reading.source.reads.append(_of_bytes(10, 4))
    await turns()
    assert reading.source.asked_for[2:4] == [4, 32]
    await running


async def test_a_group_that_had_to_be_made_at_the_start_means_that_redis_lost_it(reading: Reading) -> None:
    reading.source.groups.append(True)
    await reading.run()
    assert reading.losses == 1


async def test_a_stream_that_vanishes_is_made_anew_and_read_on_and_the_loss_is_told(reading: Reading) -> None:
    reading.source.groups.extend([False, True])
    reading.source.reads.extend([_entries("1-0"), LOST, _entries("2-0")])
    await reading.run()
    assert reading.source.journal[:6] == ["ensure group", "read", "read", "ensure group", "read", "read"]
    assert reading.losses == 1
    assert reading.taken_in == ["1-0", "2-0"]


async def test_a_group_that_another_replica_made_anew_is_that_replicas_loss_to_tell(reading: Reading) -> None:
    reading.source.groups.extend([False, False])
    reading.source.reads.extend([LOST, _entries("1-0")])
    await reading.run()
    assert reading.losses == 0
    assert reading.taken_in == ["1-0"]


async def test_a_group_that_vanishes_over_and_over_is_no_hot_loop(reading: Reading) -> None:
    reading.source.groups.extend([True] * TURNS_MAX)
    reading.source.reads.extend([LOST] * TURNS_MAX)
    await reading.run()
    assert len(reading.source.asked_for) == len(reading.pauses_s) == 5
    assert reading.pauses_s[-1] > reading.pauses_s[0]


async def test_redis_away_is_waited_for_longer_and_longer(reading: Reading) -> None:
    reading.source.reads.extend([AWAY] * TURNS_MAX)
    await reading.run()
    assert len(reading.source.asked_for) == len(reading.pauses_s) == 5
    assert reading.pauses_s[-1] > reading.pauses_s[0]
    assert reading.source.journal.count("ensure group") == 1


async def test_the_first_wait_of_the_next_outage_is_short_again() -> None:
    reading = Reading(PausesThatPass(pauses_max=100))
    reading.source.reads.extend([*[AWAY] * 8, _entries("1-0"), AWAY, _entries("2-0")])
    await reading.run()
    assert reading.pauses_s[7] > 1
    assert reading.pauses_s[8] <= 0.05
    assert reading.taken_in == ["1-0", "2-0"]


@pytest.mark.parametrize("trouble", [AWAY, LOST, REFUSED])
async def test_a_group_that_cannot_be_made_yet_is_tried_again_before_anything_is_read(
    reading: Reading, trouble: Exception
) -> None:
    reading.source.groups.extend([trouble, trouble, False])
    reading.source.reads.append(_entries("1-0"))
    await reading.run()
    assert reading.source.journal[:4] == ["ensure group", "ensure group", "ensure group", "read"]
    assert len(reading.pauses_s) == 2


async def test_a_stream_that_redis_refuses_is_tried_until_somebody_has_mended_it(reading: Reading) -> None:
    reading.source.reads.extend([_entries("1-0"), REFUSED, _entries("2-0")])
    reading.source.groups.extend([False, REFUSED, REFUSED, False])
    with structlog.testing.capture_logs() as logs:
        await reading.run()
    assert reading.taken_in == ["1-0", "2-0"]
    assert [line["log_level"] for line in logs] == ["error"] * 3
    assert reading.pauses_s[2] > reading.pauses_s[0]


async def test_what_the_loop_has_no_answer_for_ends_it(reading: Reading) -> None:
    reading.source.reads.append(ValueError("a bug"))
    with pytest.raises(ValueError, match="a bug"):
        await reading.run()


async def test_what_was_read_while_stopping_was_said_is_still_taken_in(reading: Reading) -> None:
    reading.source.reads.append(_entries("1-0"))
    running = asyncio.create_task(reading.run())
    while "read" not in reading.source.journal:
        await turns(1)
    reading.shutdown.say()
    reading.intake.fill_no_more()
    await running
    assert reading.taken_in == ["1-0"]


async def test_a_pause_ends_when_it_is_time_to_stop() -> None:
    reading = Reading(Shutdown())
    reading.source.at_the_end = lambda: None
    reading.source.reads.extend([AWAY] * TURNS_MAX)
    reading.ingest._backoff.attempts = 30
    running = asyncio.create_task(reading.run())
    await turns()
    reading.shutdown.say()
    await running
    assert len(reading.source.asked_for) == 1


# ------------------------------------------------------------------------------------------------------------- reclaim


class Reclaiming:
    def __init__(self, *, inlet_max: int = 1_000, pauses_max: int = 1) -> None:
        self.shutdown = PausesThatPass(pauses_max)
        self.source = ScriptedSource()
        self.intake = Intake(BATCH_BYTES_MAX)
        self.inlet = self.intake.inlet(inlet_max)
        self.reclaim = Reclaim(self.source, self.inlet, 10.0, self.shutdown)

    async def run(self) -> None:
        async with asyncio.timeout(10):
            await self.reclaim.run()


async def test_the_whole_list_is_walked_before_the_pause() -> None:
    reclaiming = Reclaiming()
    reclaiming.source.reclaims.extend([([], True), (_entries("1-0"), True), (_entries("2-0"), False)])
    await reclaiming.run()
    assert reclaiming.source.asked_for == [ENTRIES_MAX] * 3
    assert len(reclaiming.inlet.waiting) == 2
    assert len(reclaiming.shutdown.pauses_s) == 1


async def test_pauses_have_jitter_so_that_replicas_do_not_walk_in_step() -> None:
    reclaiming = Reclaiming(pauses_max=20)
    await reclaiming.run()
    assert len(set(reclaiming.shutdown.pauses_s)) > 10
    assert all(5 <= pause_s <= 15 for pause_s in reclaiming.shutdown.pauses_s)


@pytest.mark.parametrize("trouble", [AWAY, LOST, REFUSED])
async def test_trouble_is_left_to_the_reader_and_looked_past_after_a_pause(trouble: Exception) -> None:
    reclaiming = Reclaiming(pauses_max=2)
    reclaiming.source.reclaims.extend([trouble, (_entries("1-0"), False)])
    await reclaiming.run()
    assert len(reclaiming.source.asked_for) == 2
    assert len(reclaiming.inlet.waiting) == 1


async def test_no_more_is_taken_over_than_there_is_room_for() -> None:
    reclaiming = Reclaiming(inlet_max=3)
    reclaiming.source.reclaims.append((_entries("1-0"), False))
    await reclaiming.run()
    assert reclaiming.source.asked_for == [3]


async def test_a_reclaim_that_waits_for_room_ends_at_the_stop() -> None:
    reclaiming = Reclaiming(inlet_max=1)
    reclaiming.inlet.put(_entries("1-0"))
    running = asyncio.create_task(reclaiming.run())
    await turns()
    reclaiming.shutdown.say()
    reclaiming.intake.fill_no_more()
    await running
    assert reclaiming.source.asked_for == []
