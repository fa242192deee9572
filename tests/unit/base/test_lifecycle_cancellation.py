"""A task that is cancelled ends, even where a library swallows the first request."""

from __future__ import annotations

import asyncio

import pytest

from saga_service.base.lifecycle import cancel, heeding_cancellation


async def test_a_task_that_swallows_a_cancellation_is_cancelled_again() -> None:
    began, swallowed = asyncio.Event(), 0

    async def goes_on_once() -> None:
        nonlocal swallowed
        while True:
            try:
                began.set()
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                swallowed += 1
                if swallowed > 1:
                    raise

    task = asyncio.create_task(goes_on_once())
    await began.wait()
    await cancel([task])
    assert task.cancelled()
    assert swallowed == 2


async def test_a_task_that_will_not_end_is_given_up_on() -> None:
    began, let_go = asyncio.Event(), asyncio.Event()

    async def stubborn() -> None:
        while not let_go.is_set():
            try:
                began.set()
                await let_go.wait()
            except asyncio.CancelledError:
                continue

    task = asyncio.create_task(stubborn())
    await began.wait()
    async with asyncio.timeout(10):
        await cancel([task], within_s=0.01)
    assert not task.done()
    let_go.set()
    await task


async def test_an_exception_of_a_cancelled_task_is_dropped() -> None:
    began = asyncio.Event()

    async def fails() -> None:
        try:
            began.set()
            await asyncio.Event().wait()
        finally:
            raise ValueError

    task = asyncio.create_task(fails())
    await began.wait()
    await cancel([task])
    assert isinstance(task.exception(), ValueError)


async def test_tasks_that_are_over_are_left_alone() -> None:
    async def over() -> None: ...

    task = asyncio.create_task(over())
    await task
    await cancel([task])
    assert not task.cancelled()


async def test_a_cancellation_that_a_library_loses_is_raised_after_all() -> None:
    began = asyncio.Event()

    async def loses_it() -> None:
        with heeding_cancellation():
            try:
                began.set()
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                return

    task = asyncio.create_task(loses_it())
    await began.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_cancellation_from_before_the_block_is_not_raised_again() -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.sleep(0)
    with heeding_cancellation():
        await asyncio.sleep(0)
    task.uncancel()
