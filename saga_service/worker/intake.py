"""Reading: new commands, what a failed read left with us, and what dead workers left behind.

Room is made sure of before reading, so nothing is fetched that would have to wait here while others are idle. One loop
does all of it, so the room is never promised twice.
"""

from __future__ import annotations

import random
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Protocol

from redis.exceptions import RedisError
from structlog.typing import FilteringBoundLogger

from saga_service.streams.faults import is_no_group
from saga_service.wire.entries import Entry
from saga_service.worker.outage import Outage

RECLAIMED_AT_ONCE_MAX = 32
"""Small, so that a reclaim never fills a worker that has new commands to read."""
CONSUMER_DEAD_AFTER_MS = 3_600_000
"""A consumer that nobody has heard of for so long, and that owes nothing, is removed from the group."""


class Source(Protocol):
    """What is read from; `GroupReader` is one."""

    async def ensure_group(self) -> bool: ...

    async def read(self, count_max: int, block_ms: int) -> list[Entry]: ...

    async def reclaim(self, count_max: int, min_idle_ms: int) -> list[Entry]: ...

    def reclaim_is_through(self) -> bool: ...

    def settle(self, entry_ids: Iterable[str]) -> None: ...

    async def remove_dead_consumers(self, idle_ms: int) -> int: ...


class Intake:
    """`room` waits for room and says how much; `accept` is given what was read."""

    def __init__(
        self,
        source: Source,
        room: Callable[[], Awaitable[int]],
        accept: Callable[[list[Entry]], None],
        *,
        read_block_ms: int,
        reclaim_idle_ms: int,
        reclaim_period_ms: int,
        log: FilteringBoundLogger,
    ) -> None:
        self._source = source
        self._room = room
        self._accept = accept
        self._read_block_ms = read_block_ms
        self._reclaim_idle_ms = reclaim_idle_ms
        self._reclaim_period_s = reclaim_period_ms / 1000
        self._reclaim_at_s = time.monotonic()
        self._settled: list[str] = []
        self._log = log
        self._outage = Outage(log, "reading")

    def settle(self, entry_ids: Iterable[str]) -> None:
        """These are acknowledged, and out of our hands."""
        # The source is told when no read is under way: one that began before may still bring them.
        self._settled += entry_ids

    async def run(self) -> None:
        while True:
            room = await self._room()
            self._source.settle(self._settled)
            self._settled = []
            try:
                entries = await self._next(room)
                self._outage.over()
            except (RedisError, OSError) as error:
                await self._recover(error)
            else:
                if entries:
                    self._accept(entries)

    async def _next(self, room: int) -> list[Entry]:
        if time.monotonic() >= self._reclaim_at_s:
            entries = await self._reclaim(min(room, RECLAIMED_AT_ONCE_MAX))
            if entries:
                return entries
        until_reclaim_ms = int((self._reclaim_at_s - time.monotonic()) * 1000)
        return await self._source.read(room, max(1, min(self._read_block_ms, until_reclaim_ms)))

    async def _reclaim(self, count_max: int) -> list[Entry]:
        """One piece of the pending list; the next look is at once until its end is reached."""
        if self._source.reclaim_is_through():
            # Before anything is taken over: what fails after that would leave it in nobody's hands.
            await self._source.remove_dead_consumers(CONSUMER_DEAD_AFTER_MS)
        entries = await self._source.reclaim(count_max, self._reclaim_idle_ms)
        if self._source.reclaim_is_through():
            # Jitter, so that the workers of a service do not all look at the same moment.
            self._reclaim_at_s = time.monotonic() + self._reclaim_period_s * random.uniform(0.5, 1.0)
        if entries:
            self._log.info("commands of another worker were taken over", commands=len(entries))
        return entries

    async def _recover(self, error: RedisError | OSError) -> None:
        if is_no_group(error):
            try:
                if await self._source.ensure_group():
                    self._log.warning("the stream or its group was gone and is made anew")
            except (RedisError, OSError) as refusal:
                error = refusal
        # After a group was made, too: one that vanishes over and over must not keep us spinning.
        await self._outage.wait(error)
