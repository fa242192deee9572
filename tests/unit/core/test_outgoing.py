"""An answer whose output is not what the action is said to return: it happened, and the step is given up on."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from saga_service.core.effects import Transition
from saga_service.core.events import Replied
from saga_service.core.ids import CommandName
from saga_service.core.state import Fault
from saga_service.core.vocabulary import (
    Direction,
    Kind,
    OnUnknown,
    Operation,
    Outcome,
    Resolution,
    StepStatus,
    Verdict,
)
from tests.support.builders import ONCE, Only, SagaInMemory, child, running, step

RECEIPT = Only("receipt")


def _charging(on_unknown: OnUnknown = OnUnknown.RETRY) -> SagaInMemory:
    return running("reserve", replace(step("charge", on_unknown=on_unknown), output=RECEIPT), "ship")


def test_what_fits_is_taken() -> None:
    saga = _charging()
    saga.succeed("reserve")
    assert saga.succeed("charge", {"receipt": "R-1", "more": 5}).verdict is Verdict.APPLIED
    assert saga.step("charge").output == {"receipt": "R-1"}, "as it was read"


@pytest.mark.parametrize("output", [{}, {"amount": 5}, None])
def test_a_step_whose_output_does_not_fit_is_given_up_on_at_once_and_undone(output: dict[str, Any] | None) -> None:
    saga = _charging()
    saga.succeed("reserve")
    given_up = saga.succeed("charge", output)
    assert (given_up.verdict, given_up.reason) == (
        Verdict.APPLIED,
        "the output of step 'charge' does not fit: receipt is missing",
    )
    assert saga.state.fault == Fault("invalid_output", given_up.reason, step="charge")
    assert saga.sent_names[-1] == "undo charge 1"
    saga.undo_succeeds("charge")
    saga.undo_succeeds("reserve")
    assert saga.status == "compensated"


def test_a_step_whose_output_does_not_fit_stays_where_the_saga_can_only_go_forward() -> None:
    charge = replace(step("charge", kind=Kind.RETRIABLE), output=RECEIPT)
    saga = running(step("pay", kind=Kind.PIVOT), charge)
    saga.succeed("pay")
    saga.succeed("charge", {})
    assert (saga.status, saga.statuses("charge")) == ("stuck", ["unknown"])
    saga.operate(Operation.RETRY)
    saga.succeed("charge", {"receipt": "R-1"})
    assert saga.status == "completed"


def test_what_happened_without_an_output_is_undone_though_a_later_attempt_fails() -> None:
    saga = running(replace(step("charge", kind=Kind.RETRIABLE, retry=ONCE), output=RECEIPT))
    saga.succeed("charge", {})
    saga.operate(Operation.RETRY)
    saga.fail("charge")
    saga.operate(Operation.CANCEL)
    assert saga.sent_names[-1] == "undo charge 1"


def test_the_same_unusable_answer_again_changes_nothing() -> None:
    saga = running(replace(step("charge", kind=Kind.RETRIABLE), output=RECEIPT))
    saga.succeed("charge", {})
    before = saga.state
    assert saga.succeed("charge", {}).verdict is Verdict.REFUSED
    assert saga.state is before


def test_an_unusable_answer_to_an_earlier_attempt_waits_for_the_present_one() -> None:
    saga = _charging()
    saga.succeed("reserve")
    saga.timer_when_due()
    saga.timer_when_due()
    assert saga.succeed("charge", {}, attempt=1).verdict is Verdict.REFUSED
    saga.succeed("charge", {"receipt": "R-1"})
    assert saga.sent_names[-1] == "ship 1"


def _told_of_its_child(saga: SagaInMemory) -> Transition:
    """The child is completed, and its outputs are too large."""
    start = CommandName(saga.state.id, "deliver", Direction.ACTION, saga.step("deliver").attempts)
    fault = Fault("message_too_large", "the outputs of the child saga are too large")
    return saga.apply(Replied(start, Outcome.SUCCEEDED, {}, fault))


@pytest.mark.parametrize("on_unknown", OnUnknown)
def test_a_child_saga_whose_outputs_cannot_be_used_is_undone(on_unknown: OnUnknown) -> None:
    saga = running("reserve", child("deliver", on_unknown=on_unknown), "ship")
    saga.succeed("reserve")
    _told_of_its_child(saga)
    assert saga.asked_of_children == ["start deliver 1", "compensate deliver 1"]
    assert saga.state.fault is not None
    assert saga.state.fault.code == "message_too_large"
    saga.undo_succeeds("deliver")
    assert saga.sent_names[-1] == "undo reserve 1"


def test_a_child_saga_that_is_called_off_and_has_ended_with_unusable_outputs_is_undone() -> None:
    saga = running(child("deliver"), "ship")
    saga.timer_when_due_of("deliver")
    assert saga.asked_of_children[-1] == "cancel deliver 1"
    _told_of_its_child(saga)
    assert saga.asked_of_children[-1] == "compensate deliver 1"


def test_a_parent_past_its_pivot_is_stuck_with_the_reason_and_asks_its_child_again() -> None:
    """The limit may have been raised meanwhile."""
    saga = running(step("pay", kind=Kind.PIVOT), child("deliver", kind=Kind.RETRIABLE))
    saga.succeed("pay")
    _told_of_its_child(saga)
    assert (saga.status, saga.state.fault and saga.state.fault.code) == ("stuck", "message_too_large")
    saga.operate(Operation.RETRY)
    assert len(saga.requests) == 2, "the same child, and no other beside it"
    assert saga.requests[0].child_id == saga.requests[1].child_id
    saga.succeed("deliver", {"tour": {"parcel": 7}})
    assert saga.status == "completed"


def test_while_compensating_a_success_counts_whatever_it_returned() -> None:
    """That it happened is what matters then."""
    saga = _charging(OnUnknown.COMPENSATE)
    saga.succeed("reserve")
    saga.timer_when_due()
    saga.undo_succeeds("charge")
    assert saga.succeed("charge", {}, attempt=1).verdict is Verdict.APPLIED
    saga.undo_succeeds("reserve")
    assert saga.sent_names[-1] == "undo charge 2"


def test_failures_and_signs_of_life_have_no_output_to_check() -> None:
    saga = _charging()
    saga.succeed("reserve")
    assert saga.fail("charge").verdict is Verdict.APPLIED


def test_the_output_of_an_undo_is_not_checked() -> None:
    saga = running(replace(step("charge"), output=RECEIPT), "ship")
    saga.succeed("charge", {"receipt": "R-1"})
    saga.reject("ship")
    assert saga.sent_names[-1] == "undo charge 1"
    assert saga.undo_succeeds("charge").verdict is Verdict.APPLIED


def test_the_output_of_a_confirming_probe_is_checked() -> None:
    saga = _charging(OnUnknown.PROBE)
    saga.succeed("reserve")
    saga.timer_when_due()
    unusable = saga.it_happened("charge", {})
    assert unusable.reason == "the output of step 'charge' does not fit: receipt is missing"
    assert (saga.step("charge").status, saga.step("charge").fault) == (
        StepStatus.UNKNOWN,
        Fault("invalid_output", unusable.reason),
    )
    saga.timer_when_due()
    assert saga.sent_names[-1] == "ask charge 2"
    saga.it_happened("charge", {"receipt": "R-1"})
    assert saga.sent_names[-1] == "ship 1"


def test_an_output_that_a_person_gives_is_read_as_a_worker_s_is() -> None:
    saga = _charging(OnUnknown.HOLD)
    saga.succeed("reserve")
    saga.timer_when_due()
    before = saga.state
    refused = saga.operate(Operation.RESOLVE, "charge", resolution=Resolution.SUCCEEDED, output={"reciept": "R-1"})
    assert (refused.verdict, refused.reason) == (
        Verdict.REFUSED,
        "the output does not fit step 'charge': receipt is missing; give it as the step declares it",
    )
    assert saga.state is before
    saga.operate(Operation.RESOLVE, "charge", resolution=Resolution.SUCCEEDED, output={"receipt": "R-1", "by": "ada"})
    assert saga.step("charge").output == {"receipt": "R-1"}


@pytest.mark.parametrize("operation", [Operation.SKIP, Operation.RESOLVE])
def test_a_step_that_has_no_output_needs_none_that_fits(operation: Operation) -> None:
    saga = _charging(OnUnknown.HOLD)
    saga.succeed("reserve")
    saga.timer_when_due()
    resolution = Resolution.FAILED if operation is Operation.RESOLVE else None
    assert saga.operate(operation, "charge", resolution=resolution).verdict is Verdict.APPLIED
