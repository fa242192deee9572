"""The classes in which a saga is written in Python. YAML has the same keywords.

The classes only hold what was written. Definitions are checked when they are loaded, so that every error of every saga
is reported at once, and not the first one of the first module alone. `check_saga` checks one saga, in an author's test.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import timedelta
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel

Duration = str | int | float | timedelta
"""`"200ms"`, `"30s"`, `"5m"`, `"1h"`, `"7d"`, a timedelta, or a number of seconds."""


Constant = str | int | float | bool | None
Mapped = Constant | Sequence["Mapped"] | Mapping[str, "Mapped"]
"""A part of a step's `input`: a text is an expression, `"'web'"` a constant text, and anything else is itself."""


class WrittenAt(NamedTuple):
    """The place in a module at which an object was written."""

    file: str
    line: int


class _Written:
    """Keeps the place at which it was made, which errors name."""

    def __post_init__(self) -> None:
        frame = sys._getframe(1)
        while frame.f_back is not None and frame.f_code.co_filename in (__file__, "<string>"):
            frame = frame.f_back
        # No field of the dataclass: two sagas that say the same are equal wherever they stand.
        object.__setattr__(self, "_written_at", WrittenAt(frame.f_code.co_filename, frame.f_lineno))


def written_at(value: object) -> WrittenAt | None:
    """The place at which a Saga, or a part of one, was made; None for any other value."""
    return getattr(value, "_written_at", None)


@dataclass(frozen=True, kw_only=True)
class Retry(_Written):
    """How often a command is tried, and the waits between the attempts. Each place has its own defaults.

    As `retry`: 3 attempts, 200ms doubling up to 30s; of a retriable step 1000 attempts, up to 5m; of a child saga one
    attempt. As `compensation_retry`: 10 attempts, 1s doubling up to 5m, because a compensation that is given up has to
    be taken on by a person.
    """

    attempts: int | None = None
    """How often in all, the first time included: 1 to 1000."""
    first_delay: Duration | None = None
    """The wait after the first attempt."""
    factor: float | None = None
    """The number by which each wait is multiplied for the next one: 1 to 100."""
    max_delay: Duration | None = None
    """No wait is longer."""
    jitter: bool | None = None
    """Each wait is a random part of that, so that commands which failed together are not tried again together; true by
    default."""
    budget: Duration | None = None
    """The time since the first attempt after which no other begins. No limit by default."""
    never: Sequence[str] | None = None
    """Error codes after which another attempt is pointless."""


@dataclass(frozen=True)
class Step(_Written):
    """One step: a command to a worker, a sleep, a wait for a signal, or a child saga.

    Exactly one of `action`, `sleep`, `signal` and `saga` is given, and decides which other keywords the step may have.
    """

    name: str
    action: str | None = field(default=None, kw_only=True)
    """The command's type, `service.verb`; it goes to that service's workers."""
    sleep: Duration | None = field(default=None, kw_only=True)
    """The length of the wait."""
    signal: str | None = field(default=None, kw_only=True)
    """The name of the signal to wait for: the type of an event that names this saga."""
    saga: str | None = field(default=None, kw_only=True)
    """The name of the child saga. It is undone when this saga is."""
    compensation: str | None = field(default=None, kw_only=True)
    """The type of the command that undoes an action; None where there is nothing to undo."""
    after: str | Sequence[str] | None = field(default=None, kw_only=True)
    """The step or steps that this one waits for, each standing before it; `[]` for none. By default the one that stands
    right before it."""
    when: str | None = field(default=None, kw_only=True)
    """An expression: the step is skipped where it is false."""
    input: Mapping[str, Mapped] | None = field(default=None, kw_only=True)
    """The input of the command or child saga. By default the saga's own, and for a command all outputs with it."""
    kind: Literal["compensatable", "pivot", "retriable"] | None = field(default=None, kw_only=True)
    """`"compensatable"`, which is the default; `"pivot"`: once it is done, the saga only goes forward; or
    `"retriable"`: it is tried until it is done."""
    retry: Retry | None = field(default=None, kw_only=True)
    timeout: Duration | None = field(default=None, kw_only=True)
    """The time that one attempt may take before its outcome counts as unknown, 60s by default; of a signal the longest
    wait, and of a child saga the longest run, both 7d by default."""
    heartbeat: Duration | None = field(default=None, kw_only=True)
    """The time that an attempt may go without a sign of life. It is less than the timeout."""
    on_unknown: Literal["retry", "probe", "compensate", "hold"] | None = field(default=None, kw_only=True)
    """The reaction to an attempt that never answered: `"retry"`, the default, `"probe"`, `"compensate"` or `"hold"`,
    the default of a pivot and of a child saga."""
    on_error: Literal["failed", "unknown"] | None = field(default=None, kw_only=True)
    """The meaning of an exception of the action's handler that is none of `Rejected`, `Retryable` and `Unknown`:
    `"failed"`, it did not happen; or `"unknown"`, it may have happened, so that the undo is sent in the end. By default
    `"unknown"` where the step has a compensation."""
    probe: str | None = field(default=None, kw_only=True)
    """The type of the command that asks whether the action happened, for `on_unknown="probe"`."""
    compensation_retry: Retry | None = field(default=None, kw_only=True)
    compensation_timeout: Duration | None = field(default=None, kw_only=True)
    """The time that one attempt of the compensation may take; 60s by default, of a child saga 7d."""
    default: Mapping[str, Any] | None = field(default=None, kw_only=True)
    """The output of a signal that does not come in time. Without one the step fails then, with the code
    `signal_timed_out`."""
    output: type[BaseModel] | Mapping[str, Any] | None = field(default=None, kw_only=True)
    """The schema of what the action returns, or of the signal's data: a pydantic model or a JSON Schema. Expressions
    are checked by it when the definition is read, and outputs are read by it while sagas run. Any JSON object by
    default."""
    description: str | None = field(default=None, kw_only=True)
    """A text for people. It changes nothing, not even the definition's version."""


@dataclass(frozen=True, kw_only=True)
class Defaults(_Written):
    """What the saga's commands have where they say nothing themselves. A `Retry` is completed keyword by keyword.

    A retriable step keeps its own number of attempts, and waits for signals and child saga their own timeouts.
    """

    retry: Retry | None = None
    timeout: Duration | None = None
    """The time that one attempt may take."""
    compensation_retry: Retry | None = None
    compensation_timeout: Duration | None = None
    """The time that one attempt of a compensation may take."""


@dataclass(frozen=True, kw_only=True)
class Trigger(_Written):
    """Another way to start the saga: a further event type on the common stream, or the entries of another stream."""

    event_type: str | None = None
    stream: str | None = None
    """A stream of flat fields, which become the saga's input."""
    group: str | None = None
    """The consumer group to read that stream in; the service's own by default."""


@dataclass(frozen=True)
class Saga(_Written):
    """A saga. An event of its own name on the common stream starts it; triggers add other ways."""

    name: str
    steps: Sequence[Step] = field(kw_only=True)
    """The steps. Each waits for the one before it, unless its `after` names others."""
    input: type[BaseModel] | Mapping[str, Any] | None = field(default=None, kw_only=True)
    """A pydantic model or a JSON Schema; any JSON object where there is none."""
    key: str | None = field(default=None, kw_only=True)
    """The input's property by which the outside knows the saga: two starts with the same one are the same saga."""
    triggers: Sequence[Trigger] = field(default=(), kw_only=True)
    deadline: Duration | None = field(default=None, kw_only=True)
    """The time from the saga's start after which it is compensated, unless it has ended or passed its pivot."""
    undo: Literal["reverse", "parallel"] | None = field(default=None, kw_only=True)
    """The order of compensation. `"reverse"`, the default: one step at a time, exactly backwards. `"parallel"`: each
    step as soon as all that came after it is undone."""
    defaults: Defaults | None = field(default=None, kw_only=True)
    """What the saga's commands have where they say nothing themselves."""
    description: str | None = field(default=None, kw_only=True)
    """A text for people. It changes nothing, not even the definition's version."""


def as_mapping(value: object) -> object:
    """The author's objects as the mappings that YAML would have given; what was left out is absent."""
    match value:
        case Saga() | Step() | Retry() | Trigger() | Defaults():
            given = ((part.name, getattr(value, part.name)) for part in fields(value))
            return {name: as_mapping(part) for name, part in given if part is not None}
        case list() | tuple() | set() | frozenset():
            return [as_mapping(part) for part in value]
        case dict():
            return {name: as_mapping(part) for name, part in value.items()}
        case _:
            return value
