"""Random walks of small sagas: quick, and wild enough to come through every cell of the tables.

Unlike a `Life` a walk holds no laws. It only has to get everywhere.
"""

from __future__ import annotations

from random import Random
from typing import Any

from saga_service.core.advance import advance
from saga_service.core.definition import Definition, ExpressionFailed, StepDefinition, Variables
from saga_service.core.effects import HistoryEntry
from saga_service.core.events import Event, OperationRequested, Replied, Signalled, TimerDue
from saga_service.core.ids import CommandName
from saga_service.core.retry import RetryPolicy
from saga_service.core.state import Fault, SagaState
from saga_service.core.vocabulary import (
    CHILD,
    COMMAND,
    SIGNAL,
    SLEEP,
    Direction,
    Kind,
    OnUnknown,
    Operation,
    Outcome,
    Resolution,
    Task,
    UndoOrder,
)
from tests.support.builders import NEVER, SAGA_ID, START_MS, sent_attempts, started

EVENTS_MAX = 25
AUTHORS_CODES = frozenset({"declined", "failed"})
"""The codes that workers reply with on a walk."""


class _FailsSometimes:
    """An input mapping that has a value at two evaluations of three."""

    def __init__(self, random: Random) -> None:
        self._random = random

    def evaluate(self, variables: Variables) -> Any:
        if self._random.random() < 1 / 3:
            raise ExpressionFailed("there is no such field")
        return dict(variables["outputs"])


def walk(random: Random) -> list[HistoryEntry]:
    """One saga from its start through whatever happens to it; its history."""
    definition, now_ms = _definition(random), START_MS
    begun = advance(definition, None, started(definition), now_ms)
    state, history = begun.state, list(begun.history)
    for _ in range(EVENTS_MAX):
        assert state is not None, "a saga that was started stays"
        event = _event(random, state)
        if isinstance(event, TimerDue) and random.random() < 0.8:
            now_ms = max(now_ms, state.wake_at_ms or 0)
        elif random.random() < 0.1:
            now_ms += 20
        transition = advance(definition, state, event, now_ms)
        state = transition.state
        history += transition.history
    return history


def _definition(random: Random) -> Definition:
    count = random.choice([1, 2, 3])
    pivot = random.choice([None, None, 0, count - 1, count - 1])
    steps = tuple(_step(random, place, pivot) for place in range(count))
    return Definition("order", "v1", steps, random.choice([None, None, 50]), random.choice(list(UndoOrder)))


def _step(random: Random, place: int, pivot: int | None) -> StepDefinition:
    kind = _kind(random, place, pivot)
    any_task = random.choice([COMMAND, COMMAND, COMMAND, COMMAND, CHILD, SIGNAL, SLEEP])
    task: Task = COMMAND if kind is Kind.PIVOT else any_task
    is_command = task is COMMAND
    return StepDefinition(
        name=f"s{place}",
        task=task,
        action="" if task is SLEEP else "first",
        compensation=random.choice(["undo", "undo", None]) if is_command else None,
        after=random.choice([None, ()]) if place else None,
        when=random.choice([None, None, None, None, None, NEVER]),
        input=random.choice([None, None, _FailsSometimes(random)]),
        kind=kind,
        retry=_policy(random),
        timeout_ms=random.choice([1, 100]),
        heartbeat_ms=random.choice([None, 30]) if is_command else None,
        on_unknown=random.choice(list(OnUnknown)),
        probe="look",
        compensation_retry=_policy(random),
        compensation_timeout_ms=100,
        default={} if kind is Kind.RETRIABLE else random.choice([None, {}]),
    )


def _kind(random: Random, place: int, pivot: int | None) -> Kind:
    if place == pivot:
        return Kind.PIVOT
    if pivot is not None and place > pivot:
        return Kind.RETRIABLE
    return random.choice([Kind.COMPENSATABLE, Kind.COMPENSATABLE, Kind.COMPENSATABLE, Kind.RETRIABLE])


def _policy(random: Random) -> RetryPolicy:
    return RetryPolicy(
        attempts_max=random.choice([1, 2, 3]),
        delay_first_ms=random.choice([0, 10]),
        never_retry=frozenset(random.choice([[], ["declined"], ["timeout"]])),
        budget_ms=random.choice([None, None, 15]),
    )


def _event(random: Random, state: SagaState) -> Event:
    kind = random.random()
    if kind < 0.55:
        return _reply(random, state) or TimerDue(SAGA_ID)
    if kind < 0.8:
        return TimerDue(SAGA_ID)
    if kind < 0.84:
        return Signalled(SAGA_ID, "first", str(random.random()), {})
    operation, name = random.choice(list(Operation)), random.choice(state.steps).name
    return OperationRequested(
        saga_id=SAGA_ID,
        operation=operation,
        actor="ada",
        step=random.choice([name, name, None]),
        resolution=random.choice(list(Resolution)) if operation is Operation.RESOLVE else None,
        output={},
    )


def _reply(random: Random, state: SagaState) -> Replied | None:
    """To any command that was sent; the latest of its kind more often than an earlier one."""
    step, direction = random.choice(state.steps), random.choice(list(Direction))
    sent = sent_attempts(step, direction)
    if not sent:
        return None
    command = CommandName(SAGA_ID, step.name, direction, random.choice([sent, sent, random.randint(1, sent)]))
    outcome = random.choice([*Outcome, Outcome.FAILED])
    if outcome is Outcome.SUCCEEDED:
        if random.random() < 0.2:
            return Replied(command, outcome, {}, Fault("invalid_output", "it cannot be used"))
        return Replied(command, outcome, {"by": command.attempt})
    return Replied(command, outcome, fault=Fault(random.choice(sorted(AUTHORS_CODES)), "no reason"))
