"""Loops that work, wait, or stand still."""

from __future__ import annotations

import asyncio
import contextvars

from saga_service.base.clock import Backoff
from saga_service.base.lifecycle import Shutdown
from saga_service.base.liveness import Liveness, moved, waiting


async def test_a_loop_that_waits_is_told_from_one_that_is_at_work() -> None:
    liveness, turn, at_work = Liveness(), asyncio.Event(), asyncio.Event()

    async def loop() -> None:
        with waiting():
            await turn.wait()
        at_work.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(liveness.watched("a loop", loop()))
    await asyncio.sleep(0)
    [watched] = liveness.loops
    assert (watched.name, watched.at_work_since_s) == ("a loop", None)
    turn.set()
    await at_work.wait()
    assert watched.at_work_since_s is not None

    task.cancel()
    await asyncio.wait([task])
    assert liveness.loops == [], "a loop that has ended is no concern any more"


async def test_pauses_and_waits_for_a_server_that_is_away_count_as_waiting() -> None:
    liveness, shutdown = Liveness(), Shutdown()
    waits = {"pause": lambda: shutdown.pause(3_600), "backoff": Backoff(first_s=3_600, most_s=3_600).wait}
    tasks = [asyncio.create_task(liveness.watched(name, wait())) for name, wait in waits.items()]
    await asyncio.sleep(0)

    assert {loop.name: loop.at_work_since_s for loop in liveness.loops} == {"pause": None, "backoff": None}

    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


async def test_a_task_that_a_loop_has_begun_does_not_end_the_loops_own_wait() -> None:
    liveness, over = Liveness(), asyncio.Event()

    async def child() -> None:
        with waiting():
            await asyncio.sleep(0)
        over.set()

    async def loop() -> None:
        task = asyncio.create_task(child())
        with waiting():
            await asyncio.Event().wait()
        await task

    task = asyncio.create_task(liveness.watched("a loop", loop()))
    await over.wait()
    assert [each.at_work_since_s for each in liveness.loops] == [None]
    task.cancel()
    await asyncio.wait([task])


async def test_each_move_counts_anew() -> None:
    liveness, moves = Liveness(), []

    async def loop() -> None:
        for _ in range(2):
            moved()
            moves.append(liveness.loops[0].at_work_since_s)

    await liveness.watched("a loop", loop())
    first, second = moves
    assert first is not None
    assert second is not None
    assert first < second


def test_what_no_loop_does_is_noted_nowhere() -> None:
    def outside() -> None:
        moved()
        with waiting():
            pass

    contextvars.Context().run(outside)
