"""What reached one step of a saga, as its rule sees it."""

from __future__ import annotations

from saga_service.core.definition import StepDefinition
from saga_service.core.draft import Draft
from saga_service.core.state import Fault, JsonObject
from saga_service.core.step_draft import StepDraft
from saga_service.core.transitions import Stimulus

TIMED_OUT = Fault("timeout", "no reply came before the deadline; it may or may not have happened")
SILENT = Fault("heartbeat_timeout", "no sign of life came in time; it may or may not have happened")
NO_SIGNAL = Fault("signal_timed_out", "the signal did not come in time")
NOBODY_KNOWS = Fault("outcome_unknown", "nobody could say whether it happened")
NO_REASON = Fault("failed", "the worker gave no reason")


class Reaction:
    """What a rule has to work with: the draft, the step's place, and what was said."""

    __slots__ = ("actor", "attempt", "draft", "fault", "output", "position", "reason", "retry_after_ms", "stimulus")

    def __init__(
        self,
        draft: Draft,
        position: int,
        stimulus: Stimulus,
        attempt: int | None = None,
        output: JsonObject | None = None,
        fault: Fault | None = None,
        retry_after_ms: int | None = None,
        actor: str | None = None,
        reason: str | None = None,
    ) -> None:
        self.draft = draft
        self.position = position
        self.stimulus = stimulus
        self.attempt = attempt
        self.output = output
        self.fault = fault
        self.retry_after_ms = retry_after_ms
        self.actor = actor
        self.reason = reason

    def step(self) -> StepDraft:
        """The step, to be changed."""
        return self.draft.open(self.position)

    def defined(self) -> StepDefinition:
        return self.draft.definition.steps[self.position]
