"""Signs of life: an attempt that gives them may take its time, and one that gives none is soon given up on."""

from __future__ import annotations

from saga_service.core.vocabulary import Due, Operation, Verdict
from tests.support.builders import START_MS, SagaInMemory, copy_of, only_command, running, step

HEARTBEAT_MS, TIMEOUT_MS = 3_000, 10_000


def _sent() -> SagaInMemory:
    return running(step("explore", heartbeat_ms=HEARTBEAT_MS, timeout_ms=TIMEOUT_MS))


def _exploring() -> SagaInMemory:
    """Its worker has just taken it on, and said so."""
    saga = _sent()
    saga.progress("explore")
    return saga


def test_a_command_that_lies_in_its_stream_is_not_silent() -> None:
    """Its workers are busy, or wait for a limit; the time-out is what it has to be done within."""
    saga = _sent()
    assert (saga.step("explore").due_at_ms, saga.state.wake_at_ms) == (START_MS + TIMEOUT_MS, START_MS + TIMEOUT_MS)
    saga.now_ms += HEARTBEAT_MS + 2_000
    saga.progress("explore")
    assert (saga.step("explore").due_at_ms, saga.state.wake_at_ms) == (START_MS + 8_000, START_MS + 8_000)


def test_silence_ends_the_attempt_after_the_heartbeat() -> None:
    saga = _exploring()
    assert saga.step("explore").due_at_ms == START_MS + HEARTBEAT_MS
    saga.timer_when_due()
    assert saga.statuses("explore") == ["unknown"]
    assert saga.step("explore").fault is not None
    assert saga.history[-1].fault is not None
    assert saga.history[-1].fault.code == "heartbeat_timeout"


def test_the_command_s_deadline_is_the_time_out_and_not_the_heartbeat() -> None:
    saga = _sent()
    assert saga.sent[0].deadline_ms == START_MS + TIMEOUT_MS


def test_a_command_carries_its_heartbeat_and_its_undo_does_not() -> None:
    saga = _sent()
    assert saga.sent[0].heartbeat_ms == HEARTBEAT_MS
    saga.succeed("explore")
    saga.operate(Operation.COMPENSATE)
    assert (saga.sent_names[-1], saga.sent[-1].heartbeat_ms) == ("undo explore 1", None)


def test_a_sign_of_life_extends_the_wait() -> None:
    saga = _exploring()
    saga.now_ms += 2_000
    extended = saga.progress("explore")
    assert (extended.verdict, extended.commands) == (Verdict.APPLIED, ())
    assert saga.step("explore").due_at_ms == START_MS + 2_000 + HEARTBEAT_MS
    assert saga.history[-1].event == "action_progressed"
    saga.now_ms = START_MS + HEARTBEAT_MS
    assert saga.timer().history == ()
    assert saga.statuses("explore") == ["dispatched"]


def test_signs_of_life_never_extend_beyond_the_deadline() -> None:
    saga = _exploring()
    for _ in range(9):
        saga.now_ms += 1_000
        saga.progress("explore")
    assert saga.step("explore").due_at_ms == START_MS + TIMEOUT_MS
    saga.timer_when_due()
    assert saga.history[-1].fault is not None
    assert saga.history[-1].fault.code == "timeout"


def test_signs_of_life_are_written_about_three_times_per_heartbeat() -> None:
    saga = _exploring()
    for _ in range(HEARTBEAT_MS // 100):
        saga.now_ms += 100
        saga.progress("explore")
    assert [line.event for line in saga.history].count("action_progressed") == 1 + 3


def test_a_sign_of_life_just_after_another_changes_nothing() -> None:
    saga = _exploring()
    saga.now_ms += 999
    before = saga.state
    assert saga.progress("explore").verdict is Verdict.REPEATED
    assert saga.state is before
    saga.now_ms += 1
    assert saga.progress("explore").verdict is Verdict.APPLIED


def test_an_unexpected_sign_of_life_changes_nothing() -> None:
    saga = running("explore")
    saga.now_ms += 10_000
    assert saga.progress("explore").verdict is Verdict.REPEATED


def test_a_sign_of_life_after_the_time_out_changes_nothing() -> None:
    saga = _exploring()
    saga.timer_when_due()
    before = saga.state
    assert saga.progress("explore").verdict is Verdict.REPEATED
    assert saga.state is before


def test_the_next_attempt_has_a_heartbeat_and_a_deadline_of_its_own() -> None:
    saga = _exploring()
    saga.timer_when_due()
    command = only_command(saga.timer_when_due())
    assert command.deadline_ms == saga.now_ms + TIMEOUT_MS
    explore = saga.step("explore")
    assert (explore.due, explore.due_at_ms) == (Due.TIMEOUT, saga.now_ms + TIMEOUT_MS)
    saga.progress("explore")
    assert saga.step("explore").due_at_ms == saga.now_ms + HEARTBEAT_MS


def test_after_a_lost_stream_the_command_keeps_its_deadline() -> None:
    saga = _exploring()
    saga.now_ms += 2_000
    saga.progress("explore")
    assert saga.lose_transport().commands == (copy_of(saga.sent[0]),)


def test_a_heartbeat_longer_than_the_time_out_is_cut_short_by_it() -> None:
    saga = running(step("explore", heartbeat_ms=60_000, timeout_ms=TIMEOUT_MS))
    assert saga.progress("explore").verdict is Verdict.REPEATED
    assert saga.step("explore").due_at_ms == START_MS + TIMEOUT_MS
