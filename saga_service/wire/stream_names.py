"""The names of our streams."""

from __future__ import annotations

from dataclasses import dataclass

PREFIX_DEFAULT = "saga:"

OWN_TYPES_PREFIX = "saga."
"""Types of events that begin so are the service's own: no saga is started and no signal named by one."""
CHILD_START = f"{OWN_TYPES_PREFIX}child.start"

REQUESTS = "saga.requests"
"""Stands for a stream's name where an entry came by SQL."""
WANTS_RESULT = b"wants_result"
"""A field of such an entry: `true` where whoever asked waits for the answer."""


@dataclass(frozen=True, slots=True)
class StreamNames:
    """All of them begin with one prefix, so that several deployments can share a Redis."""

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
