"""The backlog of starts: how far the group is on the streams whose entries may start sagas."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from saga_service.streams.connection import RedisClient
from saga_service.streams.server import GroupFacts, groups_of


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
