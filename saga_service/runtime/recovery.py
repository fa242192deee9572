"""After Redis lost its data: everything in flight is sent again, from what Postgres knows."""

from __future__ import annotations

import asyncio

import structlog

from saga_service.base.backoff import Backoff
from saga_service.core.events import TransportLost
from saga_service.core.ids import SagaId
from saga_service.engine.errors import StoreUnavailable
from saga_service.engine.ports import InFlight
from saga_service.runtime.intake import Inlet
from saga_service.runtime.shutdown import Shutdown

log = structlog.get_logger(__name__)


class Recovery:
    def __init__(self, in_flight: InFlight, inlet: Inlet, shutdown: Shutdown) -> None:
        self._in_flight = in_flight
        self._inlet = inlet
        self._shutdown = shutdown
        self._lost = asyncio.Event()
        self._backoff = Backoff()

    def transport_lost(self) -> None:
        """A stream had to be made anew. Said several times before it is attended to, it counts once."""
        self._lost.set()

    def let_go(self) -> None:
        """Wake the loop so that it sees that it is time to stop."""
        self._lost.set()

    async def run(self) -> None:
        while True:
            await self._lost.wait()
            if self._shutdown:
                return
            self._lost.clear()
            await self._send_again()

    async def _send_again(self) -> None:
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

    async def _page(self, after: SagaId | None, limit: int) -> list[SagaId]:
        while not self._shutdown:
            try:
                page = await self._in_flight.in_flight(after, limit)
            except StoreUnavailable as error:
                log.warning("postgres is away; recovery waits", error=str(error))
                await self._shutdown.pause(self._backoff.next_s())
            else:
                self._backoff.reset()
                return page
        return []
