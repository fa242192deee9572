"""The shutdown that every loop holds, and the milestones that tests wait for."""

from __future__ import annotations

import asyncio

import pytest

from saga_service.base.lifecycle import Milestone, Shutdown, shutdown_on


async def test_a_pause_that_nobody_interrupts_takes_its_time() -> None:
    shutdown = Shutdown()
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    await shutdown.pause(0.02)
    assert loop.time() - began_s >= 0.02 * 0.9
    assert not shutdown


async def test_a_pause_is_over_at_the_request_which_may_come_again() -> None:
    shutdown = Shutdown()
    pause = asyncio.create_task(shutdown.pause(3_600))
    await asyncio.sleep(0)
    shutdown.request()
    shutdown.request()
    async with asyncio.timeout(10):
        await pause
        await shutdown.pause(3_600)
        await shutdown.wait()
    assert shutdown


async def test_a_cancelled_pause_is_cancelled() -> None:
    pause = asyncio.create_task(Shutdown().pause(3_600))
    await asyncio.sleep(0)
    pause.cancel()
    with pytest.raises(asyncio.CancelledError):
        await pause


async def test_the_request_sets_the_events_that_it_wakes_before_and_after() -> None:
    shutdown = Shutdown()
    before = shutdown.wakes(asyncio.Event())
    assert not before.is_set()
    shutdown.request()
    after = shutdown.wakes(asyncio.Event())
    assert before.is_set()
    assert after.is_set()


class Work:
    """Work that goes on until it is told to end, or is cancelled."""

    def __init__(self) -> None:
        self.begun, self.goal = asyncio.Event(), asyncio.Event()
        self.was_cancelled = False

    async def run(self) -> None:
        self.begun.set()
        try:
            await self.goal.wait()
        except asyncio.CancelledError:
            self.was_cancelled = True
            raise


async def test_work_that_ends_by_itself_is_not_cut() -> None:
    work = Work()
    work.goal.set()
    assert await Shutdown().cut(work.run())
    assert not work.was_cancelled


@pytest.mark.parametrize("after_s", [0.0, 0.01])
async def test_work_is_cut_at_the_request_or_some_time_after_it(after_s: float) -> None:
    work, shutdown = Work(), Shutdown()
    cutting = asyncio.create_task(shutdown.cut(work.run(), after_s=after_s))
    await work.begun.wait()
    shutdown.request()
    async with asyncio.timeout(10):
        assert not await cutting
    assert work.was_cancelled


async def test_work_that_ends_in_the_time_after_the_request_is_not_cut() -> None:
    work, shutdown = Work(), Shutdown()
    cutting = asyncio.create_task(shutdown.cut(work.run(), after_s=10))
    await work.begun.wait()
    shutdown.request()
    work.goal.set()
    assert await cutting
    assert not work.was_cancelled


async def test_an_error_of_the_work_is_raised() -> None:
    async def fail() -> None:
        raise ValueError("a bug")

    with pytest.raises(ValueError, match="a bug"):
        await Shutdown().cut(fail())


@pytest.mark.parametrize("is_set_before", [True, False])
async def test_a_shutdown_follows_an_event(is_set_before: bool) -> None:
    stop = asyncio.Event()
    if is_set_before:
        stop.set()
    async with shutdown_on(stop) as shutdown:
        assert bool(shutdown) is is_set_before
        stop.set()
        async with asyncio.timeout(10):
            await shutdown.wait()


async def test_a_milestone_is_awaited_before_and_after_it_is_reached() -> None:
    milestone = Milestone()
    waiting = [asyncio.create_task(milestone.times(count)) for count in (1, 2)]
    await asyncio.sleep(0)
    milestone.reached()
    await waiting[0]
    assert not waiting[1].done()
    milestone.reached()
    await waiting[1]
    await milestone.times(2)
    assert milestone.count == 2
