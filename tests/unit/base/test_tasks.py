"""A task that is cancelled ends, even where a library swallows the first request."""

from __future__ import annotations

import asyncio

from saga_service.base.tasks import cancel
from tests.support.fakes import turns


async def test_a_task_that_swallows_a_cancellation_is_asked_again() -> None:
    asked = 0

    async def goes_on_once() -> None:
        nonlocal asked
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                asked += 1
                if asked > 1:
                    raise

    task = asyncio.create_task(goes_on_once())
    await turns()
    await cancel([task])
    assert task.cancelled()
    assert asked == 2


async def test_a_task_that_will_not_end_is_given_up_on() -> None:
    let_go = asyncio.Event()

    async def stubborn() -> None:
        while not let_go.is_set():
            try:
                await let_go.wait()
            except asyncio.CancelledError:
                continue

    task = asyncio.create_task(stubborn())
    await turns()
    async with asyncio.timeout(10):
        await cancel([task], within_s=0.01)
    assert not task.done()
    let_go.set()
    await task


async def test_what_a_task_raises_on_its_way_out_is_dropped() -> None:
    async def fails() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise ValueError

    task = asyncio.create_task(fails())
    await turns()
    await cancel([task])
    assert isinstance(task.exception(), ValueError)


async def test_tasks_that_are_over_are_left_alone() -> None:
    async def over() -> None: ...

    task = asyncio.create_task(over())
    await task
    await cancel([task])
    assert not task.cancelled()
