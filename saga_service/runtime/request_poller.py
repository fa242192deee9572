"""The poller of requests: what was asked by SQL, and deferred entries that are due.

A row does not announce itself, so the table is polled: soon again after something was found, and less and less often
while there is nothing. NOTIFY would announce it, at the price of a server-wide lock in the caller's own commit.
"""

from __future__ import annotations

from collections.abc import Callable

import structlog

from saga_service.base.clock import Backoff
from saga_service.base.lifecycle import Milestone, Shutdown
from saga_service.engine.failures import StoreUnavailable
from saga_service.engine.ports import Requests
from saga_service.runtime.intake import Inlet

log = structlog.get_logger(__name__)
POLL_MS_MIN = 20


class RequestPoller:
    """`poll_ms` is the longest time between two polls."""

    def __init__(
        self,
        requests: Requests,
        inlet: Inlet,
        *,
        poll_ms: int,
        lease_ms: int,
        requests_max: int,
        now_ms: Callable[[], int],
        shutdown: Shutdown,
    ) -> None:
        self.name = "requests by SQL"
        self.started = Milestone()
        self._requests = requests
        self._inlet = inlet
        self._poll_ms = poll_ms
        self._lease_ms = lease_ms
        self._requests_max = requests_max
        self._now_ms = now_ms
        self._shutdown = shutdown
        self._backoff = Backoff()

    async def run(self) -> None:
        self.started.reached()
        pause_ms = self._poll_ms
        while not self._shutdown:
            room = await self._inlet.room()
            if not room:
                return
            limit = min(room, self._requests_max)
            found = await self._poll(limit)
            if found == limit:
                # There may be more.
                continue
            pause_ms = min(POLL_MS_MIN if found else pause_ms * 2, self._poll_ms)
            await self._shutdown.pause(pause_ms / 1000)

    async def _poll(self, limit: int) -> int:
        try:
            entries = await self._requests.claim_requests(self._now_ms(), limit, self._lease_ms)
        except StoreUnavailable as error:
            log.warning(f"{error.summary}; requests wait, and are tried again", error=str(error))
            await self._shutdown.pause(self._backoff.next_s())
            return 0
        self._backoff.reset()
        if entries:
            self._inlet.put(entries)
        return len(entries)
