"""Trying again: when, how often, and with what in the end."""

from __future__ import annotations

import pytest

from saga_service.core.ids import command_id
from saga_service.core.retry import RetryPolicy
from saga_service.core.state import Fault
from saga_service.core.vocabulary import Direction, Due, Kind, Operation, SagaStatus, StepStatus, Verdict
from tests.support.builders import ONCE, SAGA_ID, START_MS, TIMEOUT_MS, SagaInMemory, only_command, running, step

COMMAND_ID = command_id(SAGA_ID, "charge", Direction.ACTION, 1)


@pytest.mark.parametrize(
    ("attempt", "delay_ms"), [(1, 200), (2, 400), (3, 800), (4, 1600), (8, 25_600), (9, 30_000), (1000, 30_000)]
)
def test_the_wait_grows_by_the_factor_up_to_the_maximum(attempt: int, delay_ms: int) -> None:
    assert RetryPolicy().delay_after_ms(attempt, COMMAND_ID) == delay_ms


def test_a_factor_of_one_waits_the_same_every_time() -> None:
    policy = RetryPolicy(delay_first_ms=150, delay_factor=1.0)
    assert [policy.delay_after_ms(attempt, COMMAND_ID) for attempt in (1, 2, 50)] == [150, 150, 150]


def test_no_first_wait_means_no_wait_at_all() -> None:
    assert RetryPolicy(delay_first_ms=0).delay_after_ms(40, COMMAND_ID) == 0


def test_a_first_wait_beyond_the_maximum_is_the_maximum() -> None:
    assert RetryPolicy(delay_first_ms=9_000, delay_max_ms=1_000).delay_after_ms(1, COMMAND_ID) == 1_000


def test_attempts_of_one_action_share_an_idempotency_key() -> None:
    saga = running("reserve")
    failed = saga.fail("reserve", "busy")
    assert failed.commands == ()
    waiting = saga.step("reserve")
    assert (waiting.status, waiting.attempts, bool(waiting.unanswered)) == (StepStatus.PENDING, 1, False)
    assert (waiting.due, waiting.due_at_ms) == (Due.RETRY, START_MS + 200)
    assert waiting.fault == Fault("busy", "reserve: busy")
    assert (saga.status, saga.state.fault) == (SagaStatus.RUNNING, None)

    retried = saga.timer_when_due()
    assert saga.now_ms == START_MS + 200
    command = only_command(retried)
    assert command.id == f"{SAGA_ID}:reserve:action:2"
    assert command.idempotency_key == saga.sent[0].idempotency_key == f"{SAGA_ID}:reserve:action"
    assert command.deadline_ms == START_MS + 200 + TIMEOUT_MS
    again = saga.step("reserve")
    assert (again.status, again.attempts, again.due) == (StepStatus.DISPATCHED, 2, Due.TIMEOUT)
    assert again.started_at_ms == START_MS
    assert [(line.event, line.attempt, line.fault) for line in saga.history[1:]] == [
        ("action_failed", 1, Fault("busy", "reserve: busy")),
        ("action_retry_due", 1, None),
    ]


def test_each_wait_is_counted_from_its_own_failure() -> None:
    saga = running(step("reserve", retry=RetryPolicy(attempts_max=5, delay_max_ms=500)))
    waits_ms = []
    for _ in range(4):
        saga.now_ms += 77
        saga.fail("reserve")
        waits_ms.append((saga.step("reserve").due_at_ms or 0) - saga.now_ms)
        saga.timer_when_due()
    assert waits_ms == [200, 400, 500, 500]
    assert saga.sent_names == [f"reserve {attempt}" for attempt in range(1, 6)]


@pytest.mark.parametrize("attempts_max", [1, 2, 5])
def test_a_step_is_given_up_after_exactly_its_attempts(attempts_max: int) -> None:
    saga = running("reserve", step("charge", retry=RetryPolicy(attempts_max=attempts_max)))
    saga.succeed("reserve")
    for _ in range(attempts_max - 1):
        saga.fail("charge", "busy")
        assert saga.status == SagaStatus.RUNNING
        saga.timer_when_due()
    saga.fail("charge", "still busy")
    charge = saga.step("charge")
    assert (charge.status, charge.attempts, charge.due) == (StepStatus.FAILED, attempts_max, None)
    assert (charge.effect_revision, charge.ended_at_ms) == (None, saga.now_ms)
    assert saga.status == SagaStatus.COMPENSATING
    assert saga.state.fault == Fault("still busy", "charge: still busy", step="charge")
    assert saga.sent_names[-1] == "undo reserve 1"


def test_a_worker_may_say_itself_how_long_to_wait() -> None:
    saga = running("reserve")
    saga.fail("reserve", retry_after_ms=12_345)
    assert saga.step("reserve").due_at_ms == START_MS + 12_345


def test_a_worker_may_ask_for_no_wait_at_all() -> None:
    saga = running("reserve")
    saga.fail("reserve", retry_after_ms=0)
    assert saga.step("reserve").due_at_ms == START_MS
    assert saga.timer().commands[0].attempt == 2


def test_a_workers_wish_for_a_wait_buys_no_further_attempt() -> None:
    saga = running(step("reserve", retry=ONCE))
    saga.fail("reserve", retry_after_ms=10)
    assert saga.step("reserve").status is StepStatus.FAILED


def test_a_code_that_is_never_retried_gives_up_at_the_first_attempt() -> None:
    saga = running(step("charge", retry=RetryPolicy(attempts_max=9, never_retry=frozenset({"declined"}))))
    saga.fail("charge", "declined")
    assert saga.step("charge").status is StepStatus.FAILED
    assert saga.status == SagaStatus.COMPENSATED


def test_other_codes_are_retried_all_the_same() -> None:
    saga = running(step("charge", retry=RetryPolicy(never_retry=frozenset({"declined"}))))
    saga.fail("charge", "busy")
    assert saga.step("charge").status is StepStatus.PENDING


def test_a_rejected_step_is_not_tried_again() -> None:
    saga = running("charge")
    saga.reject("charge", "no such account")
    assert saga.step("charge").status is StepStatus.FAILED
    assert saga.sent_names == ["charge 1"]


def test_a_rejection_ends_the_wait_for_the_retry() -> None:
    saga = running("charge")
    saga.fail("charge")
    saga.reject("charge", attempt=1)
    charge = saga.step("charge")
    assert (charge.status, charge.due, charge.due_at_ms) == (StepStatus.FAILED, None, None)
    assert saga.state.wake_at_ms is None
    assert saga.timer().verdict is Verdict.REPEATED


def _timed_out_once() -> SagaInMemory:
    saga = running("reserve", "charge")
    saga.succeed("reserve")
    saga.timer_when_due()
    return saga


def test_a_step_that_times_out_is_unknown_and_not_failed() -> None:
    saga = _timed_out_once()
    charge = saga.step("charge")
    assert saga.now_ms == START_MS + TIMEOUT_MS
    assert (charge.status, bool(charge.unanswered)) == (StepStatus.UNKNOWN, True)
    assert (charge.due, charge.due_at_ms) == (Due.RETRY, START_MS + TIMEOUT_MS + 200)
    assert charge.fault is not None
    assert charge.fault.code == "timeout"
    assert saga.status == SagaStatus.RUNNING
    assert saga.history[-1].event == "action_timed_out"
    assert saga.history[-1].fault == charge.fault


def test_an_unknown_step_is_tried_again_with_the_same_idempotency_key() -> None:
    saga = _timed_out_once()
    command = only_command(saga.timer_when_due())
    assert command.id == f"{SAGA_ID}:charge:action:2"
    assert command.idempotency_key == f"{SAGA_ID}:charge:action"


def test_a_success_after_a_time_out_settles_the_doubt() -> None:
    saga = _timed_out_once()
    saga.timer_when_due()
    saga.succeed("charge", {"payment": 7})
    charge = saga.step("charge")
    assert (charge.status, bool(charge.unanswered), charge.output) == (StepStatus.SUCCEEDED, False, {"payment": 7})
    assert saga.status == SagaStatus.COMPLETED


def test_a_step_out_of_attempts_by_time_outs_is_undone_too_and_first() -> None:
    saga = _timed_out_once()
    for _ in range(4):
        saga.timer_when_due()
    assert saga.sent_names == ["reserve 1", "charge 1", "charge 2", "charge 3", "undo charge 1"]
    assert saga.state.fault is not None
    assert (saga.state.fault.code, saga.state.fault.step) == ("timeout", "charge")
    saga.undo_succeeds("charge")
    saga.undo_succeeds("reserve")
    assert saga.sent_names[-1] == "undo reserve 1"
    assert saga.status == SagaStatus.COMPENSATED


def test_a_failure_after_an_attempt_in_doubt_counts_as_unknown() -> None:
    """The failed attempt says nothing about the earlier one, which may have done it."""
    saga = _timed_out_once()
    saga.timer_when_due()
    saga.fail("charge", "busy")
    charge = saga.step("charge")
    assert (charge.status, bool(charge.unanswered), charge.due) == (StepStatus.UNKNOWN, True, Due.RETRY)
    saga.timer_when_due()
    saga.fail("charge", "busy")
    assert saga.step("charge").status is StepStatus.COMPENSATING
    assert saga.sent_names[-1] == "undo charge 1"


def test_a_rejection_after_an_attempt_in_doubt_counts_as_unknown() -> None:
    saga = _timed_out_once()
    saga.timer_when_due()
    saga.reject("charge")
    assert saga.step("charge").status is StepStatus.COMPENSATING
    assert saga.sent_names[-1] == "undo charge 1"
    # It may have happened now at the latest, after all that is known to have happened.
    assert saga.step("charge").effect_revision == saga.state.revision


def test_an_unknown_step_without_compensation_is_passed_over() -> None:
    saga = running("reserve", step("notify", retry=ONCE, undoable=False))
    saga.succeed("reserve")
    saga.timer_when_due()
    notify = saga.step("notify")
    assert (notify.status, notify.due, notify.ended_at_ms) == (StepStatus.UNKNOWN, None, saga.now_ms)
    assert saga.sent_names[-1] == "undo reserve 1"
    saga.undo_succeeds("reserve")
    assert saga.status == SagaStatus.COMPENSATED
    assert saga.step("notify").status is StepStatus.UNKNOWN


def test_time_outs_can_be_named_as_never_to_be_retried() -> None:
    saga = running(step("charge", retry=RetryPolicy(attempts_max=9, never_retry=frozenset({"timeout"}))))
    saga.timer_when_due()
    assert saga.sent_names == ["charge 1", "undo charge 1"]


def test_a_late_failure_settles_the_doubt_and_keeps_the_wait() -> None:
    saga = _timed_out_once()
    due_at_ms = saga.step("charge").due_at_ms
    saga.now_ms += 50
    assert saga.fail("charge", attempt=1).verdict is Verdict.APPLIED
    charge = saga.step("charge")
    assert (charge.status, bool(charge.unanswered)) == (StepStatus.PENDING, False)
    assert (charge.due, charge.due_at_ms) == (Due.RETRY, due_at_ms)
    before = saga.state
    assert saga.fail("charge", attempt=1).verdict is Verdict.REPEATED
    assert saga.state is before


def test_a_late_rejection_gives_the_step_up_with_nothing_to_undo() -> None:
    saga = _timed_out_once()
    saga.reject("charge")
    charge = saga.step("charge")
    assert (charge.status, bool(charge.unanswered), charge.due) == (StepStatus.FAILED, False, None)
    assert saga.sent_names == ["reserve 1", "charge 1", "undo reserve 1"]


def test_jitter_follows_from_the_command_id_alone() -> None:
    policy = RetryPolicy(delay_first_ms=10_000, delay_factor=1.0, jitter=True)
    ids = [command_id(SAGA_ID, "charge", Direction.ACTION, attempt) for attempt in range(1, 201)]
    waits_ms = [policy.delay_after_ms(1, each) for each in ids]
    assert waits_ms == [policy.delay_after_ms(1, each) for each in ids]
    assert all(0 <= wait_ms < 10_000 for wait_ms in waits_ms)
    assert len(set(waits_ms)) > 190
    assert 4_000 < sum(waits_ms) / len(waits_ms) < 6_000


def test_jitter_spreads_the_policy_s_wait_and_not_the_worker_s_wish() -> None:
    spread = RetryPolicy(attempts_max=3, delay_first_ms=10_000, jitter=True)
    saga = running(step("charge", retry=spread))
    saga.fail("charge")
    expected_ms = spread.delay_after_ms(1, saga.sent[0].id)
    assert saga.step("charge").due_at_ms == START_MS + expected_ms
    saga.timer_when_due()
    saga.fail("charge", retry_after_ms=77)
    assert saga.step("charge").due_at_ms == saga.now_ms + 77


def test_no_attempt_begins_after_the_budget() -> None:
    saga = running(
        step("charge", retry=RetryPolicy(attempts_max=9, delay_first_ms=400, delay_factor=1.0, budget_ms=1_000))
    )
    saga.fail("charge")
    saga.timer_when_due()
    saga.fail("charge")
    saga.timer_when_due()
    assert saga.now_ms == START_MS + 800
    saga.fail("charge", "busy")
    assert saga.step("charge").status is StepStatus.FAILED
    assert saga.sent_names == ["charge 1", "charge 2", "charge 3"]


def test_an_attempt_that_would_begin_at_the_very_end_of_the_budget_is_made() -> None:
    saga = running(step("charge", retry=RetryPolicy(attempts_max=9, delay_first_ms=1_000, budget_ms=1_000)))
    saga.fail("charge")
    saga.timer_when_due()
    assert saga.sent_names == ["charge 1", "charge 2"]


def test_a_timer_that_comes_after_the_budget_gives_up_instead_of_trying() -> None:
    saga = running("reserve", step("charge", retry=RetryPolicy(attempts_max=9, delay_first_ms=400, budget_ms=1_000)))
    saga.succeed("reserve")
    saga.fail("charge", "busy")
    saga.now_ms = START_MS + 1_001
    saga.timer()
    assert saga.step("charge").status is StepStatus.FAILED
    assert saga.state.fault == Fault("busy", "charge: busy", step="charge")
    assert saga.sent_names == ["reserve 1", "charge 1", "undo reserve 1"]


def test_an_undo_has_a_budget_of_its_own_from_its_first_attempt_on() -> None:
    brief = RetryPolicy(attempts_max=9, delay_first_ms=400, delay_factor=1.0, budget_ms=500)
    saga = running(step("reserve", compensation_retry=brief), "charge")
    saga.succeed("reserve")
    saga.now_ms += 60_000
    saga.reject("charge")
    saga.undo_fails("reserve")
    saga.timer_when_due()
    assert saga.sent_names[-1] == "undo reserve 2"
    saga.undo_fails("reserve")
    assert saga.status == SagaStatus.STUCK


def test_a_requested_retry_begins_a_new_series_with_a_new_budget() -> None:
    brief = RetryPolicy(attempts_max=2, delay_first_ms=400, delay_factor=1.0, budget_ms=500)
    saga = running(step("charge", retry=brief, kind=Kind.RETRIABLE))
    saga.fail("charge")
    saga.timer_when_due()
    saga.fail("charge")
    assert saga.status == SagaStatus.STUCK
    saga.now_ms += 1_000_000
    saga.operate(Operation.RETRY)
    assert (saga.status, saga.sent_names[-1]) == (SagaStatus.RUNNING, "charge 3")
    saga.fail("charge")
    assert saga.step("charge").due_at_ms == saga.now_ms + 400
    saga.timer_when_due()
    saga.fail("charge")
    assert saga.status == SagaStatus.STUCK
