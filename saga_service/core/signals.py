"""Signals from outside: taken by the step that waits for one, or buffered until a step does."""

from __future__ import annotations

from saga_service.core.definition import Definition, StepDefinition
from saga_service.core.draft import Draft, Reaction
from saga_service.core.effects import Transition, refused, repeated
from saga_service.core.events import Signalled
from saga_service.core.machine import react
from saga_service.core.state import SagaState, Signal, StepState
from saga_service.core.transitions import SIGNAL_BUFFERED, Stimulus
from saga_service.core.vocabulary import BACKWARD, ENDED, FAILED, PENDING, SIGNAL, WAITING

SIGNALS_MAX = 1_000
"""The most that one saga keeps, those that were taken included: by their ids repeats are known."""


def signal(definition: Definition, state: SagaState, event: Signalled, now_ms: int) -> Transition:
    """Give the signal to the first step that waits for it. Refused where no step does, or ever will."""
    names = definition.signals
    if event.name not in names:
        known = f"it waits for: {', '.join(names)}" if names else "it waits for none"
        return refused(state, f"saga '{state.saga}' has no step that waits for a signal '{event.name}'; {known}")
    if any(each.id == event.signal_id and each.name == event.name for each in state.signals):
        return repeated(state, "the signal was received already")
    waiting = [place for place, defined in enumerate(definition.steps) if _waits(defined, state.steps[place], event)]
    if state.status in ENDED or state.course is BACKWARD or not waiting:
        return refused(state, f"the saga is {state.status}; no step waits for the signal '{event.name}' any more")
    if len(state.signals) >= SIGNALS_MAX:
        return refused(state, f"the saga has received {SIGNALS_MAX} signals, and takes no more")
    draft = Draft(definition, state, now_ms)
    draft.signals = (*state.signals, Signal(event.name, event.signal_id, event.data))
    for position in waiting:
        if state.steps[position].status is not PENDING:
            return react(Reaction(draft, position, Stimulus.SIGNAL_RECEIVED)) or draft.transition()
    draft.revision += 1
    draft.record(SIGNAL_BUFFERED)
    return draft.transition()


def _waits(defined: StepDefinition, step: StepState, event: Signalled) -> bool:
    """Whether the step waits for the signal or will. A step that failed for want of it takes a late one too."""
    is_its_signal = defined.task is SIGNAL and defined.action == event.name
    return is_its_signal and step.status in (PENDING, WAITING, FAILED)
