"""Looks at the streams as they are now.

`StreamSight` looks at those on which something may be in flight, so that a loss of one is found. `UnhandledStarts`
looks how far the group is on those whose entries may start sagas.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import structlog

from saga_service.core.events import TO_CHILDREN
from saga_service.streams import scripts
from saga_service.streams.connection import RedisClient
from saga_service.streams.server import GroupFacts, groups_of
from saga_service.wire.transport import EVERYTHING, SeenStream, StreamNames, StreamRefused

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class WatchedStream:
    """A stream to look at. `carries` is as in `SeenStream`; `group` is the service's, None where others read it."""

    stream: str
    carries: str
    group: str | None = None


def watched_streams(names: StreamNames, group: str, services: Iterable[str]) -> list[WatchedStream]:
    """The streams on which something may be in flight that Postgres can send again.

    Of dead letters the table has all but what is being read, and outcomes are news for others.
    """
    return [
        WatchedStream(names.replies, EVERYTHING, group),
        WatchedStream(names.events, TO_CHILDREN, group),
        *(WatchedStream(names.commands(service), service) for service in services),
    ]


class StreamSight:
    """Fulfils `runtime.recovery.Sight`."""

    def __init__(self, client: RedisClient, watched: Sequence[WatchedStream]) -> None:
        self._client = client
        self._watched = watched

    async def look(self) -> list[SeenStream]:
        """Every watched stream as it is now. One whose key is of another kind is left out. Raises TransportError."""
        found = [await self._look_at(each) for each in self._watched]
        return [each for each in found if each is not None]

    async def _look_at(self, watched: WatchedStream) -> SeenStream | None:
        try:
            raw = await scripts.see_stream(self._client, watched.stream, watched.group)
        except StreamRefused as error:
            # Another kind of key has its name, say: whoever reads the stream tells of it.
            log.debug("a stream cannot be looked at", stream=watched.stream, error=str(error))
            return None
        seconds, microseconds, has_group, last_id, entries_added, length, first_id = raw
        return SeenStream(
            stream=watched.stream,
            carries=watched.carries,
            at_us=int(seconds) * 1_000_000 + int(microseconds),
            has_group=watched.group is None or has_group == 1,
            last_id=last_id.decode(),
            entries_added=int(entries_added) if entries_added else None,
            length=length,
            first_id=first_id.decode(),
        )


class UnhandledStarts:
    """Fulfils `engine.ports.StartsBacklog`. `groups` are the streams, each with the group that reads it."""

    def __init__(self, client: RedisClient, groups: Sequence[tuple[str, str]], now_ms: Callable[[], int]) -> None:
        self._client = client
        self._groups = groups
        self._now_ms = now_ms

    async def handled_up_to_ms(self) -> int:
        """The moment at which the oldest entry was added that is unread or pending; now, where there is none.

        Raises TransportError.
        """
        now_ms = self._now_ms()
        return min([now_ms, *[moment_ms for place in self._groups for moment_ms in await self._unhandled_ms(*place)]])

    async def _unhandled_ms(self, stream: str, group: str) -> list[int]:
        facts = [each for each in await groups_of(self._client, stream) if each.name == group]
        return [moment_ms for each in facts for moment_ms in _oldest_ms(each)]


def _oldest_ms(group: GroupFacts) -> list[int]:
    return [each for each in (group.oldest_unread_ms, group.oldest_pending_ms) if each is not None]
