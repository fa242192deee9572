"""The life of a loop: it is started, reaches its milestones, and ends when its shutdown is requested.

Every loop of the service waits for one thing at a time: work, room, or the clock. A `Shutdown` ends each of these
waits, so a loop needs no way of its own to be stopped.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Protocol

from saga_service.base.tasks import cancel


class Loop(Protocol):
    """One activity of the service that goes on until it is told to end.

    A loop may be told so before it runs, and more than once. It then ends within a second, servers permitting.
    """

    started: Milestone
    """Reached when `run` begins."""

    async def run(self) -> None:
        """Work until shutdown is requested. An exception from here ends the service."""
        ...


class Shutdown:
    """A request to end in good order, made once and seen by every loop that holds this object."""

    def __init__(self) -> None:
        self._requested = asyncio.Event()
        self._woken: list[asyncio.Event] = []

    def __bool__(self) -> bool:
        return self._requested.is_set()

    def request(self) -> None:
        """Ask every loop to end. Asking again changes nothing."""
        self._requested.set()
        for event in self._woken:
            event.set()

    def wakes(self, event: asyncio.Event) -> asyncio.Event:
        """The event, which the request will set too: whoever waits for it finds out that it is time to end."""
        self._woken.append(event)
        if self:
            event.set()
        return event

    async def wait(self) -> None:
        """Wait until shutdown is requested."""
        await self._requested.wait()

    async def pause(self, seconds: float) -> None:
        """Wait for so long, or until shutdown is requested."""
        try:
            async with asyncio.timeout(seconds):
                await self._requested.wait()
        except TimeoutError:
            return

    async def cut(self, work: Coroutine[object, object, None], *, after_s: float = 0.0) -> bool:
        """Run the work, and cancel it if it is still running `after_s` after the request; true if it came to its end.

        Raises what the work raises.
        """
        working, requested = asyncio.create_task(work), asyncio.create_task(self.wait())
        try:
            await asyncio.wait((working, requested), return_when=asyncio.FIRST_COMPLETED)
            if not working.done() and after_s:
                await asyncio.wait((working,), timeout=after_s)
            if working.done():
                working.result()
                return True
            return False
        finally:
            await cancel((working, requested))


@asynccontextmanager
async def shutdown_on(stop: asyncio.Event) -> AsyncIterator[Shutdown]:
    """A shutdown that is requested as soon as `stop` is set."""
    shutdown = Shutdown()
    if stop.is_set():
        shutdown.request()

    async def follow() -> None:
        await stop.wait()
        shutdown.request()

    following = asyncio.create_task(follow())
    try:
        yield shutdown
    finally:
        await cancel((following,))


class Milestone:
    """A named moment that a test can await instead of counting turns of the event loop.

    Reaching it costs an addition. It remembers how often it was reached, so a test may ask afterwards.
    """

    __slots__ = ("_changed", "count")

    def __init__(self) -> None:
        self.count = 0
        self._changed: asyncio.Event | None = None

    def reached(self) -> None:
        self.count += 1
        if self._changed is not None:
            self._changed.set()

    async def times(self, count: int = 1) -> None:
        """Wait until it has been reached so often since it was made."""
        while self.count < count:
            self._changed = self._changed or asyncio.Event()
            self._changed.clear()
            await self._changed.wait()
