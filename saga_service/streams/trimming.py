"""Trimming of our own streams. Nothing goes that some group has not acknowledged; other people's streams never."""

from __future__ import annotations

from collections.abc import Callable

from saga_service.streams import scripts
from saga_service.streams.connection import RedisClient


class StreamTrimmer:
    """Whole nodes of a stream go at a time, so some hundred handled entries may stay.

    All methods raise TransportUnavailable and StreamRefused.
    """

    def __init__(self, client: RedisClient, now_ms: Callable[[], int]) -> None:
        self._client = client
        self._now_ms = now_ms

    async def trim_handled(self, stream: str) -> int:
        """Remove what every group of the stream has acknowledged; how many entries went.

        A stream that no group reads keeps everything: its readers may only come later.
        """
        return await scripts.trim_handled(self._client, stream)

    async def trim_older(self, stream: str, kept_ms: int) -> int:
        """Of what every group has acknowledged, remove what is older than `kept_ms`; how many entries went.

        Where no group reads the stream, age alone decides.
        """
        return await scripts.trim_handled(self._client, stream, f"{self._now_ms() - kept_ms}-0")
