"""Cancelling tasks so that they end.

Before Python 3.12 `asyncio.wait_for`, which the Redis client uses to write every command, drops a cancellation that
comes in the moment the writing is done. A loop that is cancelled once would then run for ever, and block all that wait
for its end. So its calls raise the cancellation that the client has lost, and cancelling is repeated until the task is
over.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

CANCELLED_AGAIN_AFTER_S = 0.05


@contextmanager
def heeding_cancellation() -> Iterator[None]:
    """Raise CancelledError at the end of the block if the task was cancelled within it and the error was lost."""
    task = asyncio.current_task()
    before = task.cancelling() if task else 0
    try:
        yield
    finally:
        if task is not None and task.cancelling() > before:
            raise asyncio.CancelledError


async def cancel(tasks: Iterable[asyncio.Task[None]], within_s: float = float("inf")) -> None:
    """Cancel the tasks and wait until they are over, for `within_s` at most. Their exceptions are dropped."""
    given = list(tasks)
    gives_up_at_s = time.monotonic() + within_s
    while left := [task for task in given if not task.done()]:
        if time.monotonic() >= gives_up_at_s:
            break
        for task in left:
            task.cancel()
        await asyncio.wait(left, timeout=CANCELLED_AGAIN_AFTER_S)
    for task in given:
        if task.done() and not task.cancelled():
            # Retrieved, or the event loop would log that it never was.
            task.exception()
