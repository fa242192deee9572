"""The outbox rows of this process: those on their way to Redis, and those that Redis has taken.

The next commit deletes the latter on its way; while nothing happens, the relay does.
"""

from __future__ import annotations

from collections.abc import Iterable

from saga_service.wire.entries import Message


class OutboxRows:
    def __init__(self) -> None:
        self._under_way: set[int] = set()
        self._published: list[int] = []
        self._refused: dict[int, list[Message]] = {}

    def begin(self, outbox_id: int) -> None:
        """It was committed, and whoever committed it publishes it now."""
        self._under_way.add(outbox_id)

    def end(self, outbox_id: int, refused: list[Message] | None) -> None:
        """Its publisher is through with it. What was refused is the relay's to try again; None: all of it, perhaps."""
        self._under_way.discard(outbox_id)
        if refused:
            self._refused[outbox_id] = refused
        elif refused is not None:
            self._published.append(outbox_id)

    def is_under_way(self, outbox_id: int) -> bool:
        return outbox_id in self._under_way

    def take_published(self) -> list[int]:
        """All that are to be deleted, for whoever deletes them now."""
        taken, self._published = self._published, []
        return taken

    def give_back(self, ids: Iterable[int]) -> None:
        """They were not deleted after all."""
        self._published.extend(ids)

    def take_refused(self) -> dict[int, list[Message]]:
        """Rows of which only these messages are left, for whoever writes that down."""
        taken, self._refused = self._refused, {}
        return taken
