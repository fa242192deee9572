"""The core's answer to what a person might say of a saga, before it is said."""

from __future__ import annotations

from saga_service.core.advance import advance
from saga_service.core.definition import Definition
from saga_service.core.effects import Transition
from saga_service.core.events import Asked, Resolution, Verb
from saga_service.core.look import is_parked
from saga_service.core.state import Course, SagaState, StepState, StepStatus


class AskedInAdvance:
    """What would come of a person's word, were it said now. Nothing comes of asking."""

    def __init__(self, definition: Definition, state: SagaState, now_ms: int) -> None:
        self.state = state
        self._definition = definition
        self._now_ms = now_ms

    def needs_a_person(self, step: StepState) -> bool:
        if self.state.course is Course.BACKWARD:
            return step.status is StepStatus.COMPENSATION_FAILED
        return is_parked(step)

    def to(self, verb: Verb, step: str | None = None, resolution: Resolution | None = None) -> Transition:
        word = Asked(saga_id=self.state.id, verb=verb, actor="", step=step, resolution=resolution)
        return advance(self._definition, self.state, word, self._now_ms)
