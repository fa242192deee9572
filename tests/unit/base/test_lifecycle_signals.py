"""The first signal asks for a stop in good order, the second ends it at once."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

from saga_service.base.lifecycle import stop_on_signals


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_the_first_signal_asks_to_stop(number: signal.Signals) -> None:
    async with asyncio.timeout(10), stop_on_signals() as stop:
        os.kill(os.getpid(), number)
        await stop.wait()


async def test_a_second_signal_ends_what_does_not_stop() -> None:
    cancelled = False
    async with asyncio.timeout(10):
        async with stop_on_signals() as stop:
            os.kill(os.getpid(), signal.SIGTERM)
            await stop.wait()
            os.kill(os.getpid(), signal.SIGTERM)
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cancelled = True
                raise
    assert cancelled
    current = asyncio.current_task()
    assert current is not None
    assert current.cancelling() == 0


async def test_a_cancellation_that_is_no_signal_goes_through() -> None:
    inside = asyncio.Event()

    async def work() -> None:
        async with stop_on_signals():
            inside.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await inside.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_signals_are_given_back_afterwards() -> None:
    async with stop_on_signals():
        pass
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
