"""An answer whose output is not what the action is said to return: nobody knows then what happened."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from saga_service.core.vocabulary import OnUnknown, Operation, Resolution, StepStatus, Verdict
from tests.support.builders import Only, SagaInMemory, running, step

RECEIPT = Only("receipt")


def _charging(on_unknown: OnUnknown = OnUnknown.RETRY) -> SagaInMemory:
    return running("reserve", replace(step("charge", on_unknown=on_unknown), output=RECEIPT), "ship")


def test_what_fits_is_taken() -> None:
    saga = _charging()
    saga.succeed("reserve")
    assert saga.succeed("charge", {"receipt": "R-1", "more": 5}).verdict is Verdict.APPLIED
    assert saga.step("charge").output == {"receipt": "R-1"}, "as it was read"


@pytest.mark.parametrize("output", [{}, {"amount": 5}, None])
def test_an_output_that_does_not_fit_is_refused_and_the_step_waits_on(output: dict[str, Any] | None) -> None:
    saga = _charging()
    saga.succeed("reserve")
    before = saga.state
    refused = saga.succeed("charge", output)
    assert (refused.verdict, refused.reason) == (
        Verdict.REFUSED,
        "the output of step 'charge' does not fit: receipt is missing",
    )
    assert saga.state is before
    saga.timer_when_due()
    saga.timer_when_due()
    assert saga.sent_names[-1] == "charge 2"
    saga.succeed("charge", {"receipt": "R-1"})
    assert saga.sent_names[-1] == "ship 1"


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
    refused = saga.it_happened("charge", {})
    assert refused.reason == "the output of step 'charge' does not fit: receipt is missing"
    assert saga.step("charge").status is not StepStatus.SUCCEEDED
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
