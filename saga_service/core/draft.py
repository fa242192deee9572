"""One transition in the making: the next state, and the messages and history that go with it."""

from __future__ import annotations

from typing import NamedTuple

from saga_service.core.child_repeats import next_repeat_ms, repeated_since_ms
from saga_service.core.definition import Definition, StepDefinition
from saga_service.core.effects import HistoryEntry, Sent, Transition
from saga_service.core.outgoing import news_of_end, reply_to_parent
from saga_service.core.pivot import has_passed_pivot
from saga_service.core.state import Fault, JsonObject, SagaState, StepState
from saga_service.core.transitions import Stimulus
from saga_service.core.vocabulary import (
    APPLIED,
    BACKWARD,
    DUE_PROBE_RETRY,
    DUE_RETRY,
    ENDED,
    FORWARD,
    SAGA_PAUSED,
    Direction,
    Due,
    SagaStatus,
)


class Note(NamedTuple):
    """A line of history of a step that an evaluation changed."""

    event: str
    step: str
    fault: Fault | None
    sent_before: int
    """The number of commands that were sent before it."""
    status_before: SagaStatus
    """The saga's status until then."""


_STATUS_ON = {FORWARD: SagaStatus.RUNNING, BACKWARD: SagaStatus.COMPENSATING}


class Draft:
    """The state that the rules change, and the messages and lines of history that go with it.

    `transition` makes it final. A draft lives for one call of `advance`.
    """

    __slots__ = (
        "before",
        "commands",
        "course",
        "deadline_ms",
        "definition",
        "fault",
        "history",
        "notes",
        "now_ms",
        "parent",
        "revision",
        "signals",
        "status",
        "steps",
    )

    def __init__(self, definition: Definition, state: SagaState, now_ms: int) -> None:
        self.definition = definition
        self.before = state
        self.now_ms = now_ms
        self.revision = state.revision
        self.status = state.status
        self.course = state.course
        self.fault = state.fault
        self.deadline_ms = state.deadline_ms
        self.signals = state.signals
        self.parent = state.parent
        self.steps = list(state.steps)
        self.commands: list[Sent] = []
        self.history: list[HistoryEntry] = []
        self.notes: list[Note] = []

    def record(
        self,
        event: str,
        step: str | None = None,
        direction: Direction | None = None,
        attempt: int | None = None,
        fault: Fault | None = None,
        sent_from: int = 0,
        actor: str | None = None,
        reason: str | None = None,
    ) -> None:
        """Write a line of history. The commands from `sent_from` on were sent because of this event.

        Notes on other steps get lines, and revisions, of their own after it. Each line has the commands that were sent
        before the next one, and the saga's status by then, so that no consequence stands before its cause.
        """
        notes, commands = self.notes, self.commands
        sent = tuple(commands[sent_from : notes[0].sent_before] if notes else commands[sent_from:])
        self.history.append(
            HistoryEntry(
                self.before.id,
                self.revision,
                self.now_ms,
                event,
                notes[0].status_before if notes else self.status,
                step,
                direction,
                attempt,
                fault,
                sent,
                actor,
                reason,
            )
        )
        if notes:
            self._record_notes()

    def _record_notes(self) -> None:
        commands = self.commands
        ends = [(note.sent_before, note.status_before) for note in self.notes[1:]] + [(len(commands), self.status)]
        for note, (sent_until, status) in zip(self.notes, ends, strict=True):
            self.revision += 1
            sent = tuple(commands[note.sent_before : sent_until])
            self.history.append(
                HistoryEntry(
                    self.before.id,
                    self.revision,
                    self.now_ms,
                    note.event,
                    status,
                    note.step,
                    None,
                    None,
                    note.fault,
                    sent,
                )
            )
        self.notes.clear()

    def note(self, event: str, step: str, fault: Fault | None = None) -> None:
        """Keep what an evaluation did to a step for a line after the one that is being made."""
        # The saga's own status is set when its evaluation is over, and a paused saga is not evaluated.
        status = self.status if self.status is SAGA_PAUSED else _STATUS_ON[self.course]
        self.notes.append(Note(event, step, fault, len(self.commands), status))

    def transition(self, *, timer: bool = False) -> Transition:
        """The final transition. Only a `timer` may move `wake_at_ms` to a later moment."""
        before, status = self.before, self.status
        over = status in ENDED
        ends_now = over and before.status is not status
        state = SagaState(
            before.id,
            before.saga,
            before.version,
            before.key,
            status,
            self.revision,
            before.input,
            tuple(self.steps),
            before.created_at_ms,
            self.now_ms if self.history else before.updated_at_ms,
            (self.now_ms if ends_now else before.ended_at_ms) if over else None,
            None if over else self._wake_at_ms(timer),
            self.fault,
            before.traceparent,
            self.course,
            self.deadline_ms,
            self.signals,
            self.parent,
        )
        news, reply = (news_of_end(state), reply_to_parent(state)) if ends_now else (None, None)
        return Transition(APPLIED, state, tuple(self.history), tuple(self.commands), news, "", reply)

    def _wake_at_ms(self, timer: bool) -> int | None:
        steps = self.steps if self.status is not SAGA_PAUSED else [step for step in self.steps if self.heeds(step.due)]
        moments = [step.due_at_ms for step in steps if step.due_at_ms is not None]
        if self.deadline_ms is not None and self.has_deadline():
            moments.append(self.deadline_ms)
        if self.definition.has_children and self.status is not SAGA_PAUSED:
            moments += self._repeats_ms()
        if not moments:
            return None
        first_ms, known_ms = min(moments), self.before.wake_at_ms
        return first_ms if timer or known_ms is None or known_ms > first_ms else known_ms

    def _repeats_ms(self) -> list[int]:
        """The next moment, for each child saga that has not answered, at which the request to it is repeated."""
        repeated = [
            repeated_since_ms(step, defined, self.course, self.now_ms)
            for step, defined in zip(self.steps, self.definition.steps, strict=True)
        ]
        return [next_repeat_ms(since_ms, self.now_ms) for since_ms in repeated if since_ms is not None]

    def has_deadline(self) -> bool:
        """Whether the saga's own deadline counts now. It does not while the pivot is in flight; if that fails it does
        again."""
        is_set = self.deadline_ms is not None and self.course is FORWARD and self.status not in ENDED
        return is_set and not has_passed_pivot(self.definition, self.steps)

    def heeds(self, due: Due | None) -> bool:
        """Whether this kind of moment counts now: a paused saga makes no new attempts."""
        return self.status is not SAGA_PAUSED or not (due is DUE_RETRY or due is DUE_PROBE_RETRY)


class Reaction:
    """One stimulus at one step of a draft, with all that its rule needs to know."""

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

    @property
    def step(self) -> StepState:
        """The step as the draft has it now."""
        return self.draft.steps[self.position]

    def put(self, step: StepState) -> None:
        """Put a changed step in the place of the present one."""
        self.draft.steps[self.position] = step

    def defined(self) -> StepDefinition:
        return self.draft.definition.steps[self.position]
