"""What somebody outside tells a saga: taken by the step that waits for it, or kept until one does."""

from __future__ import annotations

from saga_service.core.definition import Definition
from saga_service.core.draft import Draft
from saga_service.core.effects import Transition, refused, repeated
from saga_service.core.events import Signalled
from saga_service.core.reaction import Reaction
from saga_service.core.rules import react
from saga_service.core.state import ENDED, Course, SagaState, Signal, StepStatus
from saga_service.core.transitions import Stimulus

SIGNALS_MAX = 1_000
"""Kept for one saga, those that were taken included: by them repeats are known."""


def signal(definition: Definition, state: SagaState, event: Signalled, now_ms: int) -> Transition:
    names = definition.signals
    if event.name not in names:
        known = f"it waits for: {', '.join(names)}" if names else "it waits for none"
        return refused(state, f"saga '{state.saga}' has no step that waits for a signal '{event.name}'; {known}")
    if any(known.id == event.signal_id and known.name == event.name for known in state.signals):
        return repeated(state, "the signal was received already")
    if state.status in ENDED or state.course is Course.BACKWARD:
        return refused(state, f"the saga is {state.status}; no step waits for the signal '{event.name}' any more")
    if len(state.signals) >= SIGNALS_MAX:
        return refused(state, f"the saga has received {SIGNALS_MAX} signals, and takes no more")
    draft = Draft(definition, state, now_ms)
    draft.signals = (*state.signals, Signal(event.name, event.signal_id, event.data))
    for position, step in enumerate(state.steps):
        if step.status is StepStatus.WAITING and definition.steps[position].action == event.name:
            return react(Reaction(draft, position, Stimulus.SIGNALLED)) or draft.transition()
    draft.revision += 1
    draft.record("signal_kept")
    return draft.transition()
