"""A request that a child saga leaves unanswered is repeated: it, or the reply to it, may be lost on the way."""

from __future__ import annotations

from dataclasses import replace

import pytest

from saga_service.core.child_repeats import (
    CALLED_OFF_REPEATED_MS,
    REPEAT_FIRST_MS,
    REPEAT_GAP_MS_MAX,
    TIMER_DELAY_MS_MAX,
    next_repeat_ms,
)
from saga_service.core.effects import ChildRequest
from saga_service.core.vocabulary import ChildOperation, OnUnknown, Operation, SagaStatus, Verdict
from tests.support.builders import START_MS, SagaInMemory, child, running, step

MINUTE_MS, HOUR_MS, WEEK_MS = 60_000, 3_600_000, 7 * 24 * 3_600_000


def _parent(on_unknown: OnUnknown = OnUnknown.RETRY) -> SagaInMemory:
    return running(child("deliver", on_unknown=on_unknown, timeout_ms=WEEK_MS))


def _wake(saga: SagaInMemory) -> list[str]:
    """Let the time pass until the saga is to be woken, and wake it; what it asks of its children then."""
    wake_at_ms = saga.state.wake_at_ms
    assert wake_at_ms is not None, "it is to be woken"
    saga.now_ms = max(saga.now_ms, wake_at_ms)
    return [f"{sent.operation} {sent.attempt}" for sent in saga.timer().commands if isinstance(sent, ChildRequest)]


def test_a_child_that_does_not_answer_is_asked_to_start_again() -> None:
    saga = _parent()
    assert saga.state.wake_at_ms == START_MS + REPEAT_FIRST_MS
    assert _wake(saga) == ["start 1"]
    first, again = saga.requests
    assert again == first._replace(is_copy=True), "under the same command id, so that a child that is there ignores it"


def test_a_repeat_changes_nothing_but_the_moment_of_waking() -> None:
    saga = _parent()
    before = saga.state
    _wake(saga)
    assert saga.state._replace(wake_at_ms=before.wake_at_ms) == before
    assert [entry.event for entry in saga.history] == ["started"]


def test_repeats_come_less_and_less_often_and_once_an_hour_in_the_end() -> None:
    saga = _parent()
    after_ms = []
    for _ in range(11):
        assert _wake(saga) == ["start 1"]
        after_ms.append(saga.now_ms - START_MS)
    minutes = [0.5, 1, 2, 4, 8, 16, 32, 60, 120, 180, 240]
    assert after_ms == [int(minute * MINUTE_MS) for minute in minutes]


def test_a_child_s_time_out_is_not_moved_by_repeats() -> None:
    saga = _parent(OnUnknown.HOLD)
    while saga.statuses("deliver") == ["dispatched"]:
        _wake(saga)
    assert (saga.now_ms, saga.status) == (START_MS + WEEK_MS, SagaStatus.STUCK)


def test_a_child_that_has_answered_is_asked_nothing_more() -> None:
    saga = running(child("deliver"), step("charge", timeout_ms=HOUR_MS))
    saga.succeed("deliver")
    assert _wake(saga) == []
    assert saga.state.wake_at_ms == START_MS + HOUR_MS


def test_the_cancel_of_a_child_is_repeated_from_the_moment_at_which_it_was_cancelled() -> None:
    saga = _parent()
    saga.now_ms = START_MS + 3 * HOUR_MS
    saga.timer()
    saga.now_ms += MINUTE_MS
    saga.operate(Operation.CANCEL)
    cancelled_at_ms = saga.now_ms
    assert _wake(saga) == ["cancel 1"]
    assert saga.now_ms == cancelled_at_ms + REPEAT_FIRST_MS


def test_the_cancel_of_a_child_that_took_too_long_is_repeated() -> None:
    saga = running(child("deliver", timeout_ms=10_000))
    assert _wake(saga) == ["cancel 1"], "it took too long"
    called_off_at_ms = saga.now_ms
    assert saga.status == SagaStatus.STUCK
    assert _wake(saga) == ["cancel 1"]
    assert saga.now_ms == called_off_at_ms + REPEAT_FIRST_MS


def test_the_cancel_of_a_child_that_took_too_long_is_repeated_for_a_day_and_then_left_to_a_person() -> None:
    saga = running(child("deliver", timeout_ms=10_000))
    _wake(saga)
    called_off_at_ms, asked_at_ms = saga.now_ms, [0]
    while saga.state.wake_at_ms is not None and len(asked_at_ms) < 50:
        if _wake(saga) == ["cancel 1"]:
            asked_at_ms.append(saga.now_ms)
    assert asked_at_ms[-1] == called_off_at_ms + CALLED_OFF_REPEATED_MS - REPEAT_GAP_MS_MAX
    assert saga.state.wake_at_ms is None
    assert saga.status == SagaStatus.STUCK


def test_the_undo_of_a_child_is_repeated() -> None:
    saga = running(replace(child("deliver"), compensation_timeout_ms=HOUR_MS), step("charge", timeout_ms=HOUR_MS))
    saga.succeed("deliver")
    saga.now_ms += MINUTE_MS
    saga.timer()
    saga.reject("charge")
    undone_at_ms = saga.now_ms
    assert _wake(saga) == ["compensate 1"]
    assert saga.now_ms == undone_at_ms + REPEAT_FIRST_MS


def test_a_command_of_a_worker_is_not_repeated() -> None:
    saga = running(step("charge", timeout_ms=WEEK_MS))
    assert saga.state.wake_at_ms == START_MS + WEEK_MS


def test_a_paused_saga_repeats_nothing_until_it_is_resumed() -> None:
    saga = _parent()
    saga.operate(Operation.PAUSE)
    saga.now_ms += HOUR_MS
    assert saga.timer().commands == ()
    assert saga.state.wake_at_ms == START_MS + WEEK_MS
    saga.operate(Operation.RESUME)
    assert saga.asked_of_children == ["start deliver 1", "start deliver 1"]
    assert _wake(saga) == ["start 1"]


def test_a_timer_that_comes_late_repeats_a_request_once() -> None:
    saga = _parent()
    saga.now_ms = START_MS + 5 * MINUTE_MS
    assert len(saga.timer().commands) == 1
    assert saga.state.wake_at_ms == START_MS + 8 * MINUTE_MS


def test_a_saga_that_went_on_just_before_its_timer_came_still_repeats() -> None:
    saga = running(child("deliver", after=(), timeout_ms=WEEK_MS), step("charge", after=(), timeout_ms=HOUR_MS))
    saga.now_ms = START_MS + REPEAT_FIRST_MS + 500
    saga.succeed("charge")
    saga.now_ms += TIMER_DELAY_MS_MAX // 2
    assert len(saga.timer().commands) == 1


def test_a_timer_that_finds_nothing_due_repeats_nothing() -> None:
    saga = _parent()
    saga.now_ms += REPEAT_FIRST_MS - 1
    assert (saga.timer().verdict, saga.timer().commands) == (Verdict.REPEATED, ())


def test_a_child_whose_start_came_twice_is_told_so_and_begins_once() -> None:
    saga = _parent()
    _wake(saga)
    assert [request.operation for request in saga.requests] == [ChildOperation.START] * 2
    assert len({request.child_id for request in saga.requests}) == 1


@pytest.mark.parametrize("elapsed_ms", [0, 1, REPEAT_FIRST_MS - 1, REPEAT_FIRST_MS, HOUR_MS - 1, HOUR_MS, WEEK_MS + 7])
def test_the_next_repeat_lies_ahead_and_never_more_than_the_longest_gap(elapsed_ms: int) -> None:
    ahead_ms = next_repeat_ms(START_MS, START_MS + elapsed_ms) - START_MS - elapsed_ms
    assert 0 < ahead_ms <= REPEAT_GAP_MS_MAX
