"""Each refusal of a saga that has ended, or is on its way back, tells the true status and a next step that works."""

from __future__ import annotations

import pytest

from saga_service.core.vocabulary import Kind, Operation, Resolution, SagaStatus, Verdict
from tests.support.builders import ONCE, SagaInMemory, approval, running, step

COMPENSATED = "the saga has ended (compensated); to try once more, start another with another key"
COMPLETED = "the saga has ended (completed); to undo it, ask for 'compensate'"
PAST_ITS_PIVOT = "the saga has ended (completed); the pivot 'charge' is done, or may be: the saga can only go forward"


def _compensated() -> SagaInMemory:
    saga = running("reserve", step("charge", retry=ONCE))
    saga.succeed("reserve")
    saga.fail("charge")
    saga.undo_succeeds("reserve")
    assert saga.status == SagaStatus.COMPENSATED
    return saga


def _completed(kind: Kind = Kind.COMPENSATABLE) -> SagaInMemory:
    saga = running("reserve", step("charge", kind=kind))
    saga.succeed("reserve")
    saga.succeed("charge")
    assert saga.status == SagaStatus.COMPLETED
    return saga


@pytest.mark.parametrize("named", [None, "no_such_step"])
@pytest.mark.parametrize("operation", [Operation.RETRY, Operation.SKIP])
def test_no_step_of_a_saga_that_has_ended_is_retried_or_skipped(operation: Operation, named: str | None) -> None:
    assert _compensated().operate(operation, named).reason == COMPENSATED
    assert _completed().operate(operation, named).reason == COMPLETED


@pytest.mark.parametrize("operation", [Operation.RETRY, Operation.SKIP])
def test_a_step_that_was_named_is_told_beside_the_end_of_its_saga(operation: Operation) -> None:
    assert _compensated().operate(operation, "reserve").reason == f"step 'reserve' is compensated, and {COMPENSATED}"
    assert _completed().operate(operation, "reserve").reason == f"step 'reserve' is succeeded, and {COMPLETED}"


@pytest.mark.parametrize("operation", [Operation.PAUSE, Operation.RESUME])
def test_a_saga_that_has_ended_is_neither_paused_nor_resumed(operation: Operation) -> None:
    assert _compensated().operate(operation).reason == COMPENSATED
    assert _completed().operate(operation).reason == COMPLETED


def test_resolving_a_step_of_a_saga_that_has_ended_says_that_it_has() -> None:
    assert _compensated().operate(Operation.RESOLVE, "charge", resolution=Resolution.FAILED).reason == (
        f"step 'charge' is failed, and {COMPENSATED}"
    )
    assert _completed().operate(Operation.RESOLVE, "charge", resolution=Resolution.COMPENSATED).reason == (
        f"step 'charge' is succeeded, and {COMPLETED}"
    )
    assert _completed().operate(Operation.RESOLVE, resolution=Resolution.SUCCEEDED).reason == COMPLETED


@pytest.mark.parametrize("operation", list(Operation))
def test_nobody_is_told_to_undo_a_saga_that_cannot_be_undone(operation: Operation) -> None:
    refusal = _completed(Kind.PIVOT).operate(operation, resolution=Resolution.FAILED)
    assert (refusal.verdict, refusal.reason) == (Verdict.REFUSED, PAST_ITS_PIVOT)


def test_a_signal_to_a_saga_that_has_ended_says_what_can_be_done_instead() -> None:
    saga = running("reserve", approval("approve"))
    saga.succeed("reserve")
    saga.signal("approved", signal_id="first")
    refusal = saga.signal("approved", signal_id="second")
    assert refusal.reason == f"no step waits for the signal 'approved' any more: {COMPLETED}"


@pytest.mark.parametrize("operation", [Operation.RETRY, Operation.SKIP])
def test_a_saga_that_is_paused_on_its_way_back_says_to_resume_it(operation: Operation) -> None:
    saga = running("reserve", step("charge", retry=ONCE))
    saga.succeed("reserve")
    saga.fail("charge")
    saga.operate(Operation.PAUSE)
    assert saga.operate(operation, "charge").reason == (
        "step 'charge' will not be done any more: the saga is compensating already, and paused; resume it"
    )
