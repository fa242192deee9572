"""The life of a loop or a process: it starts, reaches its milestones, and ends when its shutdown is requested.

Every loop of the service waits for one thing at a time: work, room, or the clock. A `Shutdown` ends each of these
waits, so a loop needs no way of its own to be stopped. The first signal to the process requests the shutdown, the
second ends the process's work at once.

Before Python 3.12 `asyncio.wait_for`, which the Redis client uses to write every command, drops a cancellation that
comes in the moment the writing is done. A loop that is cancelled once would then run for ever, and block all that
wait for its end. So its calls raise the cancellation that the client has lost, and cancelling is repeated until the
task is over.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Coroutine, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Protocol

import structlog

from saga_service.base.liveness import waiting

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


class Loop(Protocol):
    """One activity of the service that goes on until it is told to end.

    A loop may be told so before it runs, and more than once. It then ends within a second, servers permitting.
    """

    name: str
    """The loop's name for people: `timers`, `reading saga:replies`."""
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
            with waiting():
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


@asynccontextmanager
async def limited_after(shutdown: Shutdown, grace_s: float) -> AsyncIterator[None]:
    """Cut off what runs within `grace_s` after shutdown was requested; other replicas then take over."""

    async def limit_once_stopping() -> None:
        await shutdown.wait()
        limit.reschedule(asyncio.get_running_loop().time() + grace_s)

    try:
        async with asyncio.timeout(None) as limit:
            waiting = asyncio.create_task(limit_once_stopping())
            try:
                yield
            finally:
                waiting.cancel()
    except TimeoutError:
        if not limit.expired():
            raise
        log.warning("not finished in time; other replicas take over what is left", grace_s=grace_s)


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
