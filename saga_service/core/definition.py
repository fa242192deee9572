"""What an author lays down: the steps of a saga, what each waits for, and how each is tried, timed and taken back.

These are the validated values that the engine drives; `saga_service.definitions` reads them from Python or YAML and
says what is wrong with them. Times are whole milliseconds throughout the core.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from saga_service.core.retry import ONCE, RetryPolicy
from saga_service.core.vocabulary import Kind, OnUnknown, Task, UndoOrder

Variables = Mapping[str, Any]
"""What an expression may speak of: `input` (the saga's) and `outputs` (by step, of the done ones that come before)."""


class ExpressionFailed(Exception):
    """An expression has no value for this saga; the text says why, for the author."""


class Expression(Protocol):
    """A condition or a mapping in the author's words. Pure: the same variables always give the same value."""

    def evaluate(self, variables: Variables) -> Any:
        """The value, as JSON has it. Raises ExpressionFailed."""
        ...


class Shape(Protocol):
    """What an action is said to return."""

    def misfit(self, output: Mapping[str, Any]) -> str | None:
        """Why this is something else; None where it is not. Tells no values: they may have come encrypted."""
        ...


_MINUTE_MS = 60_000


@dataclass(frozen=True, slots=True, kw_only=True)
class StepDefinition:
    """One step: what does it, when it may begin, and what takes it back where its effect can be undone."""

    name: str
    task: Task = Task.COMMAND
    action: str = ""
    """Of a command its type, of a signal or a child saga its name; nothing for a sleep."""
    compensation: str | None = None
    """The type of the command that undoes it. A child saga undoes itself, and has none."""
    after: tuple[str, ...] | None = None
    """The steps that must be done or left out before; None for the one that stands before it, () for none."""
    when: Expression | None = None
    """The step is left out where this is not true."""
    input: Expression | None = None
    """What the command or the child saga is sent; the saga's own input, and the outputs of all that came before it,
    without one."""
    kind: Kind = Kind.COMPENSATABLE
    retry: RetryPolicy = ONCE
    timeout_ms: int = _MINUTE_MS
    """How long one attempt may go without an answer; of a sleep its length, of a signal the longest wait."""
    heartbeat_ms: int | None = None
    """How long an attempt may go without a sign of life."""
    on_unknown: OnUnknown = OnUnknown.RETRY
    probe: str | None = None
    """The type of the command that asks whether the action happened."""
    compensation_retry: RetryPolicy = ONCE
    compensation_timeout_ms: int = _MINUTE_MS
    default: Mapping[str, Any] | None = None
    """What stands for a signal that does not come in time. Without one the step fails then."""
    output: Shape | None = None
    """What the action returns; anything without one."""

    @property
    def is_undoable(self) -> bool:
        return self.compensation is not None or self.task is Task.CHILD


@dataclass(frozen=True, slots=True)
class Definition:
    """A saga's steps, each after those that it waits for. `version` digests all that steers it: a saga ends on the
    version that it began with."""

    name: str
    version: str
    steps: tuple[StepDefinition, ...]
    deadline_ms: int | None = None
    """From the saga's start: a saga that has neither ended nor passed its pivot by then is undone."""
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


TOMBSTONE = "tombstone"
"""The version of a child saga that was called off before its start came."""


def tombstone(saga: str) -> Definition:
    """What a child saga follows that will never begin: it has no steps, whatever its definition has."""
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
    # A step only ever waits for steps that stand before it, so going backwards each is complete when it is asked for.
    found: list[set[int]] = [set() for _ in predecessors]
    for place in reversed(range(len(predecessors))):
        for before in predecessors[place]:
            found[before] |= {place} | found[place]
    return tuple(frozenset(places) for places in found)
