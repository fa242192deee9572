"""Keeping what takes long.

A group takes an entry for abandoned when nobody has touched it for `reclaim_idle_ms`, counted from the moment it was
read. So the entries in our hands are touched again before that, as long as they are still ours.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence

from redis.exceptions import RedisError
from structlog.typing import FilteringBoundLogger

from saga_service.streams.faults import describe

RENEWED_AFTER = 1 / 3
"""The part of the idle time after which an entry is touched; looked at twice as often."""


class Held:
    """The entries in our hands, from reading to acknowledgement, and when each was last touched."""

    def __init__(self) -> None:
        self._touched_at_s: dict[str, float] = {}

    def __len__(self) -> int:
        return len(self._touched_at_s)

    def took(self, entry_ids: Iterable[str]) -> None:
        self._touched_at_s.update(dict.fromkeys(entry_ids, time.monotonic()))

    def renewed(self, entry_ids: Iterable[str]) -> None:
        # What was settled meanwhile is out of our hands, and must not come back.
        self.took(entry_id for entry_id in entry_ids if entry_id in self._touched_at_s)

    def drop(self, entry_ids: Iterable[str]) -> None:
        for entry_id in entry_ids:
            self._touched_at_s.pop(entry_id, None)

    def untouched_for(self, seconds: float) -> list[str]:
        limit_s = time.monotonic() - seconds
        return [entry_id for entry_id, touched_at_s in self._touched_at_s.items() if touched_at_s <= limit_s]


class Renewal:
    """`renew` restarts the idle time of those entries that are still ours, and says how many were."""

    def __init__(
        self,
        held: Held,
        renew: Callable[[Sequence[str]], Awaitable[int]],
        reclaim_idle_ms: int,
        log: FilteringBoundLogger,
    ) -> None:
        self._held = held
        self._renew = renew
        self._age_s = reclaim_idle_ms / 1000 * RENEWED_AFTER
        self._log = log

    async def run(self) -> None:
        while True:
            await asyncio.sleep(self._age_s / 2)
            try:
                await self.renew_old()
            except (RedisError, OSError) as error:
                # The next look is the next try; that Redis is away is said by those who need it for their work.
                self._log.debug("commands in hand could not be renewed", error=describe(error))

    async def renew_old(self) -> None:
        old = self._held.untouched_for(self._age_s)
        if not old:
            return
        ours = await self._renew(old)
        self._held.renewed(old)
        if ours < len(old):
            self._log.warning(
                "commands in hand are ours no longer: taken over by another worker, or lost with their stream",
                commands=len(old) - ours,
            )
