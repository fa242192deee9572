"""Shutdown on the process's signals: the first requests it, the second ends the process's work at once."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog

log = structlog.get_logger(__name__)
_SIGNALS = (signal.SIGTERM, signal.SIGINT)


@asynccontextmanager
async def stop_on_signals() -> AsyncIterator[asyncio.Event]:
    """Yield an event that the first SIGTERM or SIGINT sets. A second signal cancels the block, which ends silently."""
    stop, task, loop = asyncio.Event(), asyncio.current_task(), asyncio.get_running_loop()
    assert task is not None, "a coroutine runs in a task"
    at_once = False

    def signalled() -> None:
        nonlocal at_once
        if not stop.is_set():
            log.info("shutting down; a second signal ends it at once")
            stop.set()
        elif not at_once:
            at_once = True
            task.cancel()

    for number in _SIGNALS:
        loop.add_signal_handler(number, signalled)
    try:
        yield stop
    except asyncio.CancelledError:
        if not at_once or task.uncancel() > 0:
            raise
        log.warning("ended at once; other processes take over what was running")
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)
