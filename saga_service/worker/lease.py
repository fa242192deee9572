"""The lease on pending entries, and its renewal.

Another consumer takes over an entry that has been idle for `reclaim_idle_ms`, counted from the moment it was read or
renewed. So the entries of commands that take long are renewed before that, as long as they are still ours.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence

from structlog.typing import FilteringBoundLogger

from saga_service.wire.transport import TransportError

RENEWED_AFTER = 1 / 3
"""The part of the idle time after which an entry is renewed; checked twice as often."""


class PendingEntries:
    """The entries of this consumer, from reading to acknowledgement, and when each was read or renewed last."""

    def __init__(self) -> None:
        self._renewed_at_s: dict[str, float] = {}

    def __len__(self) -> int:
        return len(self._renewed_at_s)

    def add(self, entry_ids: Iterable[str]) -> None:
        self._renewed_at_s.update(dict.fromkeys(entry_ids, time.monotonic()))

    def mark_renewed(self, entry_ids: Iterable[str]) -> None:
        # An entry that was acknowledged meanwhile must not come back.
        self.add(entry_id for entry_id in entry_ids if entry_id in self._renewed_at_s)

    def remove(self, entry_ids: Iterable[str]) -> None:
        for entry_id in entry_ids:
            self._renewed_at_s.pop(entry_id, None)

    def not_renewed_for(self, seconds: float) -> list[str]:
        limit_s = time.monotonic() - seconds
        return [entry_id for entry_id, renewed_at_s in self._renewed_at_s.items() if renewed_at_s <= limit_s]


class LeaseRenewal:
    """Renews old entries by `renew`, which restarts the idle time of those that are still ours and counts them."""

    def __init__(
        self,
        pending: PendingEntries,
        renew: Callable[[Sequence[str]], Awaitable[int]],
        reclaim_idle_ms: int,
        log: FilteringBoundLogger,
    ) -> None:
        self._pending = pending
        self._renew = renew
        self._age_s = reclaim_idle_ms / 1000 * RENEWED_AFTER
        self._log = log

    async def run(self) -> None:
        while True:
            await asyncio.sleep(self._age_s / 2)
            try:
                await self.renew_due()
            except TransportError as error:
                # The next check is the next try; the loops that need Redis for their work log that it is away.
                self._log.debug("pending commands could not be renewed", error=str(error))

    async def renew_due(self) -> None:
        due = self._pending.not_renewed_for(self._age_s)
        if not due:
            return
        ours = await self._renew(due)
        self._pending.mark_renewed(due)
        if ours < len(due):
            self._log.warning(
                "commands were lost to this worker: taken over by another one, or gone with their stream",
                commands=len(due) - ours,
            )
