"""Taking back: its own budget, and what happens when it runs out."""

from __future__ import annotations

from saga_service.core.retry import RetryPolicy
from saga_service.core.state import Fault
from saga_service.core.timers import TIMED_OUT
from saga_service.core.vocabulary import Due, Operation, SagaStatus, StepStatus, Verdict
from tests.support.builders import (
    COMPENSATION_TIMEOUT_MS,
    ONCE,
    RETRY,
    SAGA_ID,
    START_MS,
    SagaInMemory,
    only_command,
    running,
    step,
)


def _undoing() -> SagaInMemory:
    """`reserve` and `charge` are done, `ship` was refused, and `charge` is being undone."""
    saga = running("reserve", "charge", "ship")
    saga.succeed("reserve")
    saga.succeed("charge", {"payment": 7})
    saga.reject("ship", "no road")
    return saga


def _stuck() -> SagaInMemory:
    saga = _undoing()
    saga.undo_rejected("charge", "account closed")
    return saga


def test_attempts_of_one_undo_share_an_idempotency_key() -> None:
    saga = _undoing()
    saga.undo_fails("charge", "busy")
    charge = saga.step("charge")
    assert (charge.status, charge.due, charge.due_at_ms) == (StepStatus.COMPENSATING, Due.RETRY, START_MS + 200)
    assert charge.fault == Fault("busy", "charge: busy")
    command = only_command(saga.timer_when_due())
    assert command.type == "service.undo-charge"
    assert command.id == f"{SAGA_ID}:charge:compensation:2"
    assert command.idempotency_key == f"{SAGA_ID}:charge:compensation"
    assert command.outputs["charge"] == {"payment": 7}
    assert command.deadline_ms == START_MS + 200 + COMPENSATION_TIMEOUT_MS
    assert saga.history[-1].event == "compensation_retry_due"


def test_an_undo_that_times_out_is_tried_again() -> None:
    saga = _undoing()
    saga.timer_when_due()
    assert saga.now_ms == START_MS + COMPENSATION_TIMEOUT_MS
    charge = saga.step("charge")
    assert (charge.status, charge.due, charge.due_at_ms) == (StepStatus.COMPENSATING, Due.RETRY, saga.now_ms + 200)
    assert saga.history[-1].event == "compensation_timed_out"
    assert saga.timer_when_due().commands[0].attempt == 2


def test_an_undo_waits_as_long_as_its_own_policy_or_the_worker_says() -> None:
    patient = RetryPolicy(attempts_max=4, delay_first_ms=1_000, delay_factor=3.0, delay_max_ms=5_000)
    saga = running(step("reserve", compensation_retry=patient), step("charge", retry=ONCE))
    saga.succeed("reserve")
    saga.fail("charge")
    waits_ms = []
    for wish_ms in (None, None, 17):
        saga.undo_fails("reserve", retry_after_ms=wish_ms)
        waits_ms.append((saga.step("reserve").due_at_ms or 0) - saga.now_ms)
        saga.timer_when_due()
    assert waits_ms == [1_000, 3_000, 17]


def test_attempts_spent_on_the_action_do_not_count_against_its_undo() -> None:
    saga = running(step("reserve", retry=RETRY, compensation_retry=RETRY), "charge")
    for _ in range(2):
        saga.fail("reserve")
        saga.timer_when_due()
    saga.succeed("reserve")
    saga.reject("charge")
    for _ in range(2):
        saga.undo_fails("reserve")
        saga.timer_when_due()
    reserve = saga.step("reserve")
    assert (reserve.attempts, reserve.compensation_attempts) == (3, 3)
    assert saga.status == SagaStatus.COMPENSATING
    saga.undo_succeeds("reserve")
    assert saga.status == SagaStatus.COMPENSATED


def test_an_undo_out_of_attempts_stops_the_saga_and_nothing_else_is_undone() -> None:
    saga = _undoing()
    for _ in range(2):
        saga.undo_fails("charge", "busy")
        saga.timer_when_due()
    transition = saga.undo_fails("charge", "gone for good")
    assert transition.commands == ()
    assert transition.ended is None
    assert saga.status == SagaStatus.STUCK
    assert saga.sent_names[3:] == ["undo charge 1", "undo charge 2", "undo charge 3"]
    assert saga.step("charge").status is StepStatus.COMPENSATION_FAILED
    assert saga.step("reserve").status is StepStatus.SUCCEEDED
    assert saga.step("charge").fault == Fault("gone for good", "charge: gone for good")
    assert (saga.state.ended_at_ms, saga.state.wake_at_ms) == (None, None)
    assert saga.ends == []


def test_an_undo_out_of_attempts_by_time_outs_stops_the_saga() -> None:
    saga = _undoing()
    for _ in range(5):
        saga.timer_when_due()
    assert saga.status == SagaStatus.STUCK
    assert saga.step("charge").fault == TIMED_OUT


def test_what_an_undo_fails_at_is_not_why_the_saga_is_undone() -> None:
    saga = _undoing()
    saga.undo_rejected("charge", "gone for good")
    cause = Fault("no road", "ship: no road", step="ship")
    assert (saga.status, saga.state.fault) == (SagaStatus.STUCK, cause)
    saga.operate(Operation.RETRY)
    saga.undo_succeeds("charge")
    saga.undo_succeeds("reserve")
    assert saga.ends[0].fault == cause


def test_a_rejected_undo_stops_the_saga_at_its_first_attempt() -> None:
    saga = _stuck()
    assert saga.status == SagaStatus.STUCK
    assert saga.sent_names[3:] == ["undo charge 1"]


def test_an_undo_that_fails_with_a_never_retry_code_stops_the_saga() -> None:
    strict = RetryPolicy(attempts_max=9, never_retry=frozenset({"closed"}))
    saga = running(step("reserve", compensation_retry=strict), "charge")
    saga.succeed("reserve")
    saga.reject("charge")
    saga.undo_fails("reserve", "closed")
    assert saga.status == SagaStatus.STUCK


def test_no_timer_moves_a_stuck_saga() -> None:
    saga = _stuck()
    before = saga.state
    saga.now_ms += 10**9
    assert saga.timer().verdict is Verdict.REPEATED
    assert saga.state is before


def test_a_late_success_of_the_undo_continues_the_reverse_order() -> None:
    saga = _stuck()
    transition = saga.undo_succeeds("charge")
    assert saga.status == SagaStatus.COMPENSATING
    assert [command.step for command in transition.commands] == ["reserve"]
    saga.undo_succeeds("reserve")
    assert saga.status == SagaStatus.COMPENSATED
    assert [ended.status for ended in saga.ends] == [SagaStatus.COMPENSATED]


def test_the_success_of_an_earlier_attempt_of_the_undo_counts() -> None:
    saga = _undoing()
    saga.timer_when_due()
    saga.timer_when_due()
    assert saga.step("charge").compensation_attempts == 2
    transition = saga.undo_succeeds("charge", attempt=1)
    assert transition.verdict is Verdict.APPLIED
    assert transition.history[0].attempt == 1
    assert saga.step("charge").status is StepStatus.COMPENSATED
    assert saga.sent_names[-1] == "undo reserve 1"


def test_the_success_of_an_undo_that_waits_for_its_retry_counts() -> None:
    saga = _undoing()
    saga.undo_fails("charge")
    saga.undo_succeeds("charge")
    assert saga.step("charge").status is StepStatus.COMPENSATED
    assert saga.sent_names[-1] == "undo reserve 1"


def test_a_rejection_of_an_undo_that_waits_for_its_retry_stops_the_saga() -> None:
    saga = _undoing()
    saga.undo_fails("charge")
    saga.undo_rejected("charge")
    assert saga.status == SagaStatus.STUCK


def test_the_same_failed_undo_reported_twice_is_one_failure() -> None:
    saga = _undoing()
    saga.undo_fails("charge", "busy")
    before = saga.state
    saga.now_ms += 150
    transition = saga.undo_fails("charge", "busy")
    assert transition.verdict is Verdict.REPEATED
    assert transition.state is before
    assert saga.step("charge").due_at_ms == START_MS + 200


def test_a_failed_undo_reported_after_its_time_out_is_one_failure() -> None:
    saga = _undoing()
    saga.timer_when_due()
    before = saga.state
    assert saga.undo_fails("charge", "busy").verdict is Verdict.REPEATED
    assert saga.state is before
