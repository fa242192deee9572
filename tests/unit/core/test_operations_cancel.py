"""Cancel and compensate: at every point of a saga's life."""

from __future__ import annotations

import pytest

from saga_service.core.definition import StepDefinition
from saga_service.core.state import Fault
from saga_service.core.vocabulary import OnUnknown, Operation, SagaStatus, Verdict
from tests.support.builders import SagaInMemory, approval, nap, running, step

BOTH = pytest.mark.parametrize("operation", [Operation.CANCEL, Operation.COMPENSATE])


@pytest.mark.parametrize("done", range(4))
def test_a_cancelled_saga_undoes_its_steps_in_reverse_order(done: int) -> None:
    names = ["a", "b", "c", "d"]
    saga = running(*names)
    for name in names[:done]:
        saga.succeed(name)
    cancelled = saga.operate(Operation.CANCEL)
    assert cancelled.commands == (), "what is in flight is awaited"
    saga.reject(names[done])
    for name in reversed(names[:done]):
        saga.undo_succeeds(name)
    assert saga.sent_names[done + 1 :] == [f"undo {name} 1" for name in reversed(names[:done])]
    assert saga.status == SagaStatus.COMPENSATED


@BOTH
def test_actor_and_reason_are_in_the_history_and_in_the_fault(operation: Operation) -> None:
    saga = running("reserve")
    saga.operate(operation)
    line = saga.history[-1]
    assert (line.event, line.actor, line.reason) == (f"{operation}_requested", "ada", "because")
    code = "cancelled" if operation is Operation.CANCEL else "undo_requested"
    assert saga.state.fault == Fault(code, "requested by ada: because")


def test_no_reason_is_a_reason_too() -> None:
    saga = running("reserve")
    saga.operate(Operation.CANCEL, reason=None)
    assert saga.state.fault == Fault("cancelled", "requested by ada")


def test_a_step_in_flight_that_succeeds_after_the_cancel_is_undone_first() -> None:
    saga = running("reserve", "charge")
    saga.succeed("reserve")
    saga.operate(Operation.CANCEL)
    saga.succeed("charge")
    assert saga.sent_names[2:] == ["undo charge 1"]


def test_a_step_that_times_out_after_the_cancel_is_undone() -> None:
    saga = running("reserve", step("charge", on_unknown=OnUnknown.HOLD))
    saga.succeed("reserve")
    saga.operate(Operation.CANCEL)
    saga.timer_when_due()
    assert saga.sent_names[2:] == ["undo charge 1"]


def test_a_step_that_waits_for_its_retry_is_not_tried_again() -> None:
    saga = running("reserve", "charge")
    saga.succeed("reserve")
    saga.fail("charge")
    assert saga.operate(Operation.CANCEL).commands == (saga.sent[-1],)
    assert (saga.statuses("charge"), saga.sent_names[-1]) == (["failed"], "undo reserve 1")


@pytest.mark.parametrize("waiting", [nap("wait"), approval("wait")], ids=["sleep", "signal"])
def test_a_wait_is_skipped(waiting: StepDefinition) -> None:
    saga = running("reserve", waiting)
    saga.succeed("reserve")
    saga.operate(Operation.CANCEL)
    assert (saga.statuses("wait"), saga.sent_names[-1]) == (["skipped"], "undo reserve 1")


def test_with_nothing_done_and_nothing_in_flight_the_saga_ends_at_once() -> None:
    saga = running(nap("wait"), "reserve")
    assert saga.operate(Operation.CANCEL).ended is not None
    assert (saga.status, saga.state.wake_at_ms) == (SagaStatus.COMPENSATED, None)


def test_a_completed_saga_is_not_cancelled_but_may_be_undone() -> None:
    saga = running("reserve", "charge")
    saga.succeed("reserve")
    saga.succeed("charge")
    refusal = saga.operate(Operation.CANCEL)
    assert refusal.verdict is Verdict.REFUSED
    assert "ask for 'compensate'" in refusal.reason
    saga.operate(Operation.COMPENSATE)
    assert (saga.status, saga.state.ended_at_ms) == (SagaStatus.COMPENSATING, None)
    saga.undo_succeeds("charge")
    saga.undo_succeeds("reserve")
    assert saga.sent_names[2:] == ["undo charge 1", "undo reserve 1"]
    assert [ended.status for ended in saga.ends] == [SagaStatus.COMPLETED, SagaStatus.COMPENSATED]


@BOTH
def test_cancelling_a_compensating_or_compensated_saga_changes_nothing(operation: Operation) -> None:
    saga = running("reserve", "charge")
    saga.succeed("reserve")
    saga.reject("charge")
    before = saga.state
    assert saga.operate(operation).verdict is Verdict.REPEATED
    assert saga.state is before
    saga.undo_succeeds("reserve")
    before = saga.state
    assert saga.operate(operation).verdict is Verdict.REPEATED
    assert saga.state is before


def test_a_stuck_saga_that_goes_forward_may_be_cancelled() -> None:
    saga = running("reserve", step("charge", on_unknown=OnUnknown.HOLD))
    saga.succeed("reserve")
    saga.timer_when_due()
    saga.operate(Operation.CANCEL)
    assert (saga.status, saga.sent_names[-1]) == (SagaStatus.COMPENSATING, "undo charge 1")


def test_a_skipped_step_that_may_have_happened_is_undone() -> None:
    saga: SagaInMemory = running("reserve", "charge")
    saga.operate(Operation.SKIP, "reserve")
    saga.reject("charge")
    assert saga.sent_names == ["reserve 1", "charge 1", "undo reserve 1"]
    saga.undo_succeeds("reserve")
    assert (saga.status, saga.statuses("reserve")) == (SagaStatus.COMPENSATED, ["compensated"])


def test_a_skipped_step_that_did_not_happen_is_not_undone() -> None:
    saga: SagaInMemory = running("reserve", "charge")
    saga.operate(Operation.SKIP, "reserve")
    saga.fail("reserve")
    saga.reject("charge")
    assert (saga.status, saga.sent_names) == (SagaStatus.COMPENSATED, ["reserve 1", "charge 1"])


def test_compensating_a_completed_saga_undoes_doubtful_effects_too() -> None:
    saga: SagaInMemory = running("reserve", "charge")
    saga.operate(Operation.SKIP, "reserve")
    saga.succeed("charge")
    saga.operate(Operation.COMPENSATE)
    saga.undo_succeeds("charge")
    assert saga.sent_names[-1] == "undo reserve 1"


def _stuck_at_an_undo() -> SagaInMemory:
    saga = running("reserve", "charge")
    saga.succeed("reserve")
    saga.reject("charge")
    saga.undo_rejected("reserve")
    return saga


@BOTH
def test_cancelling_a_stuck_saga_says_where_it_is_stuck(operation: Operation) -> None:
    transition = _stuck_at_an_undo().operate(operation)
    assert (transition.verdict, transition.reason) == (
        Verdict.REPEATED,
        "the saga is compensating already, and stuck at the undo of 'reserve'; retry, skip or resolve that step",
    )


def test_cancelling_a_paused_saga_that_compensates_says_to_resume_it() -> None:
    saga = _stuck_at_an_undo()
    saga.operate(Operation.PAUSE)
    assert saga.operate(Operation.CANCEL).reason == "the saga is compensating already, and paused; resume it"
