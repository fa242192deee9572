"""Timers: sagas that have something due are claimed and handed to the lanes.

There is one query now and then, and none per saga. The next due moment is known from the last query and from what this
replica commits; the sagas that other replicas commit are theirs to watch, or the next poll finds them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from saga_service.base.clock import Backoff
from saga_service.base.lifecycle import Milestone, Shutdown
from saga_service.base.liveness import waiting
from saga_service.core.events import TimerDue
from saga_service.engine.failures import StoreUnavailable
from saga_service.engine.ports import DueSagas
from saga_service.runtime.intake import Inlet

log = structlog.get_logger(__name__)


class Timers:
    """`poll_ms` is the longest time between two queries."""

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
        self.name = "timers"
        self.started = Milestone()
        self.waiting = Milestone()
        self._due_sagas = due_sagas
        self._inlet = inlet
        self._poll_ms = poll_ms
        self._lease_ms = lease_ms
        self._sagas_max = sagas_max
        self._now_ms = now_ms
        self._shutdown = shutdown
        self._next_check_ms = 0
        self._sooner = shutdown.wakes(asyncio.Event())
        self._backoff = Backoff()

    def expect(self, wake_at_ms: int) -> None:
        """Note that some saga was just committed that has something due at this moment."""
        if wake_at_ms < self._next_check_ms:
            self._next_check_ms = wake_at_ms
            self._sooner.set()

    async def run(self) -> None:
        self.started.reached()
        while room := await self._inlet.room():
            self._next_check_ms = self._now_ms() + self._poll_ms
            if not await self._hand_on(min(room, self._sagas_max)):
                await self._until_next_check()

    async def _hand_on(self, limit: int) -> bool:
        """Hand on the sagas that are due; true if there may be more."""
        now_ms = self._now_ms()
        try:
            saga_ids, next_due_ms = await self._due_sagas.claim_due(now_ms, limit, self._lease_ms)
        except StoreUnavailable as error:
            log.warning(f"{error.summary}; timers wait, and are tried again", error=str(error))
            await self._shutdown.pause(self._backoff.next_s())
            return True
        self._backoff.reset()
        self._inlet.put(TimerDue(saga_id) for saga_id in saga_ids)
        if next_due_ms is not None:
            self._next_check_ms = min(self._next_check_ms, next_due_ms)
        return len(saga_ids) == limit

    async def _until_next_check(self) -> None:
        while not self._shutdown:
            self._sooner.clear()
            left_ms = self._next_check_ms - self._now_ms()
            if left_ms <= 0:
                return
            self.waiting.reached()
            try:
                with waiting():
                    async with asyncio.timeout(left_ms / 1000):
                        await self._sooner.wait()
            except TimeoutError:
                continue
