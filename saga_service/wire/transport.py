"""The transport: the names of the service's own streams, and the errors of whatever carries them.

`streams` translates Redis' own errors into these once. The environment's fault is worth another try
(`TransportUnavailable`), a loss has to be made good (`StreamLost`), and a refusal for a reason that lasts needs a
person (`StreamRefused`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

PREFIX_DEFAULT = "saga:"

OWN_TYPES_PREFIX = "saga."
"""Event types with this prefix are the service's own: none of them starts a saga or names a signal."""
CHILD_START = f"{OWN_TYPES_PREFIX}child.start"

REQUESTS = "saga.requests"
"""Stands for a stream's name where an entry came by SQL."""
TIMERS, RECOVERY = "saga.timers", "saga.recovery"
"""Stand for a stream's name where an event of the service itself is written down: see `wire.events`."""
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

    def begun(self, command_id: str) -> str:
        """The key that says, for a day, that a worker began on a copy of this command."""
        return f"{self.prefix}begun:{command_id}"

    @property
    def processes(self) -> str:
        """The index of workers that are alive; no stream, but a key beside them."""
        return f"{self.prefix}processes"

    def process(self, name: str) -> str:
        """The key of one worker's report."""
        return f"{self.prefix}process:{name}"


class SeenStream(NamedTuple):
    """A stream as it was at one moment."""

    stream: str
    carries: str
    """What is to be sent again where it is lost: EVERYTHING, TO_CHILDREN, or the name of a service."""
    at_us: int
    """The moment, in microseconds by the clock of Redis."""
    has_group: bool
    """Whether the service's group is there; true of a stream that the service does not read."""
    last_id: str
    """The id of the entry that was added last, whether or not it is still there; `0-0` where there is no stream."""
    entries_added: int | None
    """The number of entries that were ever added; None where the server does not know, or there is no stream."""
    length: int
    first_id: str
    """The id of the oldest entry; `0-0` where there is none."""


EVERYTHING = "*"


class TransportError(Exception):
    """Redis did not do what it was asked to do; the text has its reason."""

    nothing_was_sent = False
    """True where it is certain that Redis was not asked: no connection was to be had."""


class TransportUnavailable(TransportError):
    """Redis cannot be reached, or cannot serve just now. The same call may succeed later."""


class AccessDenied(TransportUnavailable):
    """Redis does not accept our user or password. A running service waits, because passwords get changed; at a start
    the settings are wrong."""


class StreamLost(TransportError):
    """The stream or our group on it has vanished. The group has to be made anew, and what was in flight sent again."""


class StreamRefused(TransportError):
    """Redis refuses until a person has mended something: another kind of key has the stream's name, say, or we may
    not read it. Other streams are not affected."""


class RightMissing(StreamRefused):
    """Our user of Redis may not run a command, or may not touch a key; the text says which."""
