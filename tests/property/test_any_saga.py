"""Any saga, any events, any order: the laws hold, and once replies stop failing the saga ends."""

from __future__ import annotations

from enum import Enum, auto
from typing import NamedTuple, assert_never

from hypothesis import given
from hypothesis import strategies as st

from saga_service.core.advance import advance
from saga_service.core.definition import Definition, RetryPolicy, StepDefinition
from saga_service.core.effects import Command, Ended, HistoryEntry, Transition, Verdict
from saga_service.core.events import Event, Outcome, Replied, Started, TimerDue, TransportLost
from saga_service.core.ids import CommandId, CommandName, Direction
from saga_service.core.state import ENDED, Due, Fault, SagaState, SagaStatus, StepStatus
from tests.builders import SAGA_ID, START_MS, started
from tests.property.laws import every_law

policies = st.builds(
    RetryPolicy,
    attempts_max=st.integers(1, 3),
    delay_first_ms=st.sampled_from([0, 1, 50]),
    delay_factor=st.sampled_from([1.0, 2.0]),
    delay_max_ms=st.sampled_from([50, 1_000]),
    never_retry=st.frozensets(st.sampled_from(["declined", "timeout"]), max_size=1),
)
timeouts_ms = st.sampled_from([1, 100, 10_000])
steps = st.builds(
    StepDefinition,
    name=st.just(""),
    action=st.just("service.do"),
    compensation=st.sampled_from(["service.undo", "service.undo", None]),
    retry=policies,
    timeout_ms=timeouts_ms,
    compensation_retry=policies,
    compensation_timeout_ms=timeouts_ms,
)


def _named(drawn: list[StepDefinition]) -> Definition:
    return Definition(
        "order",
        "v1",
        tuple(
            StepDefinition(
                f"s{position}",
                step.action,
                step.compensation,
                step.retry,
                step.timeout_ms,
                step.compensation_retry,
                step.compensation_timeout_ms,
            )
            for position, step in enumerate(drawn)
        ),
    )


definitions = st.lists(steps, min_size=1, max_size=6).map(_named)


class Kind(Enum):
    """Three kinds bring a saga on, so that most lives get somewhere; the others disturb it."""

    SUCCESS = auto()
    ANSWER = auto()
    COMES_DUE = auto()
    LATE_ANSWER = auto()
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


moves = st.lists(
    st.builds(
        Move,
        st.sampled_from(Kind),
        st.sampled_from(Noise),
        st.integers(0, 2**16 - 1),
        # A failure is what leads on to the rarer situations.
        st.sampled_from([Outcome.FAILED, Outcome.FAILED, Outcome.SUCCEEDED, Outcome.REJECTED, Outcome.PROGRESS]),
        st.sampled_from(["failed", "declined", "timeout"]),
        st.sampled_from([None, None, 0, 7]),
    ),
    min_size=15,
    max_size=60,
)


@given(definition=definitions, moves=moves)
def test_any_saga_lives_by_the_laws_and_ends(definition: Definition, moves: list[Move]) -> None:
    life = Life(definition)
    for move in moves:
        life.go_on(move)
    life.replies_stop_failing()
    life.whole_history_is_legal()


class Life:
    """A saga, its clock, and all that was ever sent, said and recorded."""

    def __init__(self, definition: Definition) -> None:
        self.definition = definition
        self.now_ms = START_MS
        self.state: SagaState | None = None
        self.sent: list[Command] = []
        self.sent_ids: set[CommandId] = set()
        self.history: list[HistoryEntry] = []
        self.ends: list[Ended] = []
        self.known: list[Replied] = []
        """Replies that the saga took, or knew already: none of them may ever change anything again."""
        assert self.apply(started(definition)).verdict is Verdict.APPLIED

    # ----------------------------------------------------------------------------------------------- what happens

    def go_on(self, move: Move) -> None:
        match move.kind:
            case Kind.SUCCESS:
                for command in self.in_flight():
                    self.answer(command, Outcome.SUCCEEDED)
            case Kind.ANSWER:
                for command in self.in_flight():
                    self.answer(command, move.outcome, move.code, move.wish_ms)
            case Kind.COMES_DUE:
                self.let_come_due()
            case Kind.LATE_ANSWER:
                self.answer(self.sent[move.pick % len(self.sent)], move.outcome, move.code, move.wish_ms)
            case Kind.NOISE:
                self.disturb(move.noise, move.pick)
            case _:
                assert_never(move.kind)

    def disturb(self, noise: Noise, pick: int) -> None:
        match noise:
            case Noise.REPEATED_REPLY:
                if self.known:
                    assert self.apply(self.known[pick % len(self.known)]).verdict is Verdict.REPEATED
            case Noise.REPEATED_START:
                assert self.apply(started(self.definition)).verdict is Verdict.REPEATED
            case Noise.NEVER_SENT:
                self.what_was_never_sent_is_answered(pick)
            case Noise.LOST_STREAM:
                outstanding = [command.id for command in self.in_flight()]
                assert [command.id for command in self.apply(TransportLost(SAGA_ID)).commands] == outstanding
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
        moments = [step.due_at_ms for step in self.saga.steps if step.due_at_ms is not None]
        if moments:
            self.now_ms = max(self.now_ms, *moments)
            assert self.apply(TimerDue(SAGA_ID)).history, "what is due is done"

    def what_was_never_sent_is_answered(self, pick: int) -> None:
        step = self.saga.steps[pick % len(self.saga.steps)]
        for outcome in Outcome:
            for name in (
                CommandName(SAGA_ID, step.name, Direction.ACTION, step.attempts + 1 + pick % 2),
                CommandName(SAGA_ID, step.name, Direction.COMPENSATION, step.compensation_attempts + 1),
                CommandName(SAGA_ID, "nowhere", Direction.ACTION, 1),
            ):
                assert self.apply(Replied(name, outcome)).verdict is Verdict.REFUSED

    def answer(self, command: Command, outcome: Outcome, code: str = "", wish_ms: int | None = None) -> None:
        name = CommandName(SAGA_ID, command.step, command.direction, command.attempt)
        if outcome is Outcome.SUCCEEDED:
            self.apply(Replied(name, outcome, output={"by": command.id}))
        else:
            self.apply(Replied(name, outcome, fault=Fault(code, "said so"), retry_after_ms=wish_ms))

    def in_flight(self) -> list[Command]:
        outstanding = {
            (step.name, Direction.COMPENSATION, step.compensation_attempts)
            if step.status is StepStatus.COMPENSATING
            else (step.name, Direction.ACTION, step.attempts)
            for step in self.saga.steps
            if step.due is Due.TIMEOUT
        }
        return [command for command in self.sent if (command.step, command.direction, command.attempt) in outstanding]

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
        self.remember(event, transition)
        if isinstance(event, Replied | Started) and transition.verdict is not Verdict.REFUSED:
            again = advance(self.definition, self.state, event, self.now_ms)
            assert again.verdict is Verdict.REPEATED, "at once again, it changes nothing"
        return transition

    def remember(self, event: Event, transition: Transition) -> None:
        new = [command for line in transition.history for command in line.sent]
        for command in new:
            assert command.id not in self.sent_ids, "no command id is ever given twice"
            self.sent_ids.add(command.id)
        assert {command.id for command in transition.commands} <= self.sent_ids
        self.sent.extend(new)
        self.history.extend(transition.history)
        if transition.ended is not None:
            self.ends.append(transition.ended)
        if isinstance(event, Replied) and transition.verdict is not Verdict.REFUSED:
            self.known.append(event)

    # -------------------------------------------------------------------------------------------------- how it ends

    def replies_stop_failing(self) -> None:
        """From wherever the saga is, a bounded number of good replies and timers ends it."""
        for _ in range(6 * len(self.saga.steps) + 1):
            if self.saga.status in ENDED:
                break
            if self.saga.status is SagaStatus.STUCK:
                self.an_undo_given_up_on_succeeds_after_all()
            elif outstanding := self.in_flight():
                self.answer(outstanding[0], Outcome.SUCCEEDED)
            else:
                self.let_come_due()
        assert self.saga.status in ENDED, "a saga always ends"
        assert self.ends, "and says so"
        assert self.ends[-1].status is self.saga.status

    def an_undo_given_up_on_succeeds_after_all(self) -> None:
        failed = {step.name for step in self.saga.steps if step.status is StepStatus.COMPENSATION_FAILED}
        undo = [
            command for command in self.sent if command.step in failed and command.direction is Direction.COMPENSATION
        ]
        self.answer(undo[0], Outcome.SUCCEEDED)

    def whole_history_is_legal(self) -> None:
        assert [line.revision for line in self.history] == list(range(1, self.saga.revision + 1))
        events = [(line.event, line.step) for line in self.history]
        for step in self.saga.steps:
            assert events.count(("action_succeeded", step.name)) <= 1, "a step takes effect once"
            assert events.count(("compensation_succeeded", step.name)) <= 1, "a step is undone once"
        undone_at_all = any(command.direction is Direction.COMPENSATION for command in self.sent)
        completed = any(ended.status is SagaStatus.COMPLETED for ended in self.ends)
        assert not (undone_at_all and completed), "never both completed and undone"
        assert not completed or len(self.ends) == 1, "completed is for ever"
