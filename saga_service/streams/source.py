"""A stream as the runtime reads it: the group reader, with errors in the engine's words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from redis.exceptions import RedisError

from saga_service.engine.ports import StreamLost, StreamRefused, TransportUnavailable
from saga_service.streams.faults import describe, is_no_group, is_transient
from saga_service.streams.group_reader import GroupReader
from saga_service.wire.entries import Entry


@contextmanager
def in_our_words() -> Iterator[None]:
    """Turn Redis' errors into StreamLost and TransportUnavailable; one that neither answers to stays as it is."""
    try:
        yield
    except (RedisError, OSError) as error:
        if is_no_group(error):
            raise StreamLost(describe(error)) from error
        if is_transient(error):
            raise TransportUnavailable(describe(error)) from error
        raise


@contextmanager
def _about_one_stream() -> Iterator[None]:
    """The same, where nothing but this stream is at stake: what is left is StreamRefused."""
    try:
        with in_our_words():
            yield
    except RedisError as error:
        raise StreamRefused(describe(error)) from error


class StreamSource:
    """`reader` blocks on a connection of its own; `helper` is a second consumer object of the same name for all that
    must not wait behind a blocked read."""

    def __init__(self, reader: GroupReader, helper: GroupReader, block_ms: int, reclaim_idle_ms: int) -> None:
        self._reader = reader
        self._helper = helper
        # What either hands out, the other must know of.
        helper.outstanding = reader.outstanding
        self._block_ms = block_ms
        self._reclaim_idle_ms = reclaim_idle_ms

    @property
    def stream(self) -> str:
        return self._reader.stream

    async def read(self, count_max: int) -> list[Entry]:
        with _about_one_stream():
            return await self._reader.read(count_max, self._block_ms)

    async def reclaim(self, count_max: int) -> tuple[list[Entry], bool]:
        with _about_one_stream():
            entries = await self._helper.reclaim(count_max, self._reclaim_idle_ms)
            return entries, not self._helper.reclaim_is_through()

    async def ensure_group(self) -> bool:
        with _about_one_stream():
            return await self._helper.ensure_group()

    async def leave(self) -> None:
        with _about_one_stream():
            await self._helper.leave()

    async def remove_dead_consumers(self, idle_ms: int) -> None:
        with _about_one_stream():
            await self._helper.remove_dead_consumers(idle_ms)
