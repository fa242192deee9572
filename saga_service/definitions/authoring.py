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


Constant = str | int | float | bool | None
Mapped = Constant | Sequence["Mapped"] | Mapping[str, "Mapped"]
"""What a step is sent: a text is an expression, `"'web'"` a constant text, and all else is itself."""


@dataclass(frozen=True, kw_only=True)
class Retry:
    """How often a command is tried, and how long to wait between. What is left out has the default of its place.

    As `retry`: 3 attempts, 200ms doubling up to 30s; of a retriable step 1000 attempts, up to 5m; of a child saga one
    attempt. As `compensation_retry`: 10 attempts, 1s doubling up to 5m, since giving up an undo means that a person has
    to act.
    """

    attempts: int | None = None
    """How often in all, the first time included: 1 to 1000."""
    first_delay: Duration | None = None
    """The wait after the first attempt."""
    factor: float | None = None
    """What each wait is multiplied by for the next one: 1 to 100."""
    max_delay: Duration | None = None
    """No wait is longer."""
    jitter: bool | None = None
    """Whether each wait is a part of that, as by chance, so that what failed together is not tried again together; it
    is by default."""
    budget: Duration | None = None
    """From the first attempt on: an attempt that could not begin within it is not made. No limit by default."""
    never: Sequence[str] | None = None
    """Error codes after which another attempt is pointless."""


@dataclass(frozen=True)
class Step:
    """One step. It is a command to a worker, a sleep, a wait for a signal or a child saga: exactly one of `action`,
    `sleep`, `signal` and `saga` is given, and some of the other words belong to some of the four alone."""

    name: str
    action: str | None = field(default=None, kw_only=True)
    """The command's type, `service.verb`; it goes to that service's workers."""
    sleep: Duration | None = field(default=None, kw_only=True)
    """How long to wait."""
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
    """An expression: the step is left out where it is false."""
    input: Mapping[str, Mapped] | None = field(default=None, kw_only=True)
    """What the command or the child saga is sent. By default the saga's own input, for a command with all outputs."""
    kind: str | None = field(default=None, kw_only=True)
    """`"compensatable"`, which is the default; `"pivot"`: once it is done, the saga only goes forward; or
    `"retriable"`: it is tried until it is done."""
    retry: Retry | None = field(default=None, kw_only=True)
    timeout: Duration | None = field(default=None, kw_only=True)
    """How long one attempt may take before its outcome counts as unknown, 60s by default; of a signal the longest wait,
    and of a child saga the longest run, 7d by default."""
    heartbeat: Duration | None = field(default=None, kw_only=True)
    """How long an attempt may go without a sign of life, less than the timeout."""
    on_unknown: str | None = field(default=None, kw_only=True)
    """What is done about an attempt that never answered: `"retry"`, which is the default, `"probe"`, `"compensate"` or
    `"hold"`, the default of a pivot and of a child saga."""
    probe: str | None = field(default=None, kw_only=True)
    """The type of the command that asks whether the action happened, for `on_unknown="probe"`."""
    compensation_retry: Retry | None = field(default=None, kw_only=True)
    compensation_timeout: Duration | None = field(default=None, kw_only=True)
    """The same for one attempt of the undo; 60s by default, of a child saga 7d."""
    default: Mapping[str, Any] | None = field(default=None, kw_only=True)
    """What stands for a signal that does not come in time. Without it the step fails then, with the code
    `signal_timed_out`."""
    output: type[BaseModel] | Mapping[str, Any] | None = field(default=None, kw_only=True)
    """What the action returns, a pydantic model or a JSON Schema: expressions are checked by it when the definition is
    read, and what workers answer while sagas run. Anything by default."""


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
    """Each after the one that stands before it, where it does not say what it waits for."""
    input: type[BaseModel] | Mapping[str, Any] | None = field(default=None, kw_only=True)
    """A pydantic model or a JSON Schema; any JSON object where there is none."""
    key: str | None = field(default=None, kw_only=True)
    """The input's property by which the outside knows the saga: two starts with the same one are the same saga."""
    triggers: Sequence[Trigger] = field(default=(), kw_only=True)
    deadline: Duration | None = field(default=None, kw_only=True)
    """From the saga's start: a saga that has neither ended nor passed its pivot by then is undone."""
    undo: str | None = field(default=None, kw_only=True)
    """`"reverse"`, which is the default: one step at a time, exactly as they came, backwards. `"parallel"`: a step as
    soon as all that came after it is undone."""


def as_mapping(value: object) -> object:
    """What an author wrote, as the mapping that YAML would have given; what was left out is absent."""
    match value:
        case Saga() | Step() | Retry() | Trigger():
            given = ((part.name, getattr(value, part.name)) for part in fields(value))
            return {name: as_mapping(part) for name, part in given if part is not None}
        case list() | tuple() | set() | frozenset():
            return [as_mapping(part) for part in value]
        case dict():
            return {name: as_mapping(part) for name, part in value.items()}
        case _:
            return value
