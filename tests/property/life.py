"""A saga that lives by chance: whatever happens to it, each of its transitions is held against the laws."""

from __future__ import annotations

from collections import Counter
from enum import Enum, auto
from typing import NamedTuple, assert_never

from hypothesis import strategies as st

from saga_service.core.advance import advance
from saga_service.core.definition import Definition
from saga_service.core.effects import Ended, HistoryEntry, Sent, Transition
from saga_service.core.events import Event, OperationRequested, Replied, Signalled, Started, TimerDue, TransportLost
from saga_service.core.ids import CommandName
from saga_service.core.state import Fault, SagaState, StepState
from saga_service.core.vocabulary import (
    ENDED,
    Course,
    Direction,
    Due,
    Operation,
    Outcome,
    Resolution,
    SagaStatus,
    StepStatus,
    Task,
    Verdict,
)
from tests.property.laws import a_repeat_changes_nothing, every_law, is_calling_off, is_said_again
from tests.support.builders import SAGA_ID, START_MS, sent_attempts, started

PARENT = CommandName(SAGA_ID, "deliver", Direction.ACTION, 1)
PARENT_UNDO = CommandName(SAGA_ID, "deliver", Direction.COMPENSATION, 1)


class Kind(Enum):
    """Three kinds bring a saga on, so that most lives get somewhere; the others disturb it."""

    SUCCESS = auto()
    ANSWER = auto()
    ANSWER_ONE = auto()
    COMES_DUE = auto()
    LATE_ANSWER = auto()
    SIGNAL = auto()
    ASK = auto()
    NOISE = auto()


class Noise(Enum):
    """What must change nothing, or nothing but the moment of waking; and the passing of time."""

    REPEATED_REPLY = auto()
    REPEATED_START = auto()
    NEVER_SENT = auto()
    LOST_STREAM = auto()
    TIMER = auto()
    TIMER_WHEN_ASKED = auto()
    TIME_PASSES = auto()


class Move(NamedTuple):
    """Something that happens; each kind reads what it needs of it."""

    kind: Kind
    noise: Noise
    pick: int
    outcome: Outcome
    code: str
    wish_ms: int | None
    operation: Operation
    resolution: Resolution


moves = st.lists(
    st.builds(
        Move,
        st.sampled_from(Kind),
        st.sampled_from(Noise),
        st.integers(0, 2**16 - 1),
        # A failure is what leads on to the rarer situations.
        st.sampled_from([Outcome.FAILED, Outcome.FAILED, *Outcome]),
        st.sampled_from(["failed", "declined", "timeout"]),
        st.sampled_from([None, None, 0, 7]),
        st.sampled_from(Operation),
        st.sampled_from(Resolution),
    ),
    min_size=1,
    max_size=50,
)


class Life:
    """A saga, its clock, and all that was ever sent, said and recorded."""

    def __init__(self, definition: Definition, *, is_child: bool = False) -> None:
        self.definition = definition
        self.now_ms = START_MS
        self.state: SagaState | None = None
        self.sent: list[Sent] = []
        self.sent_names: set[CommandName] = set()
        self.history: list[HistoryEntry] = []
        self.ends: list[Ended] = []
        self.taken: list[Replied] = []
        """Replies that the saga took: none of them may ever change anything again."""
        self.start = started(definition)._replace(parent=PARENT if is_child else None)
        assert self.apply(self.start).verdict is Verdict.APPLIED

    # ----------------------------------------------------------------------------------------------- what happens

    def go_on(self, move: Move) -> None:
        in_flight = self.in_flight()
        match move.kind:
            case Kind.SUCCESS:
                for name in in_flight:
                    self.answer(name, Outcome.SUCCEEDED)
            case Kind.ANSWER:
                for name in in_flight:
                    self.answer(name, move.outcome, move.code, move.wish_ms)
            case Kind.ANSWER_ONE:
                if in_flight:
                    self.answer(in_flight[move.pick % len(in_flight)], move.outcome, move.code, move.wish_ms)
            case Kind.COMES_DUE:
                self.let_come_due()
            case Kind.LATE_ANSWER:
                if self.sent:
                    name = _name(self.sent[move.pick % len(self.sent)])
                    self.answer(name, move.outcome, move.code, move.wish_ms)
            case Kind.SIGNAL:
                self.signal(["first", "second", "nobody waits for it"][move.pick % 3], f"id-{move.pick % 5}")
            case Kind.ASK:
                self.ask(move)
            case Kind.NOISE:
                self.disturb(move.noise, move.pick)
            case _:
                assert_never(move.kind)

    def disturb(self, noise: Noise, pick: int) -> None:
        match noise:
            case Noise.REPEATED_REPLY:
                if self.taken:
                    assert self.apply(self.taken[pick % len(self.taken)]).verdict is not Verdict.APPLIED
            case Noise.REPEATED_START:
                assert self.apply(self.start).verdict is Verdict.REPEATED
            case Noise.NEVER_SENT:
                self.what_was_never_sent_is_answered(pick)
            case Noise.LOST_STREAM:
                self.lose_transport()
            case Noise.TIMER:
                self.apply(TimerDue(SAGA_ID))
            case Noise.TIMER_WHEN_ASKED:
                self.now_ms = max(self.now_ms, self.saga.wake_at_ms or 0)
                self.apply(TimerDue(SAGA_ID))
            case Noise.TIME_PASSES:
                self.now_ms += pick % 20_000
            case _:
                assert_never(noise)

    def let_come_due(self) -> None:
        """All that is due, and is heeded."""
        paused = self.saga.status is SagaStatus.PAUSED
        moments = [
            step.due_at_ms
            for step in self.saga.steps
            if step.due_at_ms is not None and not (paused and step.due in (Due.RETRY, Due.PROBE_RETRY))
        ]
        if moments:
            self.now_ms = max(self.now_ms, *moments)
            assert self.apply(TimerDue(SAGA_ID)).history, "what is due is done"

    def signal(self, name: str, signal_id: str) -> None:
        self.apply(Signalled(SAGA_ID, name, signal_id, {"said": name}))

    def ask(self, move: Move) -> None:
        names = [None, None, *self.definition.positions, "nowhere"]
        undo_for_parent = move.operation is Operation.COMPENSATE and self.start.parent is not None and move.pick % 2
        self.ask_for(
            move.operation,
            names[move.pick % len(names)],
            move.resolution if move.operation is Operation.RESOLVE else None,
            PARENT_UNDO if undo_for_parent else None,
        )

    def ask_for(
        self,
        operation: Operation,
        step: str | None = None,
        resolution: Resolution | None = None,
        answers: CommandName | None = None,
    ) -> Transition:
        asked = OperationRequested(
            saga_id=SAGA_ID,
            operation=operation,
            actor="ada",
            step=step,
            resolution=resolution,
            output={},
            answers=answers,
        )
        return self.apply(asked)

    def lose_transport(self) -> None:
        again = [_name(sent) for sent in self.apply(TransportLost(SAGA_ID)).commands if not is_calling_off(sent)]
        if self.saga.status is SagaStatus.PAUSED:
            assert again == []
            return
        in_flight = self.in_flight()
        assert [name for name in again if name in in_flight] == [name for name in in_flight if not self.calls_off(name)]
        held = {step.name for step in self.saga.steps if step.status is StepStatus.UNKNOWN and step.due is None}
        assert {name.step for name in again if name not in in_flight} <= held, "a child that is held answers again"

    def calls_off(self, name: CommandName) -> bool:
        """Whether it is the start of a child that was asked to end since."""
        defined = self.definition.steps[self.definition.positions[name.step]]
        started = name.direction is Direction.ACTION and defined.task is Task.CHILD
        return started and self.saga.course is Course.BACKWARD

    def what_was_never_sent_is_answered(self, pick: int) -> None:
        step = self.saga.steps[pick % len(self.saga.steps)]
        never_sent = [CommandName(SAGA_ID, step.name, each, sent_attempts(step, each) + 1) for each in Direction]
        for outcome in Outcome:
            for name in (*never_sent, CommandName(SAGA_ID, "nowhere", Direction.ACTION, 1)):
                assert self.apply(Replied(name, outcome)).verdict is Verdict.REFUSED

    def answer(self, name: CommandName, outcome: Outcome, code: str = "", wish_ms: int | None = None) -> None:
        if outcome is Outcome.SUCCEEDED:
            self.apply(Replied(name, outcome, output={"by": name.attempt}))
        else:
            self.apply(Replied(name, outcome, fault=Fault(code, "said so"), retry_after_ms=wish_ms))

    def in_flight(self) -> list[CommandName]:
        return [name for step in self.saga.steps if (name := _in_flight(step)) is not None]

    # ------------------------------------------------------------------------------------------- how it is tried

    @property
    def saga(self) -> SagaState:
        assert self.state is not None
        return self.state

    def apply(self, event: Event) -> Transition:
        before = self.state
        transition = advance(self.definition, before, event, self.now_ms)
        assert transition == advance(self.definition, before, event, self.now_ms), "the same in, the same out"
        every_law(self.definition, before, event, transition)
        self.state = transition.state
        self.remember(before, event, transition)
        if isinstance(event, Replied | Started | Signalled) and transition.verdict is not Verdict.REFUSED:
            a_repeat_changes_nothing(event, advance(self.definition, self.state, event, self.now_ms))
        return transition

    def remember(self, before: SagaState | None, event: Event, transition: Transition) -> None:
        recorded = [sent for line in transition.history for sent in line.sent if not is_calling_off(sent)]
        new = [sent for sent in recorded if before is None or not is_said_again(before, event, sent)]
        for name in map(_name, new):
            assert name not in self.sent_names, "no command id is ever given twice"
            self.sent_names.add(name)
        again = [_name(sent) for sent in transition.commands if not is_calling_off(sent)]
        assert set(again) <= self.sent_names
        self.sent.extend(new)
        self.history.extend(transition.history)
        if transition.ended is not None:
            self.ends.append(transition.ended)
        applied = transition.verdict is Verdict.APPLIED
        if applied and isinstance(event, Replied) and event.outcome is not Outcome.PROGRESS:
            self.taken.append(event)

    # -------------------------------------------------------------------------------------------------- how it ends

    def all_goes_well_from_here(self) -> None:
        """From wherever the saga is, a bounded number of good answers, signals, timers and decisions ends it."""
        for _ in range(12 * len(self.saga.steps) + 6):
            if self.saga.status in ENDED:
                break
            self.one_thing_goes_well()
        assert self.saga.status in ENDED, "a saga always ends"
        assert self.ends, "and says so"
        assert self.ends[-1].status is self.saga.status

    def one_thing_goes_well(self) -> None:
        in_flight = self.in_flight()
        if self.saga.status is SagaStatus.PAUSED:
            self.ask_for(Operation.RESUME)
        elif in_flight:
            self.answer(in_flight[0], Outcome.SUCCEEDED)
        elif self.saga.status is SagaStatus.STUCK:
            self.a_person_decides()
        elif awaited := self.awaited_signals():
            self.signal(awaited[0], f"late-{self.saga.revision}")
        else:
            self.let_come_due()

    def awaited_signals(self) -> list[str]:
        return [
            defined.action
            for step, defined in zip(self.saga.steps, self.definition.steps, strict=True)
            if step.status is StepStatus.WAITING and defined.task is Task.SIGNAL
        ]

    def a_person_decides(self) -> None:
        for step in self.saga.steps:
            if step.status is StepStatus.COMPENSATION_FAILED:
                decided = self.ask_for(Operation.RESOLVE, step.name, Resolution.COMPENSATED)
            elif step.status in (StepStatus.FAILED, StepStatus.UNKNOWN) and step.due is None:
                decided = self.ask_for(Operation.RESOLVE, step.name, Resolution.SUCCEEDED)
            else:
                continue
            assert decided.verdict is Verdict.APPLIED, "a person's word counts"
            return
        raise AssertionError("a stuck saga has a step that waits for a person")

    def whole_history_is_legal(self) -> None:
        assert [line.revision for line in self.history] == list(range(1, self.saga.revision + 1))
        self.attempts_stay_within_their_budgets()
        undone = [sent for sent in self.sent if sent.direction is Direction.COMPENSATION]
        asked_for = any(line.event == "compensate_requested" for line in self.history)
        completed = any(ended.status is SagaStatus.COMPLETED for ended in self.ends)
        assert not (undone and completed) or asked_for, "never both completed and undone, unless somebody asked for it"
        assert not completed or len(self.ends) == 1 or asked_for, "completed is for ever"

    def attempts_stay_within_their_budgets(self) -> None:
        retries = Counter(line.step for line in self.history if line.event == "retry_requested")
        late = Counter(line.step for line in self.history if line.event in ("action_succeeded", "probe_confirmed"))
        for step, defined in zip(self.saga.steps, self.definition.steps, strict=True):
            series = 1 + retries[step.name]
            assert step.attempts <= defined.retry.attempts_max * series, "the action has its budget"
            undo_series = series + late[step.name]
            assert step.compensation_attempts <= defined.compensation_retry.attempts_max * undo_series, "the undo too"


def _name(sent: Sent) -> CommandName:
    return CommandName(SAGA_ID, sent.step, sent.direction, sent.attempt)


def _in_flight(step: StepState) -> CommandName | None:
    if step.due is Due.PROBE_TIMEOUT:
        return CommandName(SAGA_ID, step.name, Direction.PROBE, step.probes)
    if step.due is not Due.TIMEOUT:
        return None
    if step.status is StepStatus.COMPENSATING:
        return CommandName(SAGA_ID, step.name, Direction.COMPENSATION, step.compensation_attempts)
    return CommandName(SAGA_ID, step.name, Direction.ACTION, step.attempts)
