"""Steps that may not fail for good, and the one that decides."""

from __future__ import annotations

import pytest

from saga_service.core.retry import RetryPolicy
from saga_service.core.timers import PAST_DEADLINE
from saga_service.core.vocabulary import Course, Due, Kind, OnUnknown, Operation, Resolution, SagaStatus, Verdict
from tests.support.builders import ONCE, RETRY, START_MS, TIMEOUT_MS, SagaInMemory, running, step


def _order() -> SagaInMemory:
    """`reserve` may be undone, `charge` decides, and `ship` is tried until it is done."""
    return running(
        "reserve", step("charge", kind=Kind.PIVOT, retry=ONCE), step("ship", kind=Kind.RETRIABLE, retry=ONCE)
    )


def _shipping() -> SagaInMemory:
    saga = _order()
    saga.succeed("reserve")
    saga.succeed("charge")
    return saga


def test_a_retriable_step_out_of_attempts_is_parked() -> None:
    saga = running("reserve", step("ship", kind=Kind.RETRIABLE, retry=ONCE))
    saga.succeed("reserve")
    saga.reject("ship", "no road")
    assert (saga.status, saga.state.course) == (SagaStatus.STUCK, Course.FORWARD)
    assert (saga.statuses("ship"), saga.step("ship").due) == (["failed"], None)
    assert saga.state.fault is not None
    assert (saga.state.fault.code, saga.state.fault.step) == ("no road", "ship")
    assert saga.sent_names == ["reserve 1", "ship 1"]


def test_a_retriable_step_that_times_out_too_often_is_parked_as_unknown() -> None:
    saga = _shipping()
    saga.timer_when_due()
    assert (saga.status, saga.statuses("ship")) == (SagaStatus.STUCK, ["unknown"])
    saga.succeed("ship")
    assert saga.status == SagaStatus.COMPLETED


def test_the_late_success_of_a_parked_step_sets_the_saga_going() -> None:
    saga = running(step("a", kind=Kind.RETRIABLE, retry=ONCE), "b")
    saga.fail("a")
    assert saga.status == SagaStatus.STUCK
    saga.succeed("a")
    assert (saga.status, saga.state.fault, saga.sent_names[-1]) == (SagaStatus.RUNNING, None, "b 1")


def test_a_late_failure_leaves_a_parked_unknown_step_parked_as_failed() -> None:
    saga = _shipping()
    saga.timer_when_due()
    saga.fail("ship")
    assert (saga.status, saga.statuses("ship"), saga.step("ship").unanswered) == (SagaStatus.STUCK, ["failed"], ())


def test_no_step_begins_while_another_is_parked() -> None:
    saga = running(step("a", kind=Kind.RETRIABLE, retry=ONCE), step("b", after=()), step("c", after=("b",)))
    saga.fail("a")
    saga.succeed("b")
    assert (saga.status, saga.statuses("b", "c")) == (SagaStatus.STUCK, ["succeeded", "pending"])
    saga.operate(Operation.SKIP, "a")
    assert saga.sent_names[-1] == "c 1"


def test_a_pivot_that_fails_starts_compensating() -> None:
    saga = _order()
    saga.succeed("reserve")
    saga.fail("charge")
    assert (saga.status, saga.sent_names[-1]) == (SagaStatus.COMPENSATING, "undo reserve 1")


def test_a_pivot_in_doubt_is_parked() -> None:
    saga = _order()
    saga.succeed("reserve")
    saga.timer_when_due()
    assert (saga.status, saga.statuses("charge")) == (SagaStatus.STUCK, ["unknown"])
    assert saga.state.course is Course.FORWARD


def test_a_parked_pivot_that_did_not_happen_starts_compensating() -> None:
    saga = _order()
    saga.succeed("reserve")
    saga.timer_when_due()
    saga.reject("charge")
    assert (saga.status, saga.statuses("charge")) == (SagaStatus.COMPENSATING, ["failed"])


def test_a_pivot_to_be_undone_when_unknown_is_parked_all_the_same() -> None:
    saga = running(step("charge", kind=Kind.PIVOT, on_unknown=OnUnknown.COMPENSATE))
    saga.timer_when_due()
    assert (saga.status, saga.statuses("charge")) == (SagaStatus.STUCK, ["unknown"])


def test_a_person_may_say_that_a_parked_pivot_did_not_happen() -> None:
    saga = _order()
    saga.succeed("reserve")
    saga.timer_when_due()
    saga.operate(Operation.RESOLVE, resolution=Resolution.FAILED)
    assert (saga.status, saga.sent_names[-1]) == (SagaStatus.COMPENSATING, "undo reserve 1")


def test_before_the_pivot_begins_the_saga_may_be_cancelled() -> None:
    saga = _order()
    assert saga.operate(Operation.CANCEL).verdict is Verdict.APPLIED


def test_a_pivot_that_failed_and_waits_for_its_retry_has_not_decided_yet() -> None:
    saga = running("reserve", step("charge", kind=Kind.PIVOT))
    saga.succeed("reserve")
    saga.fail("charge")
    assert saga.step("charge").due is Due.RETRY
    saga.operate(Operation.CANCEL)
    assert (saga.statuses("charge"), saga.sent_names[-1]) == (["failed"], "undo reserve 1")


@pytest.mark.parametrize("answer", ["in flight", "in doubt", "done", "all done"])
def test_no_cancel_is_applied_once_the_pivot_is_done_or_may_be(answer: str) -> None:
    saga = running("reserve", step("charge", kind=Kind.PIVOT), step("ship", kind=Kind.RETRIABLE))
    saga.succeed("reserve")
    if answer == "in doubt":
        saga.timer_when_due()
    elif answer != "in flight":
        saga.succeed("charge")
    if answer == "all done":
        saga.succeed("ship")
    before = saga.state
    refusal = saga.operate(Operation.COMPENSATE)
    assert (refusal.verdict, saga.state) == (Verdict.REFUSED, before)
    status = "the saga has ended (completed); " if answer == "all done" else ""
    assert refusal.reason == f"{status}the pivot 'charge' is done, or may be: the saga can only go forward"


def _at_the_pivot(retry: RetryPolicy = RETRY) -> SagaInMemory:
    """Its deadline has passed while the pivot was in flight."""
    saga = running("reserve", step("charge", kind=Kind.PIVOT, retry=retry), "ship", deadline_ms=1_000)
    saga.succeed("reserve")
    saga.now_ms += 1_001
    return saga


def test_a_deadline_that_passes_while_the_pivot_is_in_flight_wakes_nobody() -> None:
    saga = _at_the_pivot()
    assert saga.timer().history == ()
    assert saga.state.wake_at_ms == START_MS + TIMEOUT_MS


def test_behind_the_pivot_the_deadline_means_nothing() -> None:
    saga = _at_the_pivot()
    saga.succeed("charge")
    saga.timer()
    saga.succeed("ship")
    assert (saga.status, [line.event for line in saga.history].count("deadline_passed")) == (SagaStatus.COMPLETED, 0)


def test_a_pivot_that_fails_after_the_deadline_is_not_tried_again() -> None:
    saga = _at_the_pivot()
    saga.fail("charge")
    assert saga.state.wake_at_ms is not None
    assert saga.state.wake_at_ms <= saga.now_ms
    saga.timer()
    assert (saga.history[-1].event, saga.sent_names[-1]) == ("deadline_passed", "undo reserve 1")
    assert saga.state.fault == PAST_DEADLINE


def test_a_pivot_in_doubt_suspends_the_deadline_until_it_is_settled() -> None:
    saga = _at_the_pivot(retry=ONCE)
    saga.timer_when_due()
    assert saga.status == SagaStatus.STUCK
    saga.fail("charge", attempt=1)
    assert saga.sent_names[-1] == "undo reserve 1"


def test_a_person_can_not_give_up_what_must_be_done() -> None:
    saga = _shipping()
    refusal = saga.operate(Operation.RESOLVE, "ship", resolution=Resolution.FAILED)
    assert refusal.verdict is Verdict.REFUSED
    assert "the saga can only go forward" in refusal.reason
