"""Looking after sagas whose moment has come.

One query now and then, and none per saga: the next moment is known from the last look and from what this replica
itself commits; what other replicas commit they look after, or the next poll finds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from saga_service.base.backoff import Backoff
from saga_service.core.events import TimerDue
from saga_service.engine.errors import StoreUnavailable
from saga_service.engine.ports import DueSagas
from saga_service.runtime.intake import Inlet
from saga_service.runtime.shutdown import Shutdown

log = structlog.get_logger(__name__)


class Timers:
    """`poll_ms` is the longest time between two looks."""

    def __init__(
        self,
        due_sagas: DueSagas,
        inlet: Inlet,
        *,
        poll_ms: int,
        lease_ms: int,
        sagas_max: int,
        now_ms: Callable[[], int],
        shutdown: Shutdown,
    ) -> None:
        self._due_sagas = due_sagas
        self._inlet = inlet
        self._poll_ms = poll_ms
        self._lease_ms = lease_ms
        self._sagas_max = sagas_max
        self._now_ms = now_ms
        self._shutdown = shutdown
        self._next_look_ms = 0
        self._sooner = asyncio.Event()
        self._backoff = Backoff()

    def expect(self, wake_at_ms: int) -> None:
        """Some saga was just committed that wants a look at this moment."""
        if wake_at_ms < self._next_look_ms:
            self._next_look_ms = wake_at_ms
            self._sooner.set()

    async def run(self) -> None:
        while not self._shutdown:
            room = await self._inlet.room()
            if not room:
                return
            self._next_look_ms = self._now_ms() + self._poll_ms
            if not await self._look(min(room, self._sagas_max)):
                await self._until_the_next_look()

    async def _look(self, limit: int) -> bool:
        """Hand on what is due; whether there may be more."""
        now_ms = self._now_ms()
        try:
            saga_ids, next_due_ms = await self._due_sagas.claim_due(now_ms, limit, self._lease_ms)
        except StoreUnavailable as error:
            log.warning("postgres is away; timers wait", error=str(error))
            await self._shutdown.pause(self._backoff.next_s())
            return True
        self._backoff.reset()
        self._inlet.put(TimerDue(saga_id) for saga_id in saga_ids)
        if next_due_ms is not None:
            self._next_look_ms = min(self._next_look_ms, next_due_ms)
        return len(saga_ids) == limit

    async def _until_the_next_look(self) -> None:
        while not self._shutdown:
            self._sooner.clear()
            left_ms = self._next_look_ms - self._now_ms()
            if left_ms <= 0:
                return
            waits = [asyncio.ensure_future(self._shutdown.wait()), asyncio.ensure_future(self._sooner.wait())]
            try:
                await asyncio.wait(waits, timeout=left_ms / 1000, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for wait in waits:
                    wait.cancel()
                await asyncio.gather(*waits, return_exceptions=True)
