"""The words in which a saga is written in Python. YAML has the same ones.

These only hold what was written. It is read and checked when the definitions are loaded, so that every error of every
saga is told at once, and not only the first one of the first module. `check_saga` does the same for one saga in a test.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import timedelta
from typing import Any

from pydantic import BaseModel

Duration = str | int | float | timedelta
"""`"200ms"`, `"30s"`, `"5m"`, `"1h"`, `"7d"`, a timedelta, or a number of seconds."""


@dataclass(frozen=True, kw_only=True)
class Retry:
    """How often a command is tried, and how long to wait between. What is left out has the default of its place.

    As `retry`: 3 attempts, 200ms doubling up to 30s. As `compensation_retry`: 10 attempts, 1s doubling up to 5m, since
    giving up an undo means that a person has to act.
    """

    attempts: int | None = None
    """How often in all, the first time included: 1 to 1000."""
    first_delay: Duration | None = None
    """The wait after the first attempt."""
    factor: float | None = None
    """What each wait is multiplied by for the next one: 1 to 100."""
    max_delay: Duration | None = None
    """No wait is longer."""
    never: Sequence[str] | None = None
    """Error codes after which another attempt is pointless."""


@dataclass(frozen=True)
class Step:
    """One step: the command that does it and, where the effect can be undone, the command that undoes it."""

    name: str
    action: str = field(kw_only=True)
    """The command's type, `service.verb`; it goes to that service's workers."""
    compensation: str | None = field(default=None, kw_only=True)
    """The type of the command that undoes it; None where there is nothing to undo."""
    retry: Retry | None = field(default=None, kw_only=True)
    timeout: Duration | None = field(default=None, kw_only=True)
    """How long one attempt may take before its outcome counts as unknown; 60s by default."""
    compensation_retry: Retry | None = field(default=None, kw_only=True)
    compensation_timeout: Duration | None = field(default=None, kw_only=True)
    """The same for one attempt of the undo; 60s by default."""


@dataclass(frozen=True, kw_only=True)
class Trigger:
    """What else starts the saga: a further event type on the common stream, or another stream's entries as they are."""

    event_type: str | None = None
    stream: str | None = None
    """A stream of flat fields, which become the saga's input."""
    group: str | None = None
    """The consumer group to read that stream in; the service's own by default."""


@dataclass(frozen=True)
class Saga:
    """A saga. An event of its own name on the common stream starts it; triggers add other ways."""

    name: str
    steps: Sequence[Step] = field(kw_only=True)
    """In the order in which they are done; they are undone in reverse."""
    input: type[BaseModel] | Mapping[str, Any] | None = field(default=None, kw_only=True)
    """A pydantic model or a JSON Schema; any JSON object where there is none."""
    key: str | None = field(default=None, kw_only=True)
    """The input's property by which the outside knows the saga: two starts with the same one are the same saga."""
    triggers: Sequence[Trigger] = field(default=(), kw_only=True)


def as_written(value: object) -> object:
    """What an author wrote, as the mapping that YAML would have given; what was left out is absent."""
    match value:
        case Saga() | Step() | Retry() | Trigger():
            given = ((part.name, getattr(value, part.name)) for part in fields(value))
            return {name: as_written(part) for name, part in given if part is not None and part != ()}
        case list() | tuple() | set() | frozenset():
            return [as_written(part) for part in value]
        case _:
            return value
