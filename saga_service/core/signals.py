"""Signals from outside: taken by the step that waits for one, or buffered until a step does.

A signal is for every wait of its name, or for the one step that it names. It must fit what some such wait declares: a
signal that fits none is refused, and the saga waits on. A wait takes the oldest signal that is for it and fits it.
"""

from __future__ import annotations

from collections.abc import Sequence

from saga_service.core.definition import Definition
from saga_service.core.draft import Draft, Reaction
from saga_service.core.effects import Transition, refused, repeated
from saga_service.core.events import Signalled
from saga_service.core.machine import react
from saga_service.core.refusals import refusal_ended
from saga_service.core.state import SagaState, Signal
from saga_service.core.transitions import SIGNAL_BUFFERED, Stimulus
from saga_service.core.vocabulary import BACKWARD, ENDED, FAILED, PENDING, SIGNAL, WAITING

SIGNALS_MAX = 1_000
"""The most that one saga keeps, those that were taken included: by their ids repeats are known."""
BUFFERED_BYTES_MAX = 1_048_576
"""The most data that one saga keeps of signals that no step has taken. A single signal may have more."""

_MAY_TAKE = (PENDING, WAITING, FAILED)
"""The statuses of a step that takes a signal, or will. A step that failed for want of it takes a late one too."""


def signal(definition: Definition, state: SagaState, event: Signalled, now_ms: int) -> Transition:
    """Give the signal to the first step that waits for it. Refused where no step does, or ever will."""
    waits = [place for place, step in enumerate(definition.steps) if step.task is SIGNAL and step.action == event.name]
    if event.step is not None and waits:
        waits = [place for place in waits if definition.steps[place].name == event.step]
    if not waits:
        return refused(state, _nobody_waits(definition, event))
    if any(each.id == event.signal_id and each.name == event.name for each in state.signals):
        return repeated(state, "the signal was received already")
    waiting = [place for place in waits if state.steps[place].status in _MAY_TAKE]
    if state.status in ENDED or state.course is BACKWARD or not waiting:
        return refused(state, _too_late(definition, state, waits, event))
    misfits = {place: definition.steps[place].misfit(event.data) for place in waiting}
    fitting = [place for place in waiting if misfits[place] is None]
    if not fitting:
        name = definition.steps[waiting[0]].name
        return refused(
            state, f"the data of the signal '{event.name}' does not fit step '{name}': {misfits[waiting[0]]}"
        )
    return _take(definition, state, event, fitting, now_ms)


def _nobody_waits(definition: Definition, event: Signalled) -> str:
    waits = [step.name for step in definition.steps if step.task is SIGNAL and step.action == event.name]
    if event.step is not None and waits:
        which = f"no step '{event.step}' that waits for a signal '{event.name}'"
        return f"saga '{definition.name}' has {which}; such steps: {', '.join(waits)}"
    names = definition.signals
    known = f"it waits for: {', '.join(names)}" if names else "it waits for none"
    return f"saga '{definition.name}' has no step that waits for a signal '{event.name}'; {known}"


def _too_late(definition: Definition, state: SagaState, waits: Sequence[int], event: Signalled) -> str:
    if state.status in ENDED:
        return f"no step waits for the signal '{event.name}' any more: {refusal_ended(definition, state)}"
    if event.step is None:
        return f"the saga is {state.status}; no step waits for the signal '{event.name}' any more"
    step = state.steps[waits[0]]
    return f"the saga is {state.status}, and step '{step.name}' is {step.status}: it takes no signal any more"


def _take(
    definition: Definition, state: SagaState, event: Signalled, fitting: Sequence[int], now_ms: int
) -> Transition:
    if len(state.signals) >= SIGNALS_MAX:
        return refused(state, f"the saga has received {SIGNALS_MAX} signals, and takes no more")
    draft = Draft(definition, state, now_ms)
    draft.signals = (*state.signals, Signal(event.name, event.signal_id, event.data, event.step, event.data_bytes))
    for position in fitting:
        if state.steps[position].status is not PENDING:
            return react(_received(draft, position, event)) or draft.transition()
    buffered_bytes = sum(each.data_bytes for each in state.signals)
    if buffered_bytes and buffered_bytes + event.data_bytes > BUFFERED_BYTES_MAX:
        return refused(
            state,
            f"the saga keeps {buffered_bytes:,} bytes of signals that no step has taken yet, and with this one they "
            f"would be more than {BUFFERED_BYTES_MAX:,}; send it once the step waits for it, or send less",
        )
    draft.revision += 1
    draft.record(SIGNAL_BUFFERED, actor=event.actor)
    return draft.transition()


def _received(draft: Draft, position: int, event: Signalled) -> Reaction:
    return Reaction(draft, position, Stimulus.SIGNAL_RECEIVED, actor=event.actor)
