"""Waiting for something outside the process: another process, a server, a row that somebody else writes.

Inside the process a test awaits an event or a task. This is the one place where tests poll.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, overload

T = TypeVar("T")

POLL_SECONDS_FIRST = 0.005
POLL_SECONDS_MAX = 0.1


@overload
async def eventually(condition: Callable[[], Awaitable[T]], within_s: float = ..., what: str = ...) -> T: ...
@overload
async def eventually(condition: Callable[[], T], within_s: float = ..., what: str = ...) -> T: ...


async def eventually(condition: Callable[[], Any], within_s: float = 10.0, what: str = "") -> Any:
    """The first true value of `condition`, which may be async, and may fail with AssertionError for "not yet".

    Raises AssertionError when the time is up, with what was seen last.
    """
    # Any: the value is whatever the condition gives; the overloads above say so to callers.
    deadline = time.monotonic() + within_s
    pause_seconds = POLL_SECONDS_FIRST
    while True:
        try:
            seen = await _value_of(condition)
        except AssertionError as not_yet:
            seen = not_yet
        if seen and not isinstance(seen, AssertionError):
            return seen
        if time.monotonic() > deadline:
            name = what or getattr(condition, "__qualname__", "the condition")
            raise AssertionError(f"not within {within_s} s: {name}; seen last: {seen!r}")
        await asyncio.sleep(pause_seconds)
        pause_seconds = min(pause_seconds * 2, POLL_SECONDS_MAX)


async def _value_of(condition: Callable[[], Any]) -> Any:
    value = condition()
    return await value if isinstance(value, Awaitable) else value
