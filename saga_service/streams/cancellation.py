"""Hearing a cancellation that the client has lost.

Before Python 3.12 `asyncio.wait_for`, which the client uses to write every command, drops a cancellation that comes in
the moment the writing is done. A loop that is cancelled once would then go on for ever, and whoever waits for its end
with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
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
