"""The names of the service's own streams, and of the event types that it keeps for itself."""

from __future__ import annotations

from dataclasses import dataclass

PREFIX_DEFAULT = "saga:"

OWN_TYPES_PREFIX = "saga."
"""Event types with this prefix are the service's own: none of them starts a saga or names a signal."""
CHILD_START = f"{OWN_TYPES_PREFIX}child.start"

REQUESTS = "saga.requests"
"""Stands for a stream's name where an entry came by SQL."""
TIMERS, RECOVERY = "saga.timers", "saga.recovery"
"""Stand for a stream's name where an event of the service itself is written down: see `wire.own_events`."""
NO_STREAMS = frozenset({REQUESTS, TIMERS, RECOVERY})
"""Names that no stream has. What stands under one is replayed as a request."""
WANTS_RESULT = b"wants_result"
"""A field of an entry that came by SQL: `true` where its sender waits for the result."""


@dataclass(frozen=True, slots=True)
class StreamNames:
    """The service's streams. All share one prefix, so that several deployments can use one Redis."""

    prefix: str = PREFIX_DEFAULT

    @property
    def events(self) -> str:
        return f"{self.prefix}events"

    @property
    def replies(self) -> str:
        return f"{self.prefix}replies"

    @property
    def outcomes(self) -> str:
        return f"{self.prefix}outcomes"

    @property
    def dead_letters(self) -> str:
        return f"{self.prefix}dead-letter"

    def commands(self, service: str) -> str:
        return f"{self.prefix}commands:{service}"
