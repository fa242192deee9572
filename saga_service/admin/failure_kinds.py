"""Failures in words: what was wrong and where, what to do about it, and of which kind it is.

The command line makes an exit code of the kind, the HTTP API a status.
"""

from __future__ import annotations

from enum import Enum


class FailureKind(Enum):
    """The part of the world that a failure is about."""

    PROBLEM = "problem"
    """A fault was found, or a saga refused an operation."""
    NOT_FOUND = "not found"
    CONFLICT = "conflict"
    """Something else is there already."""
    INVALID = "invalid"
    """The arguments or the settings are wrong."""
    UNREACHABLE = "unreachable"
    """Postgres or Redis cannot be used."""
    SCHEMA = "schema"
    """The database schema does not fit this version."""
    NOT_YET = "not yet"
    """The end of a saga, or an answer, had not come in time."""


class Failure(Exception):
    """A request that cannot be carried out. `message` says what is wrong and where, `advice` what to do about it.

    `because` ends the message with a text that may repeat the author's data, as the reason of a dead letter does. A
    reader who sees no payloads is told `known` alone.
    """

    def __init__(
        self,
        known: str,
        advice: str | None = None,
        *,
        kind: FailureKind = FailureKind.PROBLEM,
        because: str | None = None,
    ) -> None:
        super().__init__(known, advice)
        self.known = known
        self.because = because
        self.message = known if because is None else f"{known}{because}"
        self.advice = advice
        self.kind = kind

    def __str__(self) -> str:
        return self.message if self.advice is None else f"{self.message}; {self.advice}"
