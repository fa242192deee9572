"""Timers, and the one moment that a saga asks to be woken at; and what is sent again when Redis lost a stream."""

from __future__ import annotations

from saga_service.core.state import SagaState, StepState
from saga_service.core.vocabulary import Due, StepStatus, Verdict
from tests.support.builders import COMPENSATION_TIMEOUT_MS, START_MS, TIMEOUT_MS, SagaInMemory, copy_of, running, step


def _without_wake(saga: SagaInMemory) -> SagaState:
    return saga.state._replace(wake_at_ms=None)


def test_steps_that_go_well_never_move_the_moment_of_waking() -> None:
    saga = running("reserve", "charge", "ship")
    wake_at_ms = START_MS + TIMEOUT_MS
    for name in ("reserve", "charge"):
        saga.now_ms += 1_000
        saga.succeed(name)
        assert saga.state.wake_at_ms == wake_at_ms
    assert saga.step("ship").due_at_ms == START_MS + 2_000 + TIMEOUT_MS


def test_an_earlier_due_time_moves_the_moment_of_waking_forward() -> None:
    saga = running("reserve", step("charge", timeout_ms=500))
    saga.now_ms += 100
    saga.succeed("reserve")
    assert saga.state.wake_at_ms == START_MS + 600


def test_a_wait_for_a_retry_moves_the_moment_of_waking_forward() -> None:
    saga = running("reserve")
    saga.fail("reserve")
    assert saga.state.wake_at_ms == START_MS + 200


def test_a_timer_that_comes_too_early_only_moves_the_moment_of_waking() -> None:
    saga = running("reserve", "charge")
    saga.now_ms = START_MS + 1_000
    saga.succeed("reserve")
    before, updated_at_ms = _without_wake(saga), saga.state.updated_at_ms
    saga.now_ms = START_MS + TIMEOUT_MS
    transition = saga.timer()
    assert transition.verdict is Verdict.APPLIED
    assert (transition.history, transition.commands, transition.ended) == ((), (), None)
    assert saga.state.wake_at_ms == START_MS + 1_000 + TIMEOUT_MS
    assert _without_wake(saga) == before
    assert (saga.state.revision, saga.state.updated_at_ms) == (2, updated_at_ms)


def test_a_timer_with_nothing_due_and_nothing_to_move_changes_nothing() -> None:
    saga = running("reserve")
    before = saga.state
    saga.now_ms = START_MS + TIMEOUT_MS - 1
    transition = saga.timer()
    assert transition.verdict is Verdict.REPEATED
    assert transition.state is before


def test_a_timer_is_due_at_its_very_millisecond() -> None:
    saga = running("reserve")
    saga.now_ms = START_MS + TIMEOUT_MS
    saga.timer()
    assert saga.step("reserve").status is StepStatus.UNKNOWN


def test_a_timer_that_comes_long_after_counts_from_now() -> None:
    saga = running("reserve")
    saga.now_ms = START_MS + TIMEOUT_MS + 5_000
    saga.timer()
    assert saga.step("reserve").due_at_ms == START_MS + TIMEOUT_MS + 5_200
    assert saga.state.wake_at_ms == START_MS + TIMEOUT_MS + 5_200


def test_a_timer_does_one_thing_and_leaves_the_next_to_the_next() -> None:
    saga = running("reserve")
    saga.now_ms = START_MS + 10 * TIMEOUT_MS
    assert len(saga.timer().history) == 1
    assert saga.step("reserve").due is Due.RETRY


def test_two_steps_due_at_once_are_two_lines_of_history() -> None:
    """Steps go one after another as yet, so such a state is made by hand."""
    saga = running("reserve", "charge")
    waiting = StepState("", StepStatus.PENDING, attempts=1, due=Due.RETRY, due_at_ms=START_MS)
    saga.current = saga.state._replace(steps=(waiting._replace(name="reserve"), waiting._replace(name="charge")))
    transition = saga.timer()
    assert [(line.revision, line.step) for line in transition.history] == [(2, "reserve"), (3, "charge")]
    assert [[command.step for command in line.sent] for line in transition.history] == [["reserve"], ["charge"]]
    assert saga.state.revision == 3


def test_an_ended_saga_asks_for_no_waking() -> None:
    saga = running("reserve")
    saga.succeed("reserve")
    assert saga.state.wake_at_ms is None


def test_compensating_can_wake_earlier_than_the_action_would_have() -> None:
    saga = running("reserve", "charge")
    saga.succeed("reserve")
    saga.reject("charge")
    assert saga.state.wake_at_ms == START_MS + COMPENSATION_TIMEOUT_MS


def test_after_a_lost_stream_the_command_in_flight_is_sent_again_as_it_was() -> None:
    saga = running("reserve", "charge")
    saga.succeed("reserve", {"place": "A4"})
    before = saga.state
    saga.now_ms += 7_000
    transition = saga.lose_transport()
    assert transition.verdict is Verdict.APPLIED
    assert transition.commands == (copy_of(saga.sent[1]),)
    assert transition.state == before
    assert (transition.history, transition.ended) == ((), None)
    assert saga.lose_transport().commands == transition.commands


def test_after_a_lost_stream_a_later_attempt_is_sent_under_its_own_id() -> None:
    saga = running("reserve")
    saga.fail("reserve")
    saga.timer_when_due()
    assert saga.lose_transport().commands == (copy_of(saga.sent[1]),)


def test_after_a_lost_stream_an_undo_in_flight_is_sent_again_as_it_was() -> None:
    saga = running("reserve", "charge")
    saga.succeed("reserve")
    saga.reject("charge")
    transition = saga.lose_transport()
    assert transition.commands == (copy_of(saga.sent[2]),)


def test_after_a_lost_stream_a_saga_that_waits_for_a_retry_sends_nothing() -> None:
    saga = running("reserve")
    saga.fail("reserve")
    before = saga.state
    transition = saga.lose_transport()
    assert (transition.verdict, transition.commands) == (Verdict.REPEATED, ())
    assert transition.state is before
    assert transition.reason
