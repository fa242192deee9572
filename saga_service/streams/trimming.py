"""Trimming of our own streams. Nothing goes that some group has not acknowledged; other people's streams never."""

from __future__ import annotations

from collections.abc import Callable

from redis.asyncio import Redis

from saga_service.base.tasks import heeding_cancellation
from saga_service.streams import scripts
from saga_service.streams.source import in_our_words


class StreamTrimmer:
    """Whole nodes of a stream go at a time, so some hundred handled entries may stay.

    All raise TransportUnavailable.
    """

    def __init__(self, client: Redis, now_ms: Callable[[], int]) -> None:
        self._client = client
        self._now_ms = now_ms

    async def trim_handled(self, stream: str) -> int:
        """Remove what every group of the stream has acknowledged; how many entries went.

        A stream that no group reads keeps all: nobody has said yet that anything may go.
        """
        return await self._trim(stream, "")

    async def trim_older(self, stream: str, kept_ms: int) -> int:
        """Of what every group has acknowledged, remove what is older than this; how many entries went.

        Where no group reads the stream, age alone decides.
        """
        return await self._trim(stream, f"{self._now_ms() - kept_ms}-0")

    async def _trim(self, stream: str, oldest_kept: str) -> int:
        with in_our_words(), heeding_cancellation():
            return int(await self._client.eval(scripts.TRIM_HANDLED, 1, stream, oldest_kept))
