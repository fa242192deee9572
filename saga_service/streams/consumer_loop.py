"""Consuming one stream: reserve room, read or reclaim, deliver.

Room is reserved before anything is read, so entries that would have to wait are left to other consumers. One loop does
all of it, so the room is never promised twice. Now and then a read gives way to a reclaim, which takes over what dead
consumers left behind. A stream or group that has vanished is made anew, from the oldest entry.

An outage has one line in the log when it begins, one when it is over, and growing waits in between.
"""

from __future__ import annotations

import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

import structlog
from structlog.typing import FilteringBoundLogger

from saga_service.base.clock import Backoff
from saga_service.base.lifecycle import Milestone, Shutdown
from saga_service.wire.entries import Entry
from saga_service.wire.transport import StreamLost, StreamRefused, TransportError, TransportUnavailable


class Outage:
    """`activity` names what is held up. `pause`, if there is one, waits so many seconds or until somebody ends it."""

    def __init__(
        self, log: FilteringBoundLogger, activity: str, pause: Callable[[float], Awaitable[None]] | None = None
    ) -> None:
        self._log = log
        self._activity = activity
        self._pause = pause
        self._backoff = Backoff()

    @property
    def is_on(self) -> bool:
        return self._backoff.attempts > 0

    async def wait(self, error: Exception) -> None:
        """Wait before the next try.

        An error that no waiting will mend is logged louder and waited on all the same: a person may mend it, and the
        work of others must not end for it.
        """
        if not self.is_on:
            expected = isinstance(error, TransportUnavailable | StreamLost)
            log = self._log.warning if expected else self._log.error
            log(f"{self._activity} is held up; trying again until it works", error=str(error))
        if self._pause is None:
            await self._backoff.wait()
        else:
            await self._pause(self._backoff.next_s())

    def over(self) -> None:
        """Report the end of the outage, if there was one."""
        if self.is_on:
            self._log.info(f"{self._activity} goes on", tries=self._backoff.attempts)
            self._backoff.reset()


FIRST_READ_ENTRIES_MAX = 16
READ_GROWTH = 8
"""Each read asks for at most so many times what the one before it brought. After a pause nobody knows how large the
entries are that come next; under load three reads go from the first to the whole batch."""
RECLAIMED_AT_ONCE_MAX = 32
"""Small, so that a reclaim never fills the room for what is new."""
CONSUMER_DEAD_AFTER_MS = 3_600_000
"""How long a consumer may be idle before it is removed from the group, if nothing is pending for it."""


class Source(Protocol):
    """The part of a `Consumer` that the loop needs."""

    stream: str

    async def has_group(self) -> bool: ...

    async def ensure_group(self) -> bool: ...

    async def read(self, count_max: int, block_ms: int) -> list[Entry]: ...

    async def reclaim(self, count_max: int, min_idle_ms: int) -> list[Entry]: ...

    @property
    def reclaim_is_through(self) -> bool: ...

    async def remove_dead_consumers(self, idle_ms: int) -> int: ...


@dataclass(frozen=True, slots=True)
class Pace:
    """How long a read waits, and how often and after how long an idle entry is reclaimed."""

    read_block_ms: int
    reclaim_idle_ms: int
    reclaim_period_ms: int
    entries_max: int = 1_000_000
    """The most that one read asks for."""
    last_read_ms: int = 0
    """How long a read may go on after shutdown was requested. With 0 nothing is delivered any more, and what a read
    was given in that moment is handed back."""


class ConsumerLoop:
    """`room` waits until there is room and returns how many entries it is for, or 0 to end the loop; `deliver` is
    given at most so many. `on_loss` is awaited where the group is missing, before it is made: a missing group is all
    that tells of the loss, so the loss is on record before the group is there again. `on_mended` is called after it."""

    def __init__(
        self,
        source: Source,
        room: Callable[[], Awaitable[int]],
        deliver: Callable[[list[Entry]], None],
        pace: Pace,
        shutdown: Shutdown,
        *,
        on_loss: Callable[[], Awaitable[None]] | None = None,
        on_mended: Callable[[], None] = lambda: None,
        log: FilteringBoundLogger | None = None,
    ) -> None:
        self.name = f"reading {source.stream}"
        self.started = Milestone()
        self._source = source
        self._room = room
        self._deliver = deliver
        self._pace = pace
        self._shutdown = shutdown
        self._on_loss = on_loss
        self._on_mended = on_mended
        self._log: FilteringBoundLogger = log or structlog.get_logger(__name__).bind(stream=source.stream)
        self._outage = Outage(self._log, "reading", shutdown.pause)
        self._next_read_max = FIRST_READ_ENTRIES_MAX
        self._reclaim_at_s = time.monotonic()

    async def run(self) -> None:
        """Consume until shutdown is requested. Every trouble with Redis is waited out."""
        self.started.reached()
        await self._shutdown.cut(self._consume(), after_s=self._pace.last_read_ms / 1000)

    async def _consume(self) -> None:
        # Making the group at the start as well finds out whether Redis lost it while no replica ran.
        has_group = False
        while not self._shutdown:
            try:
                if has_group:
                    if not await self._fill():
                        return
                else:
                    await self._make_group()
                    has_group = True
            except TransportError as error:
                # What is lost or refused is made sure of again. What vanishes over and over must not be a hot loop.
                has_group = has_group and isinstance(error, TransportUnavailable)
                await self._outage.wait(error)

    async def _make_group(self) -> None:
        if self._on_loss is not None and not await self._source.has_group():
            await self._on_loss()
        if await self._source.ensure_group():
            self._log.info("the consumer group is made")
            self._on_mended()

    async def _fill(self) -> bool:
        """Deliver what comes next; false where there is to be no more room."""
        room = await self._room()
        if room:
            entries = await self._next(room)
            self._outage.over()
            if entries and not self._comes_too_late():
                self._deliver(entries)
        return room > 0

    def _comes_too_late(self) -> bool:
        return bool(self._shutdown) and not self._pace.last_read_ms

    async def _next(self, room: int) -> list[Entry]:
        if time.monotonic() >= self._reclaim_at_s and (entries := await self._reclaim(room)):
            return entries
        until_reclaim_ms = int((self._reclaim_at_s - time.monotonic()) * 1000)
        block_ms = max(1, min(self._pace.read_block_ms, until_reclaim_ms))
        entries = await self._source.read(min(room, self._pace.entries_max, self._next_read_max), block_ms)
        self._next_read_max = max(FIRST_READ_ENTRIES_MAX, READ_GROWTH * len(entries))
        return entries

    async def _reclaim(self, room: int) -> list[Entry]:
        """One piece of the pending list; the next is looked at at once until the end is reached."""
        if self._source.reclaim_is_through:
            # Before anything is taken over: a failure after that would leave the entries undelivered.
            await self._remove_dead_consumers()
        entries = await self._source.reclaim(min(room, RECLAIMED_AT_ONCE_MAX), self._pace.reclaim_idle_ms)
        if self._source.reclaim_is_through:
            # Jitter keeps the consumers of a group from walking the list in step.
            self._reclaim_at_s = time.monotonic() + self._pace.reclaim_period_ms / 1000 * random.uniform(0.5, 1.0)
        if entries:
            self._log.info("entries of a consumer that is gone are taken over", entries=len(entries))
        return entries

    async def _remove_dead_consumers(self) -> None:
        try:
            await self._source.remove_dead_consumers(CONSUMER_DEAD_AFTER_MS)
        except StreamRefused as error:
            # Whoever may not tidy the group may still read.
            self._log.debug("dead consumers cannot be removed", error=str(error))
