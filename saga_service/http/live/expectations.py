"""What somebody waits for: the answer to a request, or the dead letter that an entry may become."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable, Iterator, Mapping
from contextlib import contextmanager
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Found = TypeVar("Found")


class Expectations(Generic[Key, Found]):
    """Futures by what they wait for. Nobody else waits for the same."""

    def __init__(self) -> None:
        self._futures: dict[Key, asyncio.Future[Found]] = {}

    def __bool__(self) -> bool:
        return bool(self._futures)

    @contextmanager
    def of(self, key: Key) -> Iterator[asyncio.Future[Found]]:
        """A future of what is found, within the block."""
        future = self._futures[key] = asyncio.get_running_loop().create_future()
        try:
            yield future
        finally:
            self._futures.pop(key, None)

    def keys(self) -> list[Key]:
        return list(self._futures)

    def fulfil(self, found: Mapping[Key, Found]) -> None:
        """Hand out what was found."""
        for key, value in found.items():
            future = self._futures.get(key)
            if future is not None and not future.done():
                future.set_result(value)
