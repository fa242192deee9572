"""Recovery after Redis lost a stream: what was in flight on it is sent again, from what Postgres knows.

A replica looks at all streams every few seconds, and before it makes a missing group anew. What it sees goes to
Postgres, which knows what any replica saw last, and so tells a loss; the loss is on record there until the recovery is
over. Any replica goes on with a recovery, page by page: each page is one transaction, which makes a request for each
saga and notes how far it reached. So nothing of it is in one process's memory.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

import structlog

from saga_service.base.clock import Backoff
from saga_service.base.lifecycle import Milestone, Shutdown
from saga_service.base.liveness import waiting
from saga_service.engine.failures import StoreUnavailable
from saga_service.engine.ports import Losses
from saga_service.wire.transport import SeenStream, TransportError

log = structlog.get_logger(__name__)
LOSSES_GATHERED_MS = 250
"""How old a loss is before its recovery begins: a server that lost its data lost all streams, and readers meet that one
after the other."""
LOOK_PERIOD_S = 2.0
"""How often a replica looks for lost streams."""
NEXT_PAGE_S = 0.1
"""The wait for the requests of the page before."""
GROUPS_MADE_S = 0.5
"""The wait for missing groups, which the readers of the streams make, or for the page before to be worked off."""


class Sight(Protocol):
    """A look at the streams."""

    async def look(self) -> Sequence[SeenStream]:
        """Every stream on which something may be in flight, as it is now. Raises TransportError."""
        ...


class Recovery:
    """`period_s` is the time between two looks. A page has at most `sagas_max` sagas. `found_by` names the replica."""

    def __init__(
        self,
        sight: Sight,
        losses: Losses,
        *,
        found_by: str,
        sagas_max: int,
        period_s: float = LOOK_PERIOD_S,
        now_ms: Callable[[], int],
        shutdown: Shutdown,
    ) -> None:
        self.name = "recovery"
        self.started = Milestone()
        self.looked = Milestone()
        self.recovered = Milestone()
        self._sight = sight
        self._losses = losses
        self._found_by = found_by
        self._sagas_max = sagas_max
        self._period_s = period_s
        self._now_ms = now_ms
        self._shutdown = shutdown
        self._sooner = shutdown.wakes(asyncio.Event())
        self._backoff = Backoff()
        self._sagas = 0

    async def record_losses(self) -> None:
        """Look at all streams, and put every loss on record, however long Postgres is away. Raises TransportError."""
        while not self._shutdown:
            seen = await self._sight.look()
            try:
                lost = await self._losses.see_streams(seen, self._now_ms(), self._found_by)
            except StoreUnavailable as error:
                log.warning(f"{error.summary}; losses of redis cannot be recorded yet", error=str(error))
                await self._shutdown.pause(self._backoff.next_s())
            else:
                self._backoff.reset()
                if lost:
                    log.warning("redis has lost streams; what was in flight is sent again", streams=lost)
                self.looked.reached()
                return

    async def find_losses(self) -> None:
        """Record what was lost while no replica ran, before anything is read: what begins later is not sent twice."""
        try:
            await self.record_losses()
        except TransportError as error:
            # The readers of the streams try it again, and log how long that lasts.
            log.debug("the streams cannot be looked at yet", error=str(error))

    def look_soon(self) -> None:
        """Have the next look taken at once: a group was made anew."""
        self._sooner.set()

    async def run(self) -> None:
        self.started.reached()
        while not self._shutdown:
            self._sooner.clear()
            await self._pause(await self._round())

    async def _round(self) -> float:
        """Look, and go on with what is owed; the wait before the next round, in seconds."""
        try:
            await self.record_losses()
            now_ms = self._now_ms()
            with waiting():
                page = await self._losses.continue_recovery(now_ms, now_ms - LOSSES_GATHERED_MS, self._sagas_max)
        except TransportError as error:
            # Whoever reads a stream tells of it.
            log.debug("redis is away; its streams cannot be looked at", error=str(error))
            return self._period_s
        except StoreUnavailable as error:
            log.warning(f"{error.summary}; recovery waits, and tries again", error=str(error))
            return self._period_s
        self._sagas += page.sagas
        if page.is_owed:
            return NEXT_PAGE_S if page.sagas else GROUPS_MADE_S
        if self._sagas:
            log.warning("what was in flight on lost streams is sent again", sagas=self._sagas)
            self._sagas = 0
            self.recovered.reached()
        return self._period_s

    async def _pause(self, seconds: float) -> None:
        if self._shutdown:
            return
        try:
            async with asyncio.timeout(seconds):
                await self._sooner.wait()
        except TimeoutError:
            return
