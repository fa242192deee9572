"""The tables, held against a picture of them drawn by hand, and every cell tried through `advance`."""

from __future__ import annotations

import pytest

from saga_service.core.advance import advance
from saga_service.core.definition import Definition
from saga_service.core.effects import Transition
from saga_service.core.events import Event, OperationRequested, Replied, Signalled, TimerDue
from saga_service.core.ids import CommandName
from saga_service.core.state import Fault, SagaState, StepState
from saga_service.core.transitions import (
    OPERATOR_STIMULI,
    STEP_RULES,
    STEP_TRANSITIONS,
    Rule,
    Stimulus,
)
from saga_service.core.vocabulary import (
    Course,
    Direction,
    Due,
    Kind,
    Operation,
    Outcome,
    Resolution,
    SagaStatus,
    StepStatus,
    Verdict,
)
from tests.support.builders import SAGA_ID, START_MS, approval, definition, step

REPEATED, REFUSED, RECORDED = ".", "!", "="

# What becomes of the step: its new status; recorded, with the status as it was (=); no change because it is known
# already (.); or a refusal (!). A step that is undone next shows as `compensating`.
EXPECTED_OF_ACTIONS = {
    #                      succeeded    failed  rejected     progress timeout retry due  late    unknown no output
    "pending":             "succeeded    .       failed       .        !       dispatched =       .       compensating",
    "dispatched":          "succeeded    pending failed       =        unknown !          =       unknown compensating",
    "waiting":             "!            !       !            !        !       !          !       !       !",
    "succeeded":           ".            .       .            .        !       !          .       .       !",
    "failed":              "compensating .       .            .        !       !          .       .       unknown",
    "unknown":             "succeeded    .       compensating .        !       dispatched pending .       compensating",
    "skipped":             "succeeded    .       .            .        !       !          =       .       !",
    "compensating":        "=            .       .            .        !       !          =       .       !",
    "compensated":         "compensating .       .            .        !       !          =       .       !",
    "compensation_failed": "=            .       .            .        !       !          =       .       !",
}  # fmt: skip
EXPECTED_OF_PROBES = {
    #                      it happened  nobody can tell  it did not happen  timed out  retry due
    "pending":             "succeeded    .                .                  !          !",
    "dispatched":          "succeeded    .                .                  !          !",
    "waiting":             "!            !                !                  !          !",
    "succeeded":           ".            .                .                  !          !",
    "failed":              "compensating .                .                  !          !",
    "unknown":             "succeeded    =                pending            =          =",
    "skipped":             "succeeded    .                .                  !          !",
    "compensating":        ".            .                .                  !          !",
    "compensated":         ".            .                .                  !          !",
    "compensation_failed": ".            .                .                  !          !",
}  # fmt: skip
EXPECTED_OF_COMPENSATIONS = {
    #                      succeeded   failed rejected            progressed timed out retry due
    "pending":             "!           !      !                   !          !         !",
    "dispatched":          "!           !      !                   !          !         !",
    "waiting":             "!           !      !                   !          !         !",
    "succeeded":           ".           .      .                   .          !         !",
    "failed":              "!           !      !                   !          !         !",
    "unknown":             "!           !      !                   !          !         !",
    "skipped":             "compensated .      .                   .          !         !",
    "compensating":        "compensated =      compensation_failed .          =         =",
    "compensated":         ".           .      .                   .          !         !",
    "compensation_failed": "compensated .      .                   .          !         !",
}  # fmt: skip
EXPECTED_OF_WAITS = {status.value: "! !" for status in StepStatus} | {
    "waiting": "succeeded failed",
    "failed": "succeeded !",
}
EXPECTED_OF_PERSONS = {
    #                      retry        skip    resolved: succeeded failed compensated
    "pending":             "dispatched   skipped succeeded           failed !",
    "dispatched":          "!            skipped succeeded           failed !",
    "waiting":             "!            skipped succeeded           failed !",
    "succeeded":           "!            !       .                   !      compensated",
    "failed":              "dispatched   skipped succeeded           !      !",
    "unknown":             "dispatched   skipped succeeded           failed compensated",
    "skipped":             "!            .       !                   !      !",
    "compensating":        "=            skipped !                   !      compensated",
    "compensated":         "!            !       !                   !      .",
    "compensation_failed": "compensating skipped !                   !      compensated",
}  # fmt: skip
PICTURES = (
    EXPECTED_OF_ACTIONS,
    EXPECTED_OF_PROBES,
    EXPECTED_OF_COMPENSATIONS,
    EXPECTED_OF_WAITS,
    EXPECTED_OF_PERSONS,
)
EXPECTED = {
    (StepStatus(status), stimulus): outcome
    for status in PICTURES[0]
    for stimulus, outcome in zip(Stimulus, " ".join(picture[status] for picture in PICTURES).split(), strict=True)
}
ALL_PAIRS = [(status, stimulus) for status in StepStatus for stimulus in Stimulus]
TIMERS = {
    Stimulus.ACTION_TIMED_OUT: Due.TIMEOUT,
    Stimulus.ACTION_RETRY_DUE: Due.RETRY,
    Stimulus.PROBE_TIMED_OUT: Due.PROBE_TIMEOUT,
    Stimulus.PROBE_RETRY_DUE: Due.PROBE_RETRY,
    Stimulus.COMPENSATION_TIMED_OUT: Due.TIMEOUT,
    Stimulus.COMPENSATION_RETRY_DUE: Due.RETRY,
    Stimulus.WAIT_ENDED: Due.SIGNAL,
}
OUTCOMES = {
    "SUCCEEDED": Outcome.SUCCEEDED,
    "FAILED": Outcome.FAILED,
    "REJECTED": Outcome.REJECTED,
    "PROGRESSED": Outcome.PROGRESS,
    "FAILED_LATE": Outcome.FAILED,
    "LEFT_UNKNOWN": Outcome.UNKNOWN,
    "OUTPUT_REFUSED": Outcome.SUCCEEDED,
    "CONFIRMED": Outcome.SUCCEEDED,
    "INCONCLUSIVE": Outcome.FAILED,
    "DENIED": Outcome.REJECTED,
}
SAGA_WHILE = {
    StepStatus.PENDING: SagaStatus.RUNNING,
    StepStatus.DISPATCHED: SagaStatus.RUNNING,
    StepStatus.WAITING: SagaStatus.RUNNING,
    StepStatus.SUCCEEDED: SagaStatus.RUNNING,
    StepStatus.FAILED: SagaStatus.COMPENSATED,
    StepStatus.UNKNOWN: SagaStatus.RUNNING,
    StepStatus.SKIPPED: SagaStatus.RUNNING,
    StepStatus.COMPENSATING: SagaStatus.COMPENSATING,
    StepStatus.COMPENSATED: SagaStatus.COMPENSATED,
    StepStatus.COMPENSATION_FAILED: SagaStatus.STUCK,
}
NATURAL_DUE = {
    StepStatus.PENDING: Due.RETRY,
    StepStatus.DISPATCHED: Due.TIMEOUT,
    StepStatus.WAITING: Due.SIGNAL,
    StepStatus.UNKNOWN: Due.RETRY,
    StepStatus.COMPENSATING: Due.TIMEOUT,
}
FORWARD = {SagaStatus.RUNNING}
ATTEMPT = 2
"""The latest of the action; the one before it is in doubt where anything is."""


def _direction(stimulus: Stimulus) -> Direction | None:
    return next((each for each in Direction if stimulus.name.startswith(each.name)), None)


def _defined(status: StepStatus, stimulus: Stimulus) -> Definition:
    if status is StepStatus.WAITING or stimulus is Stimulus.SIGNAL_RECEIVED:
        return definition("reserve", approval("charge"), "ship")
    # A failed step that a person may still act on is one that can only go forward.
    is_parked = status is StepStatus.FAILED and stimulus in {*OPERATOR_STIMULI, Stimulus.ACTION_OUTPUT_REFUSED}
    kind = Kind.RETRIABLE if is_parked else Kind.COMPENSATABLE
    return definition("reserve", step("charge", kind=kind, heartbeat_ms=1_000), "ship")


def _due(status: StepStatus, stimulus: Stimulus) -> Due | None:
    if stimulus in TIMERS:
        return TIMERS[stimulus]
    if status is StepStatus.UNKNOWN and stimulus.name.startswith("PROBE"):
        return Due.PROBE_TIMEOUT
    if status is StepStatus.UNKNOWN and stimulus in OPERATOR_STIMULI:
        return None
    if status is StepStatus.COMPENSATING and stimulus is Stimulus.RETRY_REQUESTED:
        return Due.RETRY
    return NATURAL_DUE.get(status)


def _in_doubt(status: StepStatus, stimulus: Stimulus) -> tuple[int, ...]:
    if stimulus is Stimulus.ACTION_SUCCEEDED and status in (
        StepStatus.COMPENSATING,
        StepStatus.COMPENSATED,
        StepStatus.COMPENSATION_FAILED,
    ):
        return (ATTEMPT,)
    late = stimulus is Stimulus.ACTION_FAILED_LATE and status not in (StepStatus.SUCCEEDED, StepStatus.FAILED)
    return (1,) if late or status is StepStatus.UNKNOWN else ()


def _a_saga_whose_charge_is(status: StepStatus, stimulus: Stimulus) -> SagaState:
    due = _due(status, stimulus)
    saga_status, course = _saga_while(status, stimulus)
    reserved = StepState("reserve", StepStatus.SUCCEEDED, attempts=1, effect_revision=2)
    if saga_status is SagaStatus.COMPENSATED:
        reserved = StepState("reserve", StepStatus.COMPENSATED, 1, 1, effect_revision=2)
    charge = StepState(
        "charge",
        status,
        attempts=ATTEMPT,
        compensation_attempts=1,
        probes=1,
        effect_revision=3 if status not in (StepStatus.FAILED, StepStatus.SKIPPED) else None,
        due=due,
        due_at_ms=START_MS if due else None,
        deadline_ms=START_MS + 30_000 if status is StepStatus.DISPATCHED else None,
        unanswered=_in_doubt(status, stimulus),
    )
    shipped = StepState("ship")
    if course is Course.BACKWARD and saga_status is SagaStatus.COMPENSATING and status is not StepStatus.COMPENSATING:
        shipped = StepState("ship", StepStatus.COMPENSATING, 1, 1, 4, START_MS + 9_000, Due.TIMEOUT)
    return SagaState(
        id=SAGA_ID,
        saga="order",
        version="v1",
        key=None,
        status=saga_status,
        revision=4,
        input={},
        steps=(reserved, charge, shipped),
        created_at_ms=START_MS - 100,
        updated_at_ms=START_MS - 50,
        wake_at_ms=START_MS if due else None,
        course=course,
        fault=Fault("why", "it is so"),
    )


def _saga_while(status: StepStatus, stimulus: Stimulus) -> tuple[SagaStatus, Course]:
    stands = status in (StepStatus.SUCCEEDED, StepStatus.UNKNOWN)
    if stimulus is Stimulus.RESOLVED_COMPENSATED and stands:
        return SagaStatus.COMPENSATING, Course.BACKWARD
    acts_on_parked = stimulus in OPERATOR_STIMULI or stimulus is Stimulus.SIGNAL_RECEIVED
    if stimulus is Stimulus.ACTION_OUTPUT_REFUSED and status is StepStatus.FAILED:
        return SagaStatus.STUCK, Course.FORWARD
    if acts_on_parked and status in (StepStatus.FAILED, StepStatus.UNKNOWN):
        return SagaStatus.STUCK, Course.FORWARD
    saga_status = SAGA_WHILE[status]
    return saga_status, Course.FORWARD if saga_status in FORWARD else Course.BACKWARD


ASKS = {
    Stimulus.RETRY_REQUESTED: (Operation.RETRY, None),
    Stimulus.SKIP_REQUESTED: (Operation.SKIP, None),
    Stimulus.RESOLVED_SUCCEEDED: (Operation.RESOLVE, Resolution.SUCCEEDED),
    Stimulus.RESOLVED_FAILED: (Operation.RESOLVE, Resolution.FAILED),
    Stimulus.RESOLVED_COMPENSATED: (Operation.RESOLVE, Resolution.COMPENSATED),
}


def _attempt(stimulus: Stimulus) -> int | None:
    """What the event, and so its line of history, names."""
    direction = _direction(stimulus)
    if direction is not Direction.ACTION:
        return None if direction is None else 1
    return 1 if stimulus is Stimulus.ACTION_FAILED_LATE else ATTEMPT


def _event(stimulus: Stimulus) -> Event:
    if stimulus in TIMERS:
        return TimerDue(SAGA_ID)
    if stimulus is Stimulus.SIGNAL_RECEIVED:
        return Signalled(SAGA_ID, "approved", "signal-1", {})
    if stimulus in ASKS:
        asked, to = ASKS[stimulus]
        return OperationRequested(saga_id=SAGA_ID, operation=asked, actor="ada", step="charge", resolution=to)
    direction, _, outcome = stimulus.name.partition("_")
    command = CommandName(SAGA_ID, "charge", Direction[direction], _attempt(stimulus) or 0)
    fault = None if outcome in ("SUCCEEDED", "CONFIRMED") else Fault("declined", "the charge: no money")
    return Replied(command, OUTCOMES[outcome], output={"paid": 1}, fault=fault)


def _has_a_door(status: StepStatus, stimulus: Stimulus) -> bool:
    """Whether any event can bring the stimulus to a step at this status.

    A step has one timer, and its status says which. A signal only reaches a step that waits, or that has waited too
    long. An attempt is late only where it is in doubt, which no step that is done or failed is. An output is not asked
    for where a step is done or being undone.
    """
    if stimulus is Stimulus.SIGNAL_RECEIVED:
        return status in (StepStatus.WAITING, StepStatus.FAILED)
    if stimulus is Stimulus.ACTION_FAILED_LATE:
        return status not in (StepStatus.SUCCEEDED, StepStatus.FAILED)
    if stimulus is Stimulus.ACTION_OUTPUT_REFUSED:
        return EXPECTED[status, stimulus] != REFUSED
    return stimulus not in TIMERS or EXPECTED[status, stimulus] != REFUSED


def _try(status: StepStatus, stimulus: Stimulus) -> tuple[SagaState, Transition]:
    before = _a_saga_whose_charge_is(status, stimulus)
    return before, advance(_defined(status, stimulus), before, _event(stimulus), START_MS)


def test_the_rules_are_total() -> None:
    assert set(STEP_RULES) == set(ALL_PAIRS) == set(EXPECTED)
    assert len(STEP_RULES) == len(StepStatus) * len(Stimulus) == 270


@pytest.mark.parametrize(("status", "stimulus"), ALL_PAIRS, ids=lambda value: str(value).replace(" ", "-"))
def test_every_pair_has_one_result(status: StepStatus, stimulus: Stimulus) -> None:
    expected = EXPECTED[status, stimulus]
    if not _has_a_door(status, stimulus):
        assert STEP_RULES[status, stimulus] is (Rule.REFUSE if expected == REFUSED else Rule.IGNORE)
        return
    before, transition = _try(status, stimulus)
    if expected in (REPEATED, REFUSED):
        assert transition.verdict is (Verdict.REPEATED if expected == REPEATED else Verdict.REFUSED)
        assert transition.state is before
        assert (transition.history, transition.commands, transition.ended) == ((), (), None)
        assert "charge" in transition.reason
        return
    assert transition.verdict is Verdict.APPLIED
    assert bool(transition.reason) is (stimulus is Stimulus.ACTION_OUTPUT_REFUSED)
    assert transition.state is not None
    assert transition.state.steps[1].status is (status if expected == RECORDED else StepStatus(expected))
    assert transition.state.revision == before.revision + 1
    (line,) = transition.history
    assert line.event == stimulus.value
    assert (line.revision, line.step, line.direction) == (5, "charge", _direction(stimulus))
    assert line.attempt == _attempt(stimulus)
    assert line.actor == ("ada" if stimulus in OPERATOR_STIMULI else None)
    assert line.status is transition.state.status
    assert line.sent == transition.commands


@pytest.mark.parametrize(("status", "stimulus"), ALL_PAIRS, ids=lambda value: str(value).replace(" ", "-"))
def test_every_rule_leaves_the_step_where_the_table_says(status: StepStatus, stimulus: Stimulus) -> None:
    targets = STEP_TRANSITIONS[STEP_RULES[status, stimulus]]
    if not _has_a_door(status, stimulus):
        assert targets == ()
        return
    _, transition = _try(status, stimulus)
    assert transition.state is not None
    after = transition.state.steps[1].status
    # A step whose effect stands, or may stand, may be undone at once: the rule did its part before that.
    undone_next = after is StepStatus.COMPENSATING and bool({StepStatus.SUCCEEDED, StepStatus.UNKNOWN} & set(targets))
    unchanged = not targets or transition.verdict is not Verdict.APPLIED
    assert undone_next or after in ((status,) if unchanged else targets)


def test_an_undo_that_waits_for_its_retry_does_not_fail_again() -> None:
    """`compensating` is two situations, in flight and waiting; only the first can fail."""
    before = _a_saga_whose_charge_is(StepStatus.COMPENSATING, Stimulus.RETRY_REQUESTED)
    assert before.steps[1].due is Due.RETRY
    event = _event(Stimulus.COMPENSATION_FAILED)
    transition = advance(definition("reserve", "charge", "ship"), before, event, START_MS)
    assert transition.verdict is Verdict.REPEATED
    assert transition.state is before


@pytest.mark.parametrize(
    ("status", "stimulus"),
    [(status, stimulus) for status, stimulus in ALL_PAIRS if stimulus in TIMERS and not _has_a_door(status, stimulus)],
)
def test_a_timer_that_the_table_refuses_is_a_bug_and_drops_nothing(status: StepStatus, stimulus: Stimulus) -> None:
    """No such state can be. Were it refused like an event, what other steps did at that moment would be lost."""
    if (status is StepStatus.COMPENSATING) is not (_direction(stimulus) is Direction.COMPENSATION):
        return
    with pytest.raises(AssertionError, match="of step 'charge'"):
        _try(status, stimulus)


def test_every_rule_is_used_and_says_where_it_leads() -> None:
    assert set(STEP_RULES.values()) == set(Rule) == set(STEP_TRANSITIONS)


def test_every_status_is_reached_by_a_rule_or_an_evaluation() -> None:
    reached = {status for rule in STEP_RULES.values() for status in STEP_TRANSITIONS[rule]}
    assert reached == set(StepStatus) - {StepStatus.WAITING}, "only its turn makes a step wait"
