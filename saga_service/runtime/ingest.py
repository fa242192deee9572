"""Reading one stream into the intake."""

from __future__ import annotations

from collections.abc import Callable

import structlog

from saga_service.base.backoff import Backoff
from saga_service.engine.ports import Source, StreamLost, StreamRefused, TransportUnavailable
from saga_service.runtime.intake import Inlet
from saga_service.runtime.shutdown import Shutdown

log = structlog.get_logger(__name__)
FIRST_READ_ENTRIES_MAX = 16
READ_GROWTH = 8
"""Each read asks for at most so many times what the one before it brought. After a pause nobody knows how large the
entries are that come next; under load three reads go from the first to the whole batch."""


class Ingest:
    """`transport_lost` is called when the stream's group had to be made anew."""

    def __init__(
        self, source: Source, inlet: Inlet, entries_max: int, transport_lost: Callable[[], None], shutdown: Shutdown
    ) -> None:
        self._source = source
        self._inlet = inlet
        self._entries_max = entries_max
        self._next_read_max = FIRST_READ_ENTRIES_MAX
        self._transport_lost = transport_lost
        self._shutdown = shutdown
        self._backoff = Backoff()

    async def run(self) -> None:
        # Making the group at the start as well finds out whether Redis lost it while nobody was looking.
        is_made = False
        while not self._shutdown:
            if not is_made:
                is_made = await self._make_group()
            elif room := await self._inlet.room():
                is_made = await self._read(min(room, self._entries_max, self._next_read_max))

    async def _read(self, count_max: int) -> bool:
        """Whether the group is still there."""
        try:
            entries = await self._source.read(count_max)
        except StreamLost as error:
            log.warning("the stream or its group has vanished", stream=self._source.stream, error=str(error))
            # What vanishes over and over, and can be made anew each time, must not be a hot loop.
            await self._shutdown.pause(self._backoff.next_s())
            return False
        except TransportUnavailable as error:
            log.warning("redis is away; reading waits", stream=self._source.stream, error=str(error))
            await self._shutdown.pause(self._backoff.next_s())
            return True
        except StreamRefused as error:
            await self._back_off(error)
            return False
        self._backoff.reset()
        self._next_read_max = max(FIRST_READ_ENTRIES_MAX, READ_GROWTH * len(entries))
        if entries:
            self._inlet.put(entries)
        return True

    async def _make_group(self) -> bool:
        """Whether it is there now."""
        try:
            if await self._source.ensure_group():
                log.info("the consumer group is made", stream=self._source.stream)
                self._transport_lost()
        except (TransportUnavailable, StreamLost) as error:
            log.warning("redis is away; the group cannot be made yet", stream=self._source.stream, error=str(error))
            await self._shutdown.pause(self._backoff.next_s())
            return False
        except StreamRefused as error:
            await self._back_off(error)
            return False
        return True

    async def _back_off(self, error: StreamRefused) -> None:
        # One stream that cannot be read, somebody else's perhaps, must not end the sagas of all others.
        log.error("redis refuses this stream until that is mended", stream=self._source.stream, error=str(error))
        await self._shutdown.pause(self._backoff.next_s())
