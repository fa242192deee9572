"""An attempt that never answered may have happened. What is done about it is the author's choice."""

from __future__ import annotations

import pytest

from saga_service.core.vocabulary import (
    Direction,
    Due,
    Kind,
    OnUnknown,
    Operation,
    Outcome,
    Resolution,
    SagaStatus,
    StepStatus,
    Verdict,
)
from tests.support.builders import ONCE, RETRY, START_MS, TIMEOUT_MS, SagaInMemory, only_command, running, step


def _probing() -> SagaInMemory:
    """`charge` has timed out, and a worker is asked about it."""
    saga = running("reserve", step("charge", on_unknown=OnUnknown.PROBE, heartbeat_ms=5_000), "ship")
    saga.succeed("reserve")
    saga.timer_when_due()
    return saga


def _held() -> SagaInMemory:
    saga = running("reserve", step("charge", on_unknown=OnUnknown.HOLD), "ship")
    saga.succeed("reserve")
    saga.timer_when_due()
    return saga


def test_to_compensate_gives_the_step_up_at_once_and_undoes_it_first() -> None:
    saga = running("reserve", step("charge", on_unknown=OnUnknown.COMPENSATE))
    saga.succeed("reserve")
    saga.timer_when_due()
    assert saga.sent_names == ["reserve 1", "charge 1", "undo charge 1"]
    saga.undo_succeeds("charge")
    assert saga.sent_names[-1] == "undo reserve 1"


def test_an_attempt_whose_outcome_its_worker_does_not_know_is_tried_again_and_undone_in_the_end() -> None:
    saga = running("reserve", step("charge", retry=RETRY))
    saga.succeed("reserve")
    for _ in range(RETRY.attempts_max):
        assert saga.step("charge").status != StepStatus.UNKNOWN
        saga.leave_unknown("charge")
        if saga.step("charge").due is Due.RETRY:
            saga.timer_when_due()
    assert saga.sent_names[-2:] == ["charge 3", "undo charge 1"]
    assert saga.state.fault is not None
    assert (saga.state.fault.code, saga.state.fault.step) == ("no_answer", "charge")


def test_the_wait_that_a_worker_asks_for_counts_where_it_does_not_know_either() -> None:
    saga = running("reserve", step("charge", retry=RETRY))
    saga.succeed("reserve")
    saga.leave_unknown("charge", retry_after_ms=7_000)
    assert (saga.statuses("charge"), saga.step("charge").due_at_ms) == (["unknown"], saga.now_ms + 7_000)


@pytest.mark.parametrize(
    ("choice", "sent"),
    [
        (OnUnknown.PROBE, "ask charge 1"),
        (OnUnknown.COMPENSATE, "undo charge 1"),
        (OnUnknown.HOLD, "charge 1"),
    ],
)
def test_what_follows_an_unknown_outcome_is_what_follows_a_time_out(choice: OnUnknown, sent: str) -> None:
    saga = running("reserve", step("charge", on_unknown=choice), "ship")
    saga.succeed("reserve")
    saga.leave_unknown("charge")
    assert saga.sent_names[-1] == sent


def test_an_unknown_outcome_settles_nothing_after_a_time_out() -> None:
    saga = _held()
    assert saga.leave_unknown("charge").verdict is Verdict.REPEATED
    saga.operate(Operation.CANCEL)
    assert saga.sent_names[2:] == ["undo charge 1"]


def test_an_undo_whose_outcome_is_unknown_is_sent_again() -> None:
    saga = running("reserve", step("charge", retry=ONCE))
    saga.succeed("reserve")
    saga.reject("charge")
    saga._reply("reserve", Direction.COMPENSATION, Outcome.UNKNOWN, code="no_answer")
    saga.timer_when_due()
    assert saga.sent_names[-1] == "undo reserve 2"


def test_a_probe_that_finds_nothing_out_is_sent_again() -> None:
    saga = _probing()
    saga._reply("charge", Direction.PROBE, Outcome.UNKNOWN, code="no_answer")
    saga.timer_when_due()
    assert saga.sent_names[-1] == "ask charge 2"


def test_to_hold_parks_the_step_and_a_late_success_sets_the_saga_going() -> None:
    saga = _held()
    assert (saga.status, saga.statuses("charge"), saga.state.wake_at_ms) == (SagaStatus.STUCK, ["unknown"], None)
    saga.succeed("charge", {"payment": 7})
    assert (saga.status, saga.sent_names[-1], saga.state.fault) == (SagaStatus.RUNNING, "ship 1", None)


def test_a_late_failure_of_a_held_step_is_retried_by_its_policy() -> None:
    saga = _held()
    saga.fail("charge")
    assert (saga.status, saga.statuses("charge"), saga.step("charge").due) == (
        SagaStatus.RUNNING,
        ["pending"],
        Due.RETRY,
    )
    assert saga.timer_when_due().commands[0].attempt == 2


def test_a_pivot_that_never_began_goes_on_by_its_retry_policy() -> None:
    """A worker read the command after its deadline, and no other had begun on it."""
    saga = running("reserve", step("charge", kind=Kind.PIVOT, on_unknown=OnUnknown.HOLD, retry=RETRY), "ship")
    saga.succeed("reserve")
    saga.timer_when_due()
    assert saga.status == SagaStatus.STUCK
    saga.fail("charge", code="not_begun_in_time")
    assert (saga.status, saga.state.fault) == (SagaStatus.RUNNING, None)
    assert saga.timer_when_due().commands[0].attempt == 2
    saga.succeed("charge")
    saga.succeed("ship")
    assert saga.status == SagaStatus.COMPLETED


def test_a_step_whose_last_attempt_never_began_is_given_up_with_nothing_to_undo() -> None:
    saga = running("reserve", step("charge", kind=Kind.PIVOT, on_unknown=OnUnknown.HOLD, retry=ONCE), "ship")
    saga.succeed("reserve")
    saga.timer_when_due()
    saga.fail("charge", code="not_begun_in_time")
    assert (saga.statuses("charge"), saga.sent_names[-1]) == (["failed"], "undo reserve 1")


def test_a_late_rejection_of_a_held_step_gives_it_up_with_nothing_to_undo() -> None:
    saga = _held()
    saga.reject("charge")
    assert (saga.statuses("charge"), saga.sent_names[-1]) == (["failed"], "undo reserve 1")


def test_a_held_step_that_is_cancelled_is_undone_as_it_may_have_happened() -> None:
    saga = _held()
    saga.operate(Operation.CANCEL)
    assert saga.sent_names[2:] == ["undo charge 1"]


def test_a_probe_has_its_action_s_key_and_a_deadline_of_its_own() -> None:
    saga = running("reserve", step("charge", on_unknown=OnUnknown.PROBE, heartbeat_ms=5_000))
    saga.succeed("reserve", {"place": "A4"})
    saga.progress("charge")
    command = only_command(saga.timer_when_due())
    assert saga.now_ms == START_MS + 5_000
    assert (command.type, command.direction, command.attempt) == ("service.look-for-charge", Direction.PROBE, 1)
    assert command.idempotency_key == saga.sent[1].idempotency_key
    assert command.deadline_ms == saga.now_ms + TIMEOUT_MS
    assert (command.input, command.outputs) == (saga.sent[1].input, saga.sent[1].outputs)
    assert (saga.statuses("charge"), saga.step("charge").due) == (["unknown"], Due.PROBE_TIMEOUT)


def test_a_new_series_of_attempts_has_a_new_series_of_questions() -> None:
    saga = running(step("charge", on_unknown=OnUnknown.PROBE))
    saga.timer_when_due()
    for _ in range(RETRY.attempts_max - 1):
        saga.nobody_can_tell("charge")
        saga.timer_when_due()
    saga.nobody_can_tell("charge")
    assert saga.status == SagaStatus.STUCK
    saga.operate(Operation.RETRY)
    saga.timer_when_due()
    for _ in range(RETRY.attempts_max - 1):
        saga.nobody_can_tell("charge")
        assert saga.status == SagaStatus.RUNNING
        saga.timer_when_due()
    saga.nobody_can_tell("charge")
    assert (saga.status, saga.step("charge").probes) == (SagaStatus.STUCK, 2 * RETRY.attempts_max)


def test_it_happened_is_the_step_s_success_with_the_probe_s_output() -> None:
    saga = _probing()
    saga.it_happened("charge", {"payment": 7})
    assert (saga.statuses("charge"), saga.step("charge").output) == (["succeeded"], {"payment": 7})
    assert saga.sent_names[-1] == "ship 1"


def test_a_denied_action_is_retried_by_the_policy() -> None:
    saga = _probing()
    saga.it_did_not_happen("charge")
    assert (saga.statuses("charge"), saga.step("charge").due) == (["pending"], Due.RETRY)
    assert saga.step("charge").unanswered == ()
    saga.timer_when_due()
    assert saga.sent_names[-1] == "charge 2"


def test_a_denied_action_out_of_attempts_has_nothing_to_undo() -> None:
    saga = running("reserve", step("charge", on_unknown=OnUnknown.PROBE, retry=ONCE))
    saga.succeed("reserve")
    saga.timer_when_due()
    saga.it_did_not_happen("charge")
    assert (saga.statuses("charge"), saga.sent_names[-1]) == (["failed"], "undo reserve 1")


def test_an_inconclusive_probe_is_sent_again_and_then_the_step_is_parked() -> None:
    saga = _probing()
    for attempt in (2, 3):
        saga.nobody_can_tell("charge")
        assert saga.step("charge").due is Due.PROBE_RETRY
        saga.timer_when_due()
        assert saga.sent_names[-1] == f"ask charge {attempt}"
    saga.nobody_can_tell("charge")
    assert (saga.status, saga.statuses("charge"), saga.step("charge").due) == (SagaStatus.STUCK, ["unknown"], None)


def test_a_probe_that_is_not_answered_is_sent_again() -> None:
    saga = _probing()
    saga.timer_when_due()
    assert (saga.history[-1].event, saga.step("charge").due) == ("probe_timed_out", Due.PROBE_RETRY)
    saga.timer_when_due()
    assert saga.sent_names[-1] == "ask charge 2"


def test_a_repeated_inconclusive_probe_counts_once() -> None:
    saga = _probing()
    saga.nobody_can_tell("charge")
    before = saga.state
    assert saga.nobody_can_tell("charge").verdict is Verdict.REPEATED
    assert saga.state is before


def test_only_the_latest_probe_denies_and_any_probe_confirms() -> None:
    saga = _probing()
    saga.timer_when_due()
    saga.timer_when_due()
    assert saga.it_did_not_happen("charge", attempt=1).verdict is Verdict.REPEATED
    assert saga.it_happened("charge", attempt=1).verdict is Verdict.APPLIED
    assert saga.statuses("charge") == ["succeeded"]


def test_a_repeated_denial_settles_no_later_doubt() -> None:
    """The first attempt was denied, the second is in doubt when the saga has turned round."""
    saga = running(step("charge", on_unknown=OnUnknown.PROBE), step("pay", after=()))
    saga.now_ms += 1
    saga.succeed("pay")
    saga.timer_when_due()
    saga.it_did_not_happen("charge")
    saga.timer_when_due()
    saga.operate(Operation.CANCEL)
    saga.timer_when_due()
    assert saga.step("charge").unanswered == (2,)
    assert saga.it_did_not_happen("charge", attempt=1).verdict is not Verdict.APPLIED
    assert saga.sent_names[-1] == "undo charge 1"


def test_a_repeated_denial_while_paused_settles_no_later_doubt() -> None:
    saga = running(step("charge", on_unknown=OnUnknown.PROBE))
    saga.timer_when_due()
    saga.it_did_not_happen("charge")
    saga.timer_when_due()
    saga.operate(Operation.PAUSE)
    saga.timer_when_due()
    assert saga.it_did_not_happen("charge", attempt=1).verdict is Verdict.REPEATED
    assert (saga.step("charge").unanswered, saga.statuses("charge")) == ((2,), ["unknown"])
    saga.operate(Operation.RESUME)
    saga.timer_when_due()
    assert saga.sent_names[-1] == "ask charge 2"


def test_a_late_denial_still_settles_a_held_step() -> None:
    saga = running(step("charge", on_unknown=OnUnknown.PROBE, retry=ONCE), "ship")
    saga.timer_when_due()
    saga.timer_when_due()
    assert saga.status == SagaStatus.STUCK
    saga.it_did_not_happen("charge")
    assert saga.status == SagaStatus.COMPENSATED


def test_the_action_s_own_late_reply_settles_what_a_probe_looks_for() -> None:
    saga = _probing()
    saga.fail("charge")
    assert (saga.statuses("charge"), saga.step("charge").due) == (["pending"], Due.RETRY)
    late = _probing()
    late.succeed("charge")
    assert late.sent_names[-1] == "ship 1"


def test_a_probe_needs_no_sign_of_life() -> None:
    saga = _probing()
    before = saga.state
    assert saga.progress("charge", direction=Direction.PROBE).verdict is Verdict.REPEATED
    assert saga.state is before


def test_after_a_lost_stream_a_probe_is_sent_again() -> None:
    saga = _probing()
    assert saga.lose_transport().commands == (saga.sent[-1],)


def test_a_probe_under_way_when_compensation_starts_is_given_up() -> None:
    saga = running(step("charge", on_unknown=OnUnknown.PROBE, timeout_ms=10), step("pay", after=()))
    saga.now_ms += 10
    saga.timer()
    saga.reject("pay")
    assert saga.sent_names == ["charge 1", "pay 1", "ask charge 1", "undo charge 1"]


def test_a_step_waits_as_pending_once_its_last_doubt_is_settled() -> None:
    saga = running("charge")
    saga.timer_when_due()
    saga.timer_when_due()
    saga.timer_when_due()
    assert (saga.step("charge").unanswered, saga.statuses("charge")) == ((1, 2), ["unknown"])
    saga.fail("charge", attempt=1)
    assert (saga.step("charge").unanswered, saga.statuses("charge")) == ((2,), ["unknown"])
    saga.reject("charge", attempt=1)
    saga.fail("charge", attempt=2)
    assert (saga.step("charge").unanswered, saga.statuses("charge")) == ((), ["pending"])
    assert saga.step("charge").due is Due.RETRY


def test_a_rejected_attempt_leaves_the_doubts_of_earlier_ones_to_undo() -> None:
    saga = running("charge")
    saga.timer_when_due()
    saga.timer_when_due()
    saga.timer_when_due()
    saga.reject("charge", attempt=2)
    assert (saga.step("charge").unanswered, saga.sent_names[-1]) == ((1,), "undo charge 1")


@pytest.mark.parametrize("outcome", ["fail", "reject"])
def test_a_step_given_up_as_unknown_that_did_not_happen_needs_no_undo(outcome: str) -> None:
    saga = running("reserve", step("charge", retry=ONCE, on_unknown=OnUnknown.HOLD), step("ship", after=()))
    saga.succeed("reserve")
    saga.now_ms += TIMEOUT_MS - 1
    saga.fail("ship", retry_after_ms=100_000)
    saga.timer_when_due_of("charge")
    saga.timer_when_due_of("ship")
    assert (saga.statuses("charge"), saga.status) == (["unknown"], SagaStatus.STUCK)
    saga.operate(Operation.CANCEL)
    assert saga.statuses("charge") == ["unknown"]
    answer = saga.fail if outcome == "fail" else saga.reject
    answer("charge")
    assert saga.statuses("charge") == ["failed"]
    saga.reject("ship")
    assert saga.sent_names[-1] == "undo reserve 1"


def test_a_late_success_after_the_undo_is_undone_once_more() -> None:
    saga = running(step("charge", retry=ONCE))
    saga.timer_when_due()
    saga.undo_succeeds("charge")
    assert saga.status == SagaStatus.COMPENSATED
    saga.succeed("charge", {"payment": 7})
    assert (saga.status, saga.sent_names[-1]) == (SagaStatus.COMPENSATING, "undo charge 2")
    assert saga.sent[-1].outputs == {"charge": {"payment": 7}}


def test_the_answer_of_the_first_undo_does_not_pass_for_that_of_the_second() -> None:
    saga = running(step("charge", retry=ONCE))
    saga.timer_when_due()
    saga.undo_succeeds("charge")
    saga.succeed("charge")
    assert saga.undo_succeeds("charge", attempt=1).verdict is Verdict.REPEATED
    assert saga.statuses("charge") == ["compensating"]
    saga.undo_succeeds("charge", attempt=2)
    assert (saga.status, len(saga.ends)) == (SagaStatus.COMPENSATED, 2)


def test_a_repeated_success_leaves_an_effect_that_a_person_let_stay() -> None:
    saga = running("reserve", step("charge", retry=ONCE))
    saga.succeed("reserve")
    saga.reject("charge")
    saga.undo_rejected("reserve")
    saga.operate(Operation.SKIP)
    assert (saga.status, saga.statuses("reserve")) == (SagaStatus.COMPENSATED, ["skipped"])
    assert saga.succeed("reserve", attempt=1).verdict is Verdict.REPEATED


def test_resolving_as_failed_settles_every_doubt() -> None:
    saga = _held()
    saga.operate(Operation.RESOLVE, resolution=Resolution.FAILED)
    assert (saga.statuses("charge"), saga.step("charge").unanswered) == (["failed"], ())
    assert saga.sent_names[-1] == "undo reserve 1"


def test_a_retriable_step_with_inconclusive_probes_is_parked() -> None:
    saga = running(step("ship", kind=Kind.RETRIABLE, on_unknown=OnUnknown.PROBE, retry=ONCE))
    saga.timer_when_due()
    saga.nobody_can_tell("ship")
    assert saga.status == SagaStatus.STUCK
    saga.it_happened("ship")
    assert saga.status == SagaStatus.COMPLETED
