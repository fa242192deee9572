"""The definition of a saga: its steps, what each waits for, and how each is tried, timed and undone.

The values here are valid: `saga_service.definitions` reads them from Python or YAML and reports what is wrong with
them. Times are whole milliseconds throughout the core.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from saga_service.core.retry import ONCE, RetryPolicy
from saga_service.core.vocabulary import Kind, OnError, OnUnknown, Task, UndoOrder

Variables = Mapping[str, Any]
"""The variables of an expression: the saga's `input`, and the `outputs` by name of the steps before it."""


class ExpressionFailed(Exception):
    """An expression has no value for this saga. The text tells the author why."""


class Expression(Protocol):
    """A condition or a mapping in the author's words. Pure: the same variables always give the same value."""

    def evaluate(self, variables: Variables) -> Any:
        """The value, as JSON has it. Raises ExpressionFailed."""
        ...


class OutputMisfit(Exception):
    """An output does not have the form that its step declares. The text quotes no values: they may be secret."""


class Shape(Protocol):
    """The declared form of a step's output."""

    def read(self, output: Mapping[str, Any]) -> Mapping[str, Any]:
        """The output as it is kept: with its defaults, and with numbers in the declared types. Raises OutputMisfit."""
        ...


_MINUTE_MS = 60_000


@dataclass(frozen=True, slots=True, kw_only=True)
class StepDefinition:
    """One step: what does it, when it may begin, and what undoes it."""

    name: str
    task: Task = Task.COMMAND
    action: str = ""
    """A command's type, or the name of a signal or a child saga; empty for a sleep."""
    compensation: str | None = None
    """The type of the command that undoes it. A child saga undoes itself, and has none."""
    after: tuple[str, ...] | None = None
    """The steps that must be done or skipped before it. None means the step before it in `steps`; () means none."""
    when: Expression | None = None
    """The step is skipped where this is not true."""
    input: Expression | None = None
    """The input of the step's command or child saga. Without a mapping: the saga's own input, and the outputs of all
    steps before it."""
    kind: Kind = Kind.COMPENSATABLE
    retry: RetryPolicy = ONCE
    timeout_ms: int = _MINUTE_MS
    """The longest time without a reply to one attempt; the length of a sleep; the longest wait for a signal."""
    heartbeat_ms: int | None = None
    """The longest time without a sign of life, from the first sign on."""
    on_unknown: OnUnknown = OnUnknown.RETRY
    on_error: OnError = OnError.FAILED
    """The meaning of an unforeseen exception of the action's handler."""
    probe: str | None = None
    """The type of the command that asks whether the action happened."""
    compensation_retry: RetryPolicy = ONCE
    compensation_timeout_ms: int = _MINUTE_MS
    default: Mapping[str, Any] | None = None
    """The output where a signal does not come in time. Without a default the step fails then."""
    output: Shape | None = None
    """The form of what the action returns, or of a signal's data; anything without one."""

    @property
    def is_undoable(self) -> bool:
        return self.compensation is not None or self.task is Task.CHILD

    def read_output(self, output: Mapping[str, Any]) -> Mapping[str, Any]:
        """The output as it is kept. Raises OutputMisfit."""
        return output if self.output is None else self.output.read(output)

    def misfit(self, output: Mapping[str, Any]) -> str | None:
        """The reason why an output does not fit; None where it does."""
        try:
            self.read_output(output)
        except OutputMisfit as misfit:
            return str(misfit)
        return None


@dataclass(frozen=True, slots=True)
class Definition:
    """A saga's steps, each after those that it waits for.

    `version` is a digest of all that steers the saga. A saga ends on the version that it began with.
    """

    name: str
    version: str
    steps: tuple[StepDefinition, ...]
    deadline_ms: int | None = None
    """Counted from the saga's start. A saga that has neither ended nor passed its pivot by then is undone."""
    undo: UndoOrder = UndoOrder.REVERSE
    positions: Mapping[str, int] = field(init=False, repr=False, compare=False)
    """Each step's place in `steps`, by name."""
    predecessors: tuple[tuple[int, ...], ...] = field(init=False, repr=False, compare=False)
    """The places of the steps that each step waits for."""
    ancestors: tuple[tuple[int, ...], ...] = field(init=False, repr=False, compare=False)
    """The places of all steps that each step waits for, directly or not, in their order."""
    descendants: tuple[frozenset[int], ...] = field(init=False, repr=False, compare=False)
    """The places of all steps that wait for each step, directly or not."""
    pivot: int | None = field(init=False, repr=False, compare=False)
    has_children: bool = field(init=False, repr=False, compare=False)
    """Whether any step is done by another saga."""

    @property
    def signals(self) -> list[str]:
        """The names of the signals that some step waits for, each once."""
        return list(dict.fromkeys(step.action for step in self.steps if step.task is Task.SIGNAL))

    def __post_init__(self) -> None:
        positions = {step.name: position for position, step in enumerate(self.steps)}
        predecessors = tuple(_predecessors(step, place, positions) for place, step in enumerate(self.steps))
        pivots = [place for place, step in enumerate(self.steps) if step.kind is Kind.PIVOT]
        object.__setattr__(self, "positions", positions)
        object.__setattr__(self, "predecessors", predecessors)
        object.__setattr__(self, "ancestors", _ancestors(predecessors))
        object.__setattr__(self, "descendants", _descendants(predecessors))
        object.__setattr__(self, "pivot", pivots[0] if pivots else None)
        object.__setattr__(self, "has_children", any(step.task is Task.CHILD for step in self.steps))


TOMBSTONE = "tombstone"
"""The version of a saga that takes the place of a child whose start never came."""


def tombstone(saga: str) -> Definition:
    """The definition of a child saga that will never begin. It has no steps, whatever the real definition has."""
    return Definition(saga, TOMBSTONE, ())


def _predecessors(step: StepDefinition, place: int, positions: Mapping[str, int]) -> tuple[int, ...]:
    if step.after is None:
        return (place - 1,) if place else ()
    return tuple(sorted(positions[name] for name in step.after))


def _ancestors(predecessors: tuple[tuple[int, ...], ...]) -> tuple[tuple[int, ...], ...]:
    found: list[set[int]] = []
    for before in predecessors:
        found.append(set(before).union(*(found[place] for place in before)))
    return tuple(tuple(sorted(places)) for places in found)


def _descendants(predecessors: tuple[tuple[int, ...], ...]) -> tuple[frozenset[int], ...]:
    # A step only waits for steps before it, so that going backwards each set is complete when it is read.
    found: list[set[int]] = [set() for _ in predecessors]
    for place in reversed(range(len(predecessors))):
        for before in predecessors[place]:
            found[before] |= {place} | found[place]
    return tuple(frozenset(places) for places in found)
