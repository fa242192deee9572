"""Where everything that comes in waits for a lane: who goes first, how much is let in, and nobody left waiting."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine, Sequence
from typing import TypeVar

import pytest

from saga_service.base.lifecycle import Shutdown
from saga_service.core.events import TimerDue
from saga_service.core.ids import SagaId
from saga_service.engine.batch import Item
from saga_service.runtime.intake import Inlet, Intake
from saga_service.wire.entries import Entry
from tests.support.fakes import BATCH_BYTES_MAX, turns

T = TypeVar("T")


def _items(*names: str) -> list[TimerDue]:
    return [TimerDue(SagaId(name)) for name in names]


def _names(items: Sequence[Item]) -> list[str]:
    return [item.saga_id for item in items if isinstance(item, TimerDue)]


async def test_inlets_that_were_made_earlier_go_first() -> None:
    intake = Intake(BATCH_BYTES_MAX, Shutdown())
    replies, starts = intake.inlet(10), intake.inlet(10)
    starts.put(_items("start 1", "start 2"))
    replies.put(_items("reply 1", "reply 2"))
    assert _names(await intake.take(3)) == ["reply 1", "reply 2", "start 1"]
    assert _names(await intake.take(3)) == ["start 2"]


async def test_one_inlet_is_first_come_first_served() -> None:
    intake = Intake(BATCH_BYTES_MAX, Shutdown())
    inlet = intake.inlet(10)
    inlet.put(_items("1", "2"))
    inlet.put(_items("3"))
    assert _names(await intake.take(10)) == ["1", "2", "3"]


async def test_an_inlet_has_room_for_what_it_was_made_for_and_no_more() -> None:
    intake = Intake(BATCH_BYTES_MAX, Shutdown())
    inlet = intake.inlet(3)
    assert await inlet.room() == 3
    inlet.put(_items("1", "2"))
    assert await inlet.room() == 1
    inlet.put(_items("3"))
    waiting = asyncio.create_task(inlet.room())
    await inlet.full.times(1)
    assert not waiting.done()
    await intake.take(2)
    assert await waiting == 2


async def test_one_inlet_that_is_full_does_not_hold_up_another() -> None:
    intake = Intake(BATCH_BYTES_MAX, Shutdown())
    full, free = intake.inlet(1), intake.inlet(1)
    full.put(_items("1"))
    assert await free.room() == 1


async def test_taking_waits_until_something_comes() -> None:
    intake = Intake(BATCH_BYTES_MAX, Shutdown())
    inlet = intake.inlet(10)
    taking = asyncio.create_task(intake.take(5))
    await intake.idle.times(1)
    assert not taking.done()
    inlet.put(_items("1"))
    assert _names(await taking) == ["1"]


async def test_putting_nothing_is_nothing_to_take() -> None:
    intake = Intake(BATCH_BYTES_MAX, Shutdown())
    inlet = intake.inlet(10)
    taking = asyncio.create_task(intake.take(5))
    await intake.idle.times(1)
    inlet.put([])
    await intake.idle.times(2)
    assert not taking.done()
    intake.drained.request()
    assert await taking == []


async def test_waiting_costs_no_turn_of_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lane without work and a source without room sleep until they are woken; neither looks again and again."""
    intake = Intake(BATCH_BYTES_MAX, Shutdown())
    inlet = intake.inlet(1)
    looks = 0
    look = intake._take_now

    def counted(count_max: int) -> list[Item]:
        nonlocal looks
        looks += 1
        return look(count_max)

    monkeypatch.setattr(intake, "_take_now", counted)
    lanes = [asyncio.create_task(intake.take(1)) for _ in range(3)]
    await intake.idle.times(3)
    assert looks == 3
    inlet.put(_items("1"))
    await intake.idle.times(5)
    assert looks == 6, "each lane was woken once, and two found nothing"
    intake.drained.request()
    await asyncio.gather(*lanes)


# --------------------------------------------------------------------------------------------------------------- bytes


def _entries(*sizes_bytes: int) -> list[Entry]:
    return [Entry("orders", f"{size}-0", {b"": b"x" * size}) for size in sizes_bytes]


def _sizes(items: Sequence[Item]) -> list[int]:
    return [item.size_bytes for item in items if isinstance(item, Entry)]


async def test_a_batch_is_limited_in_bytes_and_loses_nothing_to_the_next() -> None:
    intake = Intake(100, Shutdown())
    intake.inlet(10).put(_entries(40, 60, 1, 70, 30))
    assert _sizes(await intake.take(10)) == [40, 60]
    assert _sizes(await intake.take(10)) == [1, 70]
    assert _sizes(await intake.take(10)) == [30]


async def test_an_entry_larger_than_a_batch_goes_alone() -> None:
    intake = Intake(100, Shutdown())
    intake.inlet(10).put(_entries(10, 5_000, 10))
    assert [_sizes(await intake.take(10)) for _ in range(3)] == [[10], [5_000], [10]]


async def test_all_inlets_together_stay_within_the_bytes_of_a_batch() -> None:
    intake = Intake(100, Shutdown())
    replies, starts = intake.inlet(10), intake.inlet(10)
    starts.put(_entries(90, 10))
    replies.put(_entries(50, 45))
    assert _sizes(await intake.take(10)) == [50, 45]
    assert _sizes(await intake.take(10)) == [90, 10]


async def test_events_that_came_by_no_entry_count_no_bytes() -> None:
    intake = Intake(1, Shutdown())
    inlet = intake.inlet(10)
    inlet.put(_items("1", "2", "3"))
    assert await inlet.room() > 0
    assert _names(await intake.take(10)) == ["1", "2", "3"]


async def test_an_inlet_that_is_full_of_bytes_has_room_once_they_are_taken() -> None:
    intake = Intake(100, Shutdown())
    inlet = intake.inlet(10)
    inlet.put(_entries(60, 50))
    waiting = asyncio.create_task(inlet.room())
    await inlet.full.times(1)
    assert not waiting.done()
    assert _sizes(await intake.take(1)) == [60]
    assert await waiting == 1, "50 bytes are free, and what came last was larger"


@pytest.mark.parametrize(
    ("came", "room"),
    [((), 1_000), ((1,), 999), ((200,), 4), ((1, 400, 1), 1), ((999,), 1), ((3, 3), 331)],
)
async def test_there_is_room_for_so_many_as_large_as_the_largest_that_came_last(came: Sequence[int], room: int) -> None:
    intake = Intake(1_000, Shutdown())
    inlet = intake.inlet(1_000)
    inlet.put(_entries(*came))
    assert await inlet.room() == room


async def test_large_ones_are_forgotten_once_small_ones_come() -> None:
    intake = Intake(1_000, Shutdown())
    inlet = intake.inlet(500)
    inlet.put(_entries(900))
    await intake.take(10)
    assert await inlet.room() == 1
    inlet.put([])
    assert await inlet.room() == 1, "nothing tells nothing"
    inlet.put(_entries(1))
    await intake.take(10)
    assert await inlet.room() == 500


# ------------------------------------------------------------------------------------------------------------- closing


async def test_a_source_that_waits_for_room_ends_at_the_shutdown() -> None:
    shutdown = Shutdown()
    intake = Intake(BATCH_BYTES_MAX, shutdown)
    inlet = intake.inlet(1)
    inlet.put(_items("1"))
    waiting = [asyncio.create_task(inlet.room()) for _ in range(2)]
    await inlet.full.times(2)
    shutdown.request()
    assert await asyncio.gather(*waiting) == [0, 0]
    assert await inlet.room() == 0


async def test_what_is_in_is_still_taken_after_the_shutdown() -> None:
    shutdown = Shutdown()
    intake = Intake(BATCH_BYTES_MAX, shutdown)
    inlet = intake.inlet(5)
    inlet.put(_items("1"))
    shutdown.request()
    inlet.put(_items("2"))
    intake.drained.request()
    assert _names(await intake.take(1)) == ["1"]
    assert _names(await intake.take(1)) == ["2"]
    assert await intake.take(1) == []


async def test_lanes_wait_until_all_sources_have_ended() -> None:
    shutdown = Shutdown()
    intake = Intake(BATCH_BYTES_MAX, shutdown)
    inlet = intake.inlet(5)
    taking = asyncio.create_task(intake.take(1))
    await intake.idle.times(1)
    shutdown.request()
    assert not taking.done(), "a source may still be in the middle of a read"
    inlet.put(_items("the last read"))
    assert _names(await taking) == ["the last read"]


async def test_all_lanes_end_when_the_intake_is_drained() -> None:
    intake = Intake(BATCH_BYTES_MAX, Shutdown())
    lanes = [asyncio.create_task(intake.take(1)) for _ in range(4)]
    await intake.idle.times(4)
    intake.drained.request()
    assert await asyncio.gather(*lanes) == [[]] * 4


# ----------------------------------------------------------------------------------------------------- nobody forgotten


async def test_nothing_is_lost_and_nobody_waits_for_ever_whatever_the_order(random_seed: int) -> None:
    """Sources and lanes of every pace, with lanes and sources cancelled in the middle of their waiting."""
    for round_number in range(40):
        chance = random.Random(random_seed + round_number)
        async with asyncio.timeout(20):
            put, taken = await _run_a_crowd(chance)
        assert sorted(taken) == sorted(put)


async def _run_a_crowd(chance: random.Random) -> tuple[list[str], list[str]]:
    intake = Intake(BATCH_BYTES_MAX, Shutdown())
    inlets = [intake.inlet(chance.randint(1, 5)) for _ in range(3)]
    put: list[str] = []
    taken: list[str] = []

    async def fill(inlet: Inlet, name: str) -> None:
        for number in range(chance.randint(1, 60)):
            await turns(chance.randint(0, 3))
            await _interrupted(inlet.room, chance)
            put.append(f"{name}-{number}")
            inlet.put(_items(put[-1]))

    async def empty() -> None:
        while items := await _interrupted(lambda: intake.take(chance.randint(1, 7)), chance):
            taken.extend(_names(items))
            await turns(chance.randint(0, 4))

    async with asyncio.TaskGroup() as lanes:
        for _ in range(chance.randint(1, 4)):
            lanes.create_task(empty())
        async with asyncio.TaskGroup() as sources:
            for place, inlet in enumerate(inlets):
                for reader in range(2):
                    sources.create_task(fill(inlet, f"{place}-{reader}"))
        intake.drained.request()
    return put, taken


async def _interrupted(wait: Callable[[], Coroutine[None, None, T]], chance: random.Random) -> T:
    """Give up waiting now and then, and begin again."""
    while chance.random() < 0.3:
        waiting = asyncio.create_task(wait())
        await turns(chance.randint(0, 3))
        waiting.cancel()
        await asyncio.wait([waiting])
        if not waiting.cancelled():
            return waiting.result()
    return await wait()
