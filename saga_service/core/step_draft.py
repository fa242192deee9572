"""One step of a transition in the making."""

from __future__ import annotations

from saga_service.core.state import Fault, JsonObject, StepState
from saga_service.core.vocabulary import Due, StepStatus


class StepDraft:
    """One step in the making: a rule sets what changes, all else stays as it was."""

    __slots__ = StepState._fields

    name: str
    status: StepStatus
    attempts: int
    compensation_attempts: int
    effect_revision: int | None
    due_at_ms: int | None
    due: Due | None
    unanswered: tuple[int, ...]
    output: JsonObject | None
    fault: Fault | None
    started_at_ms: int | None
    ended_at_ms: int | None
    deadline_ms: int | None
    probes: int
    series_after: int
    series_since_ms: int | None

    def __init__(self, step: StepState) -> None:
        (
            self.name,
            self.status,
            self.attempts,
            self.compensation_attempts,
            self.effect_revision,
            self.due_at_ms,
            self.due,
            self.unanswered,
            self.output,
            self.fault,
            self.started_at_ms,
            self.ended_at_ms,
            self.deadline_ms,
            self.probes,
            self.series_after,
            self.series_since_ms,
        ) = step

    @property
    def in_doubt(self) -> bool:
        return bool(self.unanswered)

    def wait(self, due: Due, until_ms: int) -> None:
        self.due, self.due_at_ms = due, until_ms

    def stop_waiting(self) -> None:
        self.due = self.due_at_ms = self.deadline_ms = None

    def frozen(self) -> StepState:
        # By position, here and below: Python takes twice as long to make an object from names.
        return StepState(
            self.name,
            self.status,
            self.attempts,
            self.compensation_attempts,
            self.effect_revision,
            self.due_at_ms,
            self.due,
            self.unanswered,
            self.output,
            self.fault,
            self.started_at_ms,
            self.ended_at_ms,
            self.deadline_ms,
            self.probes,
            self.series_after,
            self.series_since_ms,
        )


AnyStep = StepState | StepDraft
"""They look alike to whoever only reads."""
