"""Taking over what dead consumers left behind."""

from __future__ import annotations

import random

import structlog

from saga_service.engine.ports import Source, StreamLost, StreamRefused, TransportUnavailable
from saga_service.runtime.intake import Inlet
from saga_service.runtime.shutdown import Shutdown

log = structlog.get_logger(__name__)
ENTRIES_MAX = 100


class Reclaim:
    def __init__(self, source: Source, inlet: Inlet, period_s: float, shutdown: Shutdown) -> None:
        self._source = source
        self._inlet = inlet
        self._period_s = period_s
        self._shutdown = shutdown

    async def run(self) -> None:
        while not self._shutdown:
            more = await self._reclaim()
            if not more:
                # Jitter keeps the replicas from walking the list in step.
                await self._shutdown.pause(self._period_s * random.uniform(0.5, 1.5))

    async def _reclaim(self) -> bool:
        room = await self._inlet.room()
        if not room:
            return False
        try:
            entries, more = await self._source.reclaim(min(room, ENTRIES_MAX))
        except (TransportUnavailable, StreamLost, StreamRefused):
            # The reader of the same stream meets the same trouble, says so and mends it.
            return False
        if entries:
            log.info(
                "entries of a consumer that is gone are taken over", stream=self._source.stream, entries=len(entries)
            )
            self._inlet.put(entries)
        return more
