"""What somebody outside tells a saga: taken by the step that waits for it, or kept until one does."""

from __future__ import annotations

from saga_service.core.definition import Definition, StepDefinition
from saga_service.core.draft import Draft
from saga_service.core.effects import Transition, refused, repeated
from saga_service.core.events import Signalled
from saga_service.core.reaction import Reaction
from saga_service.core.rules import react
from saga_service.core.state import SagaState, Signal, StepState
from saga_service.core.transitions import Stimulus
from saga_service.core.vocabulary import ENDED, Course, StepStatus, Task

SIGNALS_MAX = 1_000
"""Kept for one saga, those that were taken included: by them repeats are known."""


def signal(definition: Definition, state: SagaState, event: Signalled, now_ms: int) -> Transition:
    names = definition.signals
    if event.name not in names:
        known = f"it waits for: {', '.join(names)}" if names else "it waits for none"
        return refused(state, f"saga '{state.saga}' has no step that waits for a signal '{event.name}'; {known}")
    if any(known.id == event.signal_id and known.name == event.name for known in state.signals):
        return repeated(state, "the signal was received already")
    waiting = [place for place, defined in enumerate(definition.steps) if _waits(defined, state.steps[place], event)]
    if state.status in ENDED or state.course is Course.BACKWARD or not waiting:
        return refused(state, f"the saga is {state.status}; no step waits for the signal '{event.name}' any more")
    if len(state.signals) >= SIGNALS_MAX:
        return refused(state, f"the saga has received {SIGNALS_MAX} signals, and takes no more")
    draft = Draft(definition, state, now_ms)
    draft.signals = (*state.signals, Signal(event.name, event.signal_id, event.data))
    for position in waiting:
        if state.steps[position].status is not StepStatus.PENDING:
            return react(Reaction(draft, position, Stimulus.SIGNALLED)) or draft.transition()
    draft.revision += 1
    draft.record("signal_kept")
    return draft.transition()


def _waits(defined: StepDefinition, step: StepState, event: Signalled) -> bool:
    """Or will: one that is late is taken as well, by a step that nothing else has happened to since."""
    is_for_it = defined.task is Task.SIGNAL and defined.action == event.name
    return is_for_it and step.status in (StepStatus.PENDING, StepStatus.WAITING, StepStatus.FAILED)
