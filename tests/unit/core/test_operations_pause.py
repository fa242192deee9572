"""A paused saga sends nothing. What comes in is recorded, and resuming goes on from there."""

from __future__ import annotations

import pytest

from saga_service.core.vocabulary import Course, Due, OnUnknown, Operation, Resolution, SagaStatus, Verdict
from tests.support.builders import ONCE, SagaInMemory, child, nap, running, step


def _paused(*names: str) -> SagaInMemory:
    saga = running(*names)
    saga.operate(Operation.PAUSE)
    return saga


def test_a_pause_is_recorded_with_its_actor_and_reason() -> None:
    saga = _paused("reserve")
    line = saga.history[-1]
    assert (line.event, line.status, line.actor, line.reason) == (
        "pause_requested",
        SagaStatus.PAUSED,
        "ada",
        "because",
    )


def test_after_a_success_while_paused_the_next_step_begins_when_resumed() -> None:
    saga = _paused("reserve", "charge")
    assert saga.succeed("reserve").commands == ()
    assert (saga.status, saga.statuses("reserve", "charge")) == (SagaStatus.PAUSED, ["succeeded", "pending"])
    assert saga.operate(Operation.RESUME).commands == (saga.sent[-1],)
    assert (saga.status, saga.sent_names) == (SagaStatus.RUNNING, ["reserve 1", "charge 1"])
    assert saga.history[-1].sent == (saga.sent[-1],)


def test_the_last_success_while_paused_ends_the_saga_when_resumed() -> None:
    saga = _paused("reserve")
    saga.succeed("reserve")
    assert (saga.status, saga.ends) == (SagaStatus.PAUSED, [])
    saga.operate(Operation.RESUME)
    assert (saga.status, len(saga.ends)) == (SagaStatus.COMPLETED, 1)


def test_after_a_failure_while_paused_the_undo_begins_when_resumed() -> None:
    saga = running("reserve", "charge")
    saga.succeed("reserve")
    saga.operate(Operation.PAUSE)
    saga.reject("charge")
    assert (saga.status, saga.state.course) == (SagaStatus.PAUSED, Course.BACKWARD)
    assert saga.sent_names == ["reserve 1", "charge 1"]
    saga.operate(Operation.RESUME)
    assert (saga.status, saga.sent_names[-1]) == (SagaStatus.COMPENSATING, "undo reserve 1")


def test_a_cancelled_saga_that_is_paused_stays_paused() -> None:
    saga = running("reserve", "charge")
    saga.succeed("reserve")
    saga.operate(Operation.PAUSE)
    saga.operate(Operation.CANCEL)
    assert (saga.status, saga.state.course) == (SagaStatus.PAUSED, Course.BACKWARD)
    saga.reject("charge")
    saga.operate(Operation.RESUME)
    assert saga.sent_names[-1] == "undo reserve 1"


def test_a_cancel_while_paused_calls_a_child_off_all_the_same() -> None:
    saga = running(child("deliver"))
    saga.operate(Operation.PAUSE)
    saga.operate(Operation.CANCEL)
    assert saga.asked_of_children == ["start deliver 1", "cancel deliver 1"]


def test_no_attempt_is_made_again_before_the_saga_is_resumed() -> None:
    saga = _paused("reserve")
    saga.fail("reserve")
    assert (saga.step("reserve").due, saga.state.wake_at_ms) == (Due.RETRY, None)
    saga.now_ms += 1_000_000
    assert saga.timer().verdict is Verdict.REPEATED
    saga.operate(Operation.RESUME)
    assert saga.state.wake_at_ms == saga.step("reserve").due_at_ms
    saga.timer()
    assert saga.sent_names == ["reserve 1", "reserve 2"]


def test_a_time_out_while_paused_is_recorded() -> None:
    saga = _paused("reserve")
    saga.timer_when_due()
    assert (saga.status, saga.statuses("reserve")) == (SagaStatus.PAUSED, ["unknown"])


def test_a_probe_due_while_paused_is_sent_when_resumed() -> None:
    saga = running(step("charge", on_unknown=OnUnknown.PROBE))
    saga.operate(Operation.PAUSE)
    saga.timer_when_due()
    assert (saga.step("charge").due, saga.sent_names) == (Due.PROBE_RETRY, ["charge 1"])
    saga.operate(Operation.RESUME)
    saga.timer_when_due()
    assert saga.sent_names == ["charge 1", "ask charge 1"]


def test_time_passes_for_a_sleep_while_paused() -> None:
    saga = running(nap("rest"), "charge")
    saga.operate(Operation.PAUSE)
    saga.timer_when_due()
    assert (saga.statuses("rest", "charge"), saga.sent_names) == (["succeeded", "pending"], [])


def test_after_an_undo_while_paused_the_next_one_waits() -> None:
    saga = running("reserve", "pack", step("charge", retry=ONCE))
    saga.succeed("reserve")
    saga.succeed("pack")
    saga.fail("charge")
    saga.operate(Operation.PAUSE)
    assert saga.undo_succeeds("pack").commands == ()
    saga.operate(Operation.RESUME)
    assert (saga.status, saga.sent_names[-1]) == (SagaStatus.COMPENSATING, "undo reserve 1")


def test_a_stuck_saga_may_be_paused_and_is_stuck_again_when_resumed() -> None:
    saga = running(step("charge", on_unknown=OnUnknown.HOLD))
    saga.timer_when_due()
    saga.operate(Operation.PAUSE)
    assert saga.status == SagaStatus.PAUSED
    saga.operate(Operation.RESUME)
    assert saga.status == SagaStatus.STUCK


def test_an_operation_while_paused_is_applied_and_sends_nothing() -> None:
    saga = running(step("charge", on_unknown=OnUnknown.HOLD), "ship")
    saga.timer_when_due()
    saga.operate(Operation.PAUSE)
    refusal = saga.operate(Operation.RETRY, "charge")
    assert (refusal.verdict, refusal.reason) == (Verdict.REFUSED, "the saga is paused; resume it first")
    saga.operate(Operation.RESOLVE, "charge", resolution=Resolution.SUCCEEDED)
    assert (saga.status, saga.sent_names) == (SagaStatus.PAUSED, ["charge 1"])
    saga.operate(Operation.RESUME)
    assert saga.sent_names == ["charge 1", "ship 1"]


def test_after_a_lost_stream_a_paused_saga_sends_nothing() -> None:
    saga = _paused("reserve")
    assert saga.lose_transport().verdict is Verdict.REPEATED


def test_only_a_saga_under_way_is_paused_and_only_a_paused_one_resumed() -> None:
    saga = running("reserve")
    assert saga.operate(Operation.RESUME).reason == "the saga is not paused, but running"
    saga.succeed("reserve")
    assert saga.operate(Operation.PAUSE).verdict is Verdict.REFUSED


def test_a_second_pause_changes_nothing() -> None:
    saga = _paused("reserve")
    before = saga.state
    assert saga.operate(Operation.PAUSE).verdict is Verdict.REPEATED
    assert saga.state is before


@pytest.mark.parametrize("late", ["succeed", "fail"])
def test_a_late_answer_while_paused_settles_the_doubt(late: str) -> None:
    saga = _paused("reserve", "charge")
    saga.timer_when_due()
    (saga.succeed if late == "succeed" else saga.fail)("reserve")
    assert saga.statuses("reserve") == ["succeeded" if late == "succeed" else "pending"]
    assert saga.step("reserve").unanswered == ()
