"""Recovery after Redis lost its data: every saga in flight sends its commands again, from what Postgres knows."""

from __future__ import annotations

import asyncio

import structlog

from saga_service.base.clock import Backoff
from saga_service.base.lifecycle import Milestone, Shutdown
from saga_service.base.liveness import waiting
from saga_service.core.events import TransportLost
from saga_service.core.ids import SagaId
from saga_service.engine.failures import StoreUnavailable
from saga_service.engine.ports import InFlight
from saga_service.runtime.intake import Inlet

log = structlog.get_logger(__name__)
LOSSES_GATHERED_S = 0.25
"""How long to wait for more losses after one: a server that lost its data lost all streams, and each reader meets that
by itself."""


class Recovery:
    """Waits for losses of streams; several that come close together cause one recovery."""

    def __init__(self, in_flight: InFlight, inlet: Inlet, shutdown: Shutdown) -> None:
        self.name = "recovery"
        self.started = Milestone()
        self.recovered = Milestone()
        self._in_flight = in_flight
        self._inlet = inlet
        self._shutdown = shutdown
        self._lost = shutdown.wakes(asyncio.Event())
        self._backoff = Backoff()

    def transport_lost(self) -> None:
        """Report that one of our streams had to be made anew."""
        self._lost.set()

    async def run(self) -> None:
        self.started.reached()
        if self._lost.is_set() and not self._shutdown:
            # Met before the start, when no saga was begun yet: the sooner the fewer are sent again for nothing.
            await self._send_again()
        while True:
            with waiting():
                await self._lost.wait()
            await self._shutdown.pause(LOSSES_GATHERED_S)
            if self._shutdown:
                return
            await self._send_again()

    async def _send_again(self) -> None:
        self._lost.clear()
        last: SagaId | None = None
        sagas = 0
        while room := await self._inlet.room():
            page = await self._page(last, room)
            if not page:
                break
            self._inlet.put(TransportLost(saga_id) for saga_id in page)
            sagas += len(page)
            last = page[-1]
        if sagas:
            log.warning("redis had lost its data; commands in flight are sent again", sagas=sagas)
        self.recovered.reached()

    async def _page(self, after: SagaId | None, limit: int) -> list[SagaId]:
        while not self._shutdown:
            try:
                page = await self._in_flight.in_flight(after, limit)
            except StoreUnavailable as error:
                log.warning(f"{error.summary}; recovery waits", error=str(error))
                await self._shutdown.pause(self._backoff.next_s())
            else:
                self._backoff.reset()
                return page
        return []
