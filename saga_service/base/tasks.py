"""Hearing a cancellation that the client has lost.

Before Python 3.12 `asyncio.wait_for`, which the client uses to write every command, drops a cancellation that comes in
the moment the writing is done. A loop that is cancelled once would then go on for ever, and whoever waits for its end
with it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


@contextmanager
def heeding_cancellation() -> Iterator[None]:
    """Raise CancelledError at the end where the task was cancelled within and has not heard of it."""
    task = asyncio.current_task()
    heard = task.cancelling() if task else 0
    try:
        yield
    finally:
        if task is not None and task.cancelling() > heard:
            raise asyncio.CancelledError


# MERGED from worker.cancellation:
# Cancelling tasks so that they end.
#
# Before Python 3.12 `asyncio.wait_for`, which the Redis client uses for every command, swallows a cancellation that
# comes
# at the moment its work is done. A loop that is cancelled once may then go on for ever. So it is asked again until
# it is
# over.

ASKED_AGAIN_AFTER_S = 0.05


async def cancel(tasks: Iterable[asyncio.Task[None]], within_s: float = float("inf")) -> None:
    """Cancel the tasks and wait until they are over, for `within_s` at most. What they raise meanwhile is dropped."""
    given = list(tasks)
    gives_up_at_s = time.monotonic() + within_s
    while left := [task for task in given if not task.done()]:
        if time.monotonic() >= gives_up_at_s:
            break
        for task in left:
            task.cancel()
        await asyncio.wait(left, timeout=ASKED_AGAIN_AFTER_S)
    for task in given:
        if task.done() and not task.cancelled():
            task.exception()
