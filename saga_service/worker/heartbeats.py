"""Signs of life that a handler need not give by itself.

They say that its task is not over and the event loop turns, and no more than that. A handler that waits for ever looks
alive: its deadline ends it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")


async def beating(every_s: float, beat: Callable[[], None], work: Coroutine[Any, Any, Result]) -> Result:
    """The work's result; until it is over `beat` is called each time so many seconds have passed."""
    loop = asyncio.get_running_loop()
    timer: asyncio.TimerHandle

    def again() -> None:
        nonlocal timer
        beat()
        timer = loop.call_later(every_s, again)

    timer = loop.call_later(every_s, again)
    try:
        return await work
    finally:
        timer.cancel()
