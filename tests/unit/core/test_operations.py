"""A person's word about a step: retry, skip, resolve."""

from __future__ import annotations

import pytest

from saga_service.core.retry import RetryPolicy
from saga_service.core.vocabulary import Due, Kind, OnUnknown, Operation, Resolution, SagaStatus, Verdict
from tests.support.builders import NO_VALUE, ONCE, SagaInMemory, definition, running, step


def _parked() -> SagaInMemory:
    """Two steps side by side, both parked; `pay` waits for both."""
    saga = running(
        step("car", kind=Kind.RETRIABLE, retry=ONCE),
        step("hotel", after=(), kind=Kind.RETRIABLE, retry=ONCE),
        step("pay", after=("car", "hotel")),
    )
    saga.reject("car")
    saga.reject("hotel")
    return saga


def _stuck_undo() -> SagaInMemory:
    saga = running("reserve", "pack", step("charge", retry=ONCE))
    saga.succeed("reserve")
    saga.succeed("pack")
    saga.fail("charge")
    saga.undo_rejected("pack")
    return saga


def test_a_retry_without_a_step_tries_every_parked_one() -> None:
    saga = _parked()
    retried = saga.operate(Operation.RETRY)
    assert saga.sent_names[2:] == ["car 2", "hotel 2"]
    assert [(line.event, line.step, line.actor, line.reason) for line in retried.history] == [
        ("retry_requested", "car", "ada", "because"),
        ("retry_requested", "hotel", "ada", "because"),
    ]
    assert (saga.status, saga.state.fault) == (SagaStatus.RUNNING, None)


def test_a_retry_of_one_parked_step_leaves_the_saga_stuck_at_the_other() -> None:
    saga = _parked()
    saga.operate(Operation.RETRY, "hotel")
    assert (saga.status, saga.sent_names[-1]) == (SagaStatus.STUCK, "hotel 2")


def test_a_retry_without_a_step_brings_the_next_attempt_forward() -> None:
    saga = running("charge")
    saga.fail("charge")
    saga.operate(Operation.RETRY)
    assert (saga.sent_names[-1], saga.step("charge").due) == ("charge 2", Due.TIMEOUT)


def test_an_attempt_in_flight_is_not_retried() -> None:
    saga = running("charge")
    assert saga.operate(Operation.RETRY, "charge").verdict is Verdict.REFUSED
    assert saga.operate(Operation.RETRY).reason == (
        "the saga is running, and no step waits for a person; name the step that you mean"
    )


def test_a_retry_of_an_undo_begins_a_new_series() -> None:
    brief = RetryPolicy(attempts_max=2, delay_first_ms=10)
    saga = running(step("reserve", compensation_retry=brief), "charge")
    saga.succeed("reserve")
    saga.reject("charge")
    saga.undo_fails("reserve")
    saga.timer_when_due()
    saga.undo_fails("reserve")
    assert saga.status == SagaStatus.STUCK
    saga.operate(Operation.RETRY)
    assert (saga.status, saga.sent_names[-1]) == (SagaStatus.COMPENSATING, "undo reserve 3")
    saga.undo_fails("reserve")
    assert saga.step("reserve").due is Due.RETRY
    saga.timer_when_due()
    saga.undo_succeeds("reserve")
    assert saga.status == SagaStatus.COMPENSATED


def test_an_undo_in_flight_is_not_retried() -> None:
    saga = _stuck_undo()
    saga.operate(Operation.RETRY)
    before = saga.state
    assert saga.operate(Operation.RETRY, "pack").reason == "the undo of step 'pack' is under way"
    assert saga.state is before


def test_a_failed_step_is_not_retried_once_the_saga_compensates() -> None:
    saga = _stuck_undo()
    refusal = saga.operate(Operation.RETRY, "charge")
    assert refusal.reason == (
        "step 'charge' will not be done any more: the saga is compensating already, "
        "and stuck at the undo of 'pack'; retry, skip or resolve that step"
    )


def test_a_step_that_never_began_is_not_retried() -> None:
    assert "no attempt of step 'b' was made" in running("a", "b").operate(Operation.RETRY, "b").reason


def test_a_retry_whose_input_cannot_be_made_any_more_parks_the_step_again() -> None:
    saga = running(step("a", kind=Kind.RETRIABLE, retry=ONCE))
    saga.reject("a")
    saga.definition = definition(step("a", kind=Kind.RETRIABLE, sent=NO_VALUE))
    saga.operate(Operation.RETRY)
    assert (saga.status, saga.statuses("a"), saga.step("a").attempts) == (SagaStatus.STUCK, ["failed"], 1)


def test_a_skipped_step_lets_what_waits_for_it_begin() -> None:
    saga = _parked()
    saga.operate(Operation.SKIP)
    assert (saga.statuses("car", "hotel"), saga.sent_names[-1]) == (["skipped", "skipped"], "pay 1")


def test_a_step_skipped_in_flight_that_succeeds_later_is_recorded() -> None:
    saga = running("a", "b")
    saga.operate(Operation.SKIP, "a")
    assert saga.sent_names == ["a 1", "b 1"]
    saga.succeed("a", {"late": True})
    assert (saga.statuses("a"), saga.status) == (["succeeded"], SagaStatus.RUNNING)
    saga.reject("b")
    assert saga.sent_names[-1] == "undo a 1"


def test_a_skipped_undo_lets_the_effect_stay_and_the_next_one_begins() -> None:
    saga = _stuck_undo()
    saga.operate(Operation.SKIP)
    assert (saga.statuses("pack"), saga.sent_names[-1]) == (["skipped"], "undo reserve 1")


def test_a_skipped_undo_that_succeeds_after_all_is_recorded() -> None:
    saga = _stuck_undo()
    saga.operate(Operation.SKIP)
    saga.undo_succeeds("pack")
    assert saga.statuses("pack", "reserve") == ["compensated", "compensating"]


def test_a_step_is_not_skipped_once_the_saga_compensates() -> None:
    assert _stuck_undo().operate(Operation.SKIP, "charge").verdict is Verdict.REFUSED


def test_a_step_resolved_as_succeeded_has_the_given_output() -> None:
    saga = running(step("charge", on_unknown=OnUnknown.HOLD), "ship")
    saga.timer_when_due()
    saga.operate(Operation.RESOLVE, resolution=Resolution.SUCCEEDED, output={"payment": 7})
    assert (saga.step("charge").output, saga.sent_names[-1]) == ({"payment": 7}, "ship 1")
    assert saga.sent[-1].outputs == {"charge": {"payment": 7}}


def test_a_step_resolved_as_failed_starts_compensating_with_its_reason() -> None:
    saga = running("reserve", "charge")
    saga.succeed("reserve")
    saga.operate(Operation.RESOLVE, "charge", resolution=Resolution.FAILED)
    assert (saga.statuses("charge"), saga.sent_names[-1]) == (["failed"], "undo reserve 1")
    assert saga.state.fault is not None
    assert (saga.state.fault.code, saga.state.fault.message) == ("resolved", "requested by ada: because")


def test_an_undo_resolved_as_done_continues_the_reverse_order() -> None:
    saga = _stuck_undo()
    saga.operate(Operation.RESOLVE, resolution=Resolution.COMPENSATED)
    assert (saga.statuses("pack"), saga.sent_names[-1]) == (["compensated"], "undo reserve 1")


def test_an_outstanding_effect_may_be_resolved_as_undone_early() -> None:
    saga = _stuck_undo()
    saga.operate(Operation.RESOLVE, "reserve", resolution=Resolution.COMPENSATED)
    saga.operate(Operation.RETRY)
    saga.undo_succeeds("pack")
    assert (saga.status, saga.sent_names[-1]) == (SagaStatus.COMPENSATED, "undo pack 2")


def test_what_goes_forward_is_not_resolved_as_undone() -> None:
    saga = running("reserve", "charge")
    saga.succeed("reserve")
    refusal = saga.operate(Operation.RESOLVE, "reserve", resolution=Resolution.COMPENSATED)
    assert refusal.reason.endswith("cancel the saga first")


def test_resolving_several_parked_steps_at_once_is_refused() -> None:
    refusal = _parked().operate(Operation.RESOLVE, resolution=Resolution.SUCCEEDED)
    assert refusal.reason == "more than one step waits for a person (car, hotel); name the one that you mean"


def test_a_step_that_failed_is_not_given_up_a_second_time() -> None:
    saga = _stuck_undo()
    before = saga.state
    refusal = saga.operate(Operation.RESOLVE, "charge", resolution=Resolution.FAILED)
    assert (refusal.verdict, refusal.reason) == (
        Verdict.REFUSED,
        "step 'charge' is failed, and the saga is compensating already",
    )
    assert saga.state is before


@pytest.mark.parametrize("resolution", [Resolution.SUCCEEDED, Resolution.COMPENSATED])
def test_an_operation_requested_twice_is_known_already(resolution: Resolution) -> None:
    saga = _stuck_undo() if resolution is Resolution.COMPENSATED else running("charge", "ship")
    name = "pack" if resolution is Resolution.COMPENSATED else "charge"
    assert saga.operate(Operation.RESOLVE, name, resolution=resolution).verdict is Verdict.APPLIED
    before = saga.state
    assert saga.operate(Operation.RESOLVE, name, resolution=resolution).verdict is Verdict.REPEATED
    assert saga.state is before


def test_a_step_that_is_not_there_is_refused_with_the_names_that_are() -> None:
    refusal = running("a", "b").operate(Operation.SKIP, "c")
    assert refusal.reason == "saga 'order' has no step 'c'; its steps: a, b"
