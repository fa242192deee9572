"""The tables, held against a picture of them drawn by hand, and every cell tried through `advance`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from saga_service.core.advance import advance
from saga_service.core.effects import Transition, Verdict
from saga_service.core.events import Event, Outcome, Replied, TimerDue
from saga_service.core.ids import CommandName, Direction
from saga_service.core.state import Due, Fault, SagaState, SagaStatus, StepState, StepStatus
from saga_service.core.transitions import LEADS_TO, SAGA_TURNS, STEP_RULES, Rule, Stimulus, Turn
from tests.builders import ONCE, SAGA_ID, START_MS, SagaInMemory, definition, running, step

# ----------------------------------------------------------------------------------- every status and every stimulus

REPEATED, REFUSED = ".", "!"

# What becomes of the step: its new status, or no change because it is known already (.), or a refusal (!).
# A step that is undone next shows as `compensating`.
EXPECTED_OF_ACTIONS = {
    #                      succeeded     failed   rejected progressed timed out retry due
    "pending":             "succeeded    .        failed   .          !         dispatched",
    "dispatched":          "succeeded    pending  failed   .          unknown   !",
    "succeeded":           ".            .        .        .          !         !",
    "failed":              "compensating .        .        .          !         !",
    "unknown":             "succeeded    .        compensating .      !         dispatched",
    "compensating":        ".            .        .        .          !         !",
    "compensated":         ".            .        .        .          !         !",
    "compensation_failed": ".            .        .        .          !         !",
}  # fmt: skip
EXPECTED_OF_COMPENSATIONS = {
    #                      succeeded   failed       rejected            progressed timed out    retry due
    "pending":             "!          !            !                   !          !            !",
    "dispatched":          "!          !            !                   !          !            !",
    "succeeded":           "!          !            !                   !          !            !",
    "failed":              "!          !            !                   !          !            !",
    "unknown":             "!          !            !                   !          !            !",
    "compensating":        "compensated compensating compensation_failed .         compensating compensating",
    "compensated":         ".          .            .                   .          !            !",
    "compensation_failed": "compensated .           .                   .          !            !",
}  # fmt: skip
ACTION_STIMULI = ("succeeded", "failed", "rejected", "progressed", "timed out", "retry due")

EXPECTED = {
    (StepStatus(status), Stimulus(f"{direction} {stimulus}")): outcome
    for direction, picture in (("action", EXPECTED_OF_ACTIONS), ("compensation", EXPECTED_OF_COMPENSATIONS))
    for status, row in picture.items()
    for stimulus, outcome in zip(ACTION_STIMULI, row.split(), strict=True)
}
ALL_PAIRS = [(status, stimulus) for status in StepStatus for stimulus in Stimulus]
TIMERS = {
    Stimulus.ACTION_TIMED_OUT: Due.TIMEOUT,
    Stimulus.ACTION_RETRY_DUE: Due.RETRY,
    Stimulus.COMPENSATION_TIMED_OUT: Due.TIMEOUT,
    Stimulus.COMPENSATION_RETRY_DUE: Due.RETRY,
}
OUTCOMES = {
    "SUCCEEDED": Outcome.SUCCEEDED,
    "FAILED": Outcome.FAILED,
    "REJECTED": Outcome.REJECTED,
    "PROGRESSED": Outcome.PROGRESS,
}
SAGA_WHILE = {
    StepStatus.PENDING: SagaStatus.RUNNING,
    StepStatus.DISPATCHED: SagaStatus.RUNNING,
    StepStatus.SUCCEEDED: SagaStatus.RUNNING,
    StepStatus.FAILED: SagaStatus.COMPENSATED,
    StepStatus.UNKNOWN: SagaStatus.RUNNING,
    StepStatus.COMPENSATING: SagaStatus.COMPENSATING,
    StepStatus.COMPENSATED: SagaStatus.COMPENSATED,
    StepStatus.COMPENSATION_FAILED: SagaStatus.STUCK,
}
NATURAL_DUE = {
    StepStatus.PENDING: Due.RETRY,
    StepStatus.DISPATCHED: Due.TIMEOUT,
    StepStatus.UNKNOWN: Due.RETRY,
    StepStatus.COMPENSATING: Due.TIMEOUT,
}


def _direction(stimulus: Stimulus) -> Direction:
    return Direction.ACTION if stimulus.name.startswith("ACTION") else Direction.COMPENSATION


def _a_saga_whose_charge_is(status: StepStatus, due: Due | None) -> SagaState:
    reserved = StepState("reserve", StepStatus.SUCCEEDED, attempts=1, finished_order=2)
    if SAGA_WHILE[status] is SagaStatus.COMPENSATED:
        reserved = StepState("reserve", StepStatus.COMPENSATED, 1, 1, finished_order=2)
    charge = StepState(
        "charge",
        status,
        attempts=1,
        compensation_attempts=1,
        finished_order=3 if status is not StepStatus.FAILED else None,
        due=due,
        due_at_ms=START_MS if due else None,
        in_doubt=status is StepStatus.UNKNOWN,
    )
    return SagaState(
        id=SAGA_ID,
        saga="order",
        version="v1",
        key=None,
        status=SAGA_WHILE[status],
        revision=4,
        input={},
        steps=(reserved, charge),
        created_at_ms=START_MS - 100,
        updated_at_ms=START_MS - 50,
        wake_at_ms=START_MS if due else None,
    )


def _event(stimulus: Stimulus) -> Event:
    if stimulus in TIMERS:
        return TimerDue(SAGA_ID)
    direction, _, said = stimulus.name.partition("_")
    command = CommandName(SAGA_ID, "charge", Direction[direction], 1)
    return Replied(command, OUTCOMES[said], output={"paid": 1}, fault=Fault("declined", "no money"))


def _has_a_door(status: StepStatus, stimulus: Stimulus) -> bool:
    """A step has one timer, and its status says whose it is: no event can bring the timer of the other direction."""
    undo = status is StepStatus.COMPENSATING
    return stimulus not in TIMERS or undo is (_direction(stimulus) is Direction.COMPENSATION)


def _try(status: StepStatus, stimulus: Stimulus) -> tuple[SagaState, Transition]:
    due = TIMERS.get(stimulus, NATURAL_DUE.get(status))
    before = _a_saga_whose_charge_is(status, due)
    defined = definition("reserve", "charge")
    return before, advance(defined, before, _event(stimulus), START_MS)


def test_the_rules_are_total() -> None:
    assert set(STEP_RULES) == set(ALL_PAIRS) == set(EXPECTED)
    assert len(STEP_RULES) == len(StepStatus) * len(Stimulus) == 96


@pytest.mark.parametrize(("status", "stimulus"), ALL_PAIRS, ids=lambda value: str(value).replace(" ", "-"))
def test_every_pair_has_one_result(status: StepStatus, stimulus: Stimulus) -> None:
    expected = EXPECTED[status, stimulus]
    if not _has_a_door(status, stimulus):
        assert expected == REFUSED
        assert STEP_RULES[status, stimulus] is Rule.NEVER
        return
    before, transition = _try(status, stimulus)
    if expected in (REPEATED, REFUSED):
        assert transition.verdict is (Verdict.REPEATED if expected == REPEATED else Verdict.REFUSED)
        assert transition.state is before
        assert (transition.history, transition.commands, transition.ended) == ((), (), None)
        assert "charge" in transition.reason
        assert str(status) in transition.reason
        return
    assert transition.verdict is Verdict.APPLIED
    assert transition.reason == ""
    assert transition.state is not None
    assert transition.state.steps[1].status is StepStatus(expected)
    assert transition.state.revision == before.revision + 1
    (line,) = transition.history
    assert line.event == stimulus.name.lower()
    assert (line.revision, line.step, line.direction, line.attempt) == (5, "charge", _direction(stimulus), 1)
    assert line.status is transition.state.status
    assert line.sent == transition.commands


@pytest.mark.parametrize(("status", "stimulus"), ALL_PAIRS, ids=lambda value: str(value).replace(" ", "-"))
def test_every_rule_leaves_the_step_where_the_table_says(status: StepStatus, stimulus: Stimulus) -> None:
    if not _has_a_door(status, stimulus):
        assert LEADS_TO[STEP_RULES[status, stimulus]] == ()
        return
    before, transition = _try(status, stimulus)
    assert transition.state is not None
    after = transition.state.steps[1].status
    allowed = LEADS_TO[STEP_RULES[status, stimulus]] or (status,)
    # A step whose effect stands, or may stand, may be undone at once: the rule did its part before that.
    undone_next = after is StepStatus.COMPENSATING and bool({StepStatus.SUCCEEDED, StepStatus.UNKNOWN} & set(allowed))
    assert after in allowed or undone_next
    if not LEADS_TO[STEP_RULES[status, stimulus]]:
        assert transition.state is before


def test_an_undo_that_waits_for_its_retry_is_not_failed_again_by_the_same_reply() -> None:
    """`compensating` is two situations, in flight and waiting; only the first can fail."""
    before = _a_saga_whose_charge_is(StepStatus.COMPENSATING, Due.RETRY)
    transition = advance(definition("reserve", "charge"), before, _event(Stimulus.COMPENSATION_FAILED), START_MS)
    assert transition.verdict is Verdict.REPEATED
    assert transition.state is before


def test_every_rule_is_used_and_says_where_it_leads() -> None:
    assert set(STEP_RULES.values()) == set(Rule) == set(LEADS_TO)


def test_every_status_but_the_first_is_led_to() -> None:
    reached = {status for rule in STEP_RULES.values() for status in LEADS_TO[rule]}
    # A step turns to `compensating` when the saga turns round, and to `failed` by giving up.
    assert reached == set(StepStatus)


# -------------------------------------------------------------------------------------------- the saga's own turns


@dataclass(frozen=True)
class TurnCase:
    before: SagaStatus
    turn: Turn
    after: SagaStatus
    lead: Callable[[], tuple[SagaInMemory, SagaStatus]]
    """Brings a saga through the turn; returns it with the status that it had just before."""


def _step_left() -> tuple[SagaInMemory, SagaStatus]:
    saga = running("reserve", "charge")
    before = saga.state.status
    saga.succeed("reserve")
    assert saga.sent_names == ["reserve 1", "charge 1"]
    return saga, before


def _all_done() -> tuple[SagaInMemory, SagaStatus]:
    saga = running("reserve")
    before = saga.state.status
    saga.succeed("reserve")
    return saga, before


def _given_up() -> tuple[SagaInMemory, SagaStatus]:
    saga = running("reserve", "charge")
    saga.succeed("reserve")
    before = saga.state.status
    saga.reject("charge")
    return saga, before


def _undo_left() -> tuple[SagaInMemory, SagaStatus]:
    saga = running("reserve", "charge", "ship")
    saga.succeed("reserve")
    saga.succeed("charge")
    saga.reject("ship")
    before = saga.state.status
    saga.undo_succeeds("charge")
    assert saga.sent_names[-1] == "undo reserve 1"
    return saga, before


def _all_undone() -> tuple[SagaInMemory, SagaStatus]:
    saga, _ = _given_up()
    before = saga.state.status
    saga.undo_succeeds("reserve")
    return saga, before


def _undo_failed() -> tuple[SagaInMemory, SagaStatus]:
    saga, _ = _given_up()
    before = saga.state.status
    saga.undo_rejected("reserve")
    return saga, before


def _reopened() -> tuple[SagaInMemory, SagaStatus]:
    saga, _ = _all_undone()
    before = saga.state.status
    saga.succeed("charge")
    return saga, before


def _late_but_nothing_to_undo() -> tuple[SagaInMemory, SagaStatus]:
    saga = running("reserve", step("notify", undoable=False))
    saga.succeed("reserve")
    saga.reject("notify")
    saga.undo_succeeds("reserve")
    before = saga.state.status
    saga.succeed("notify")
    return saga, before


def _late_success_while_stuck() -> tuple[SagaInMemory, SagaStatus]:
    saga, _ = _undo_failed()
    before = saga.state.status
    saga.succeed("charge")
    return saga, before


def _late_undo_goes_on() -> tuple[SagaInMemory, SagaStatus]:
    saga = running("reserve", "charge", "ship")
    saga.succeed("reserve")
    saga.succeed("charge")
    saga.reject("ship")
    saga.undo_rejected("charge")
    before = saga.state.status
    saga.undo_succeeds("charge")
    return saga, before


def _late_undo_ends_it() -> tuple[SagaInMemory, SagaStatus]:
    saga, _ = _undo_failed()
    before = saga.state.status
    saga.undo_succeeds("reserve")
    return saga, before


TURN_CASES = [
    TurnCase(SagaStatus.RUNNING, Turn.STEP_LEFT, SagaStatus.RUNNING, _step_left),
    TurnCase(SagaStatus.RUNNING, Turn.ALL_DONE, SagaStatus.COMPLETED, _all_done),
    TurnCase(SagaStatus.RUNNING, Turn.GIVEN_UP, SagaStatus.COMPENSATING, _given_up),
    TurnCase(SagaStatus.COMPENSATING, Turn.UNDO_LEFT, SagaStatus.COMPENSATING, _undo_left),
    TurnCase(SagaStatus.COMPENSATING, Turn.ALL_UNDONE, SagaStatus.COMPENSATED, _all_undone),
    TurnCase(SagaStatus.COMPENSATING, Turn.UNDO_FAILED, SagaStatus.STUCK, _undo_failed),
    TurnCase(SagaStatus.COMPENSATED, Turn.UNDO_LEFT, SagaStatus.COMPENSATING, _reopened),
    TurnCase(SagaStatus.COMPENSATED, Turn.ALL_UNDONE, SagaStatus.COMPENSATED, _late_but_nothing_to_undo),
    TurnCase(SagaStatus.STUCK, Turn.UNDO_FAILED, SagaStatus.STUCK, _late_success_while_stuck),
    TurnCase(SagaStatus.STUCK, Turn.UNDO_LEFT, SagaStatus.COMPENSATING, _late_undo_goes_on),
    TurnCase(SagaStatus.STUCK, Turn.ALL_UNDONE, SagaStatus.COMPENSATED, _late_undo_ends_it),
]


@pytest.mark.parametrize("case", TURN_CASES, ids=lambda case: f"{case.before}: {case.turn}".replace(" ", "-"))
def test_every_turn_takes_the_saga_where_the_table_says(case: TurnCase) -> None:
    saga, before = case.lead()
    assert before is case.before
    assert saga.status == case.after
    assert SAGA_TURNS[case.before, case.turn] is case.after


def test_there_is_a_case_for_every_turn_in_the_table() -> None:
    assert {(case.before, case.turn) for case in TURN_CASES} == set(SAGA_TURNS)


def test_nothing_leads_out_of_a_completed_saga() -> None:
    assert not any(before is SagaStatus.COMPLETED for before, _ in SAGA_TURNS)


def test_a_completed_saga_takes_no_reply_and_no_timer() -> None:
    saga = running(step("reserve", retry=ONCE), "charge")
    saga.succeed("reserve")
    saga.succeed("charge")
    ended = saga.state
    for event in (
        saga.succeed("reserve"),
        saga.fail("charge"),
        saga.reject("charge"),
        saga.progress("charge"),
        saga.timer(),
        saga.lose_transport(),
        saga.start(),
    ):
        assert event.verdict is Verdict.REPEATED
        assert event.state is ended
    assert saga.undo_succeeds("reserve", attempt=1).verdict is Verdict.REFUSED
