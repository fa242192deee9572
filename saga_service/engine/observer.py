"""What the engine tells an observer: each commit, and each attempt at one that failed. Metrics are made of it.

The engine counts nothing itself. An observer is told once for a batch, after the batch is durable, so it counts what
was committed and nothing else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from saga_service.engine.failures import Failure, Remedy
from saga_service.engine.fold import Folded
from saga_service.wire.dead_letters import DeadLetter


@dataclass(frozen=True, slots=True)
class CommittedBatch:
    """One commit, as it was made."""

    items: int
    """The number of entries, requests and timers in it."""
    commit_s: float
    """How long Postgres took for it; 0 where there was nothing to write."""
    folded: Folded
    dead_letters: Sequence[DeadLetter]
    deferred: int
    """The number of entries that were put off."""


class EngineObserver(Protocol):
    """Whoever is told of commits."""

    def committed(self, batch: CommittedBatch) -> None: ...

    def failed(self, failure: Failure, remedy: Remedy) -> None: ...


class NoEngineObserver:
    """An observer that takes note of nothing."""

    def committed(self, batch: CommittedBatch) -> None: ...

    def failed(self, failure: Failure, remedy: Remedy) -> None: ...


def attempt_to_tell(tell: Callable[[], None], message: str) -> None:
    """Tell somebody of what is durable. Raises nothing: it has to be published, whether or not it can be told.

    An error goes to the event loop's exception handler, with `message`.
    """
    try:
        tell()
    except Exception as error:  # noqa: BLE001 - reported, and no reason to lose what was committed
        asyncio.get_running_loop().call_exception_handler({"message": message, "exception": error})
