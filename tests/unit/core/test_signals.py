"""Waiting for time and for somebody's word; and a word that comes before anybody waits for it."""

from __future__ import annotations

from saga_service.core.signals import SIGNALS_MAX
from saga_service.core.state import Signal
from saga_service.core.vocabulary import Due, Kind, Operation, Resolution, SagaStatus, Verdict
from tests.support.builders import START_MS, SagaInMemory, approval, nap, running, step


def _waiting() -> SagaInMemory:
    saga = running("reserve", approval("approve"), "charge")
    saga.succeed("reserve")
    return saga


def test_a_sleep_is_over_when_its_time_has_passed_and_sends_nothing() -> None:
    saga = running(nap("rest", 5_000), "charge")
    assert (saga.statuses("rest"), saga.step("rest").due, saga.sent_names) == (["waiting"], Due.SLEEP, [])
    assert saga.state.wake_at_ms == START_MS + 5_000
    saga.timer_when_due()
    assert (saga.statuses("rest"), saga.sent_names) == (["succeeded"], ["charge 1"])
    assert saga.history[-1].event == "wait_ended"


def test_a_signal_s_data_is_the_output_of_the_step_that_takes_it() -> None:
    saga = _waiting()
    assert (saga.statuses("approve"), saga.step("approve").due) == (["waiting"], Due.SIGNAL)
    saga.signal("approved", {"by": "ada"})
    assert saga.step("approve").output == {"by": "ada"}
    assert (saga.history[-1].event, saga.history[-1].step) == ("signal_received", "approve")
    assert saga.sent[-1].outputs["approve"] == {"by": "ada"}


def test_a_signal_that_comes_before_the_wait_is_buffered() -> None:
    saga = running("reserve", approval("approve"), "charge")
    assert saga.signal("approved", {"by": "ada"}).history[0].event == "signal_buffered"
    assert saga.state.signals == (Signal("approved", "signal-1", {"by": "ada"}),)
    saga.succeed("reserve")
    assert (saga.statuses("approve"), saga.sent_names[-1]) == (["succeeded"], "charge 1")
    assert saga.state.signals == (Signal("approved", "signal-1", None),)


def test_the_same_signal_twice_is_one_even_after_it_was_taken() -> None:
    saga = _waiting()
    saga.signal("approved")
    before = saga.state
    assert saga.signal("approved").verdict is Verdict.REPEATED
    assert saga.state is before


def test_a_signal_that_no_step_will_take_any_more_is_refused() -> None:
    saga = running(approval("approve", default={"by": "nobody"}), "charge")
    saga.timer_when_due()
    assert saga.status == SagaStatus.RUNNING
    refusal = saga.signal("approved")
    assert (refusal.verdict, saga.state.signals) == (Verdict.REFUSED, ())
    assert "no step waits for the signal 'approved' any more" in refusal.reason


def test_a_late_signal_sets_a_stuck_saga_going() -> None:
    saga = running(step("charge", kind=Kind.PIVOT), approval("approve", kind=Kind.RETRIABLE), "ship")
    saga.succeed("charge")
    saga.timer_when_due()
    assert (saga.status, saga.statuses("approve")) == (SagaStatus.STUCK, ["failed"])
    saga.signal("approved", {"by": "ada"})
    assert (saga.status, saga.step("approve").output, saga.sent_names[-1]) == (
        SagaStatus.RUNNING,
        {"by": "ada"},
        "ship 1",
    )


def test_two_steps_that_wait_for_one_name_take_one_signal_each() -> None:
    saga = running("reserve", approval("first"), approval("second"), "charge")
    saga.signal("approved", {"n": 1}, signal_id="a")
    saga.signal("approved", {"n": 2}, signal_id="b")
    saga.succeed("reserve")
    assert (saga.step("first").output, saga.step("second").output) == ({"n": 1}, {"n": 2})


def test_the_same_id_under_another_name_is_another_signal() -> None:
    saga = running("reserve", approval("first", "one"), approval("second", "two"))
    saga.signal("one", signal_id="a")
    assert saga.signal("two", signal_id="a").verdict is Verdict.APPLIED


def test_a_signal_without_content_is_a_signal() -> None:
    saga = running("reserve", approval("approve"))
    saga.signal("approved", {})
    saga.succeed("reserve")
    assert saga.status == SagaStatus.COMPLETED


def test_a_signal_that_no_step_waits_for_is_refused() -> None:
    refusal = _waiting().signal("aproved")
    assert refusal.verdict is Verdict.REFUSED
    assert refusal.reason.endswith("it waits for: approved")
    assert running("reserve").signal("approved").reason.endswith("it waits for none")


def test_an_ended_saga_and_one_that_goes_backward_refuse_a_signal() -> None:
    saga = _waiting()
    saga.operate(Operation.CANCEL)
    assert "no step waits for the signal 'approved' any more" in saga.signal("approved").reason
    saga.undo_succeeds("reserve")
    assert saga.signal("approved").verdict is Verdict.REFUSED


def test_a_saga_keeps_only_so_many_signals() -> None:
    saga = running("reserve", approval("approve"))
    full = tuple(Signal("approved", str(number), {}) for number in range(SIGNALS_MAX))
    saga.current = saga.state._replace(signals=full)
    assert saga.signal("approved", signal_id="0").verdict is Verdict.REPEATED
    assert saga.signal("approved", signal_id="one more").verdict is Verdict.REFUSED


def test_a_signal_that_does_not_come_fails_its_step() -> None:
    saga = _waiting()
    saga.timer_when_due()
    assert (saga.statuses("approve"), saga.sent_names[-1]) == (["failed"], "undo reserve 1")
    assert saga.state.fault is not None
    assert (saga.state.fault.code, saga.state.fault.step) == ("signal_timed_out", "approve")


def test_a_wait_that_is_over_goes_on_with_the_default_where_there_is_one() -> None:
    saga = running(approval("approve", default={"by": "nobody"}), "charge")
    saga.timer_when_due()
    assert (saga.step("approve").output, saga.sent_names) == ({"by": "nobody"}, ["charge 1"])


def test_a_signal_while_paused_is_taken_and_sends_nothing() -> None:
    saga = _waiting()
    saga.operate(Operation.PAUSE)
    assert saga.signal("approved").commands == ()
    assert (saga.status, saga.statuses("approve")) == (SagaStatus.PAUSED, ["succeeded"])
    saga.operate(Operation.RESUME)
    assert saga.sent_names[-1] == "charge 1"


def test_a_person_may_skip_or_resolve_a_wait_but_not_retry_it() -> None:
    refusal = _waiting().operate(Operation.RETRY, "approve")
    assert refusal.verdict is Verdict.REFUSED
    skipped, resolved = _waiting(), _waiting()
    skipped.operate(Operation.SKIP, "approve")
    resolved.operate(Operation.RESOLVE, "approve", resolution=Resolution.SUCCEEDED, output={"by": "phone"})
    assert skipped.sent_names[-1] == resolved.sent_names[-1] == "charge 1"
    assert resolved.step("approve").output == {"by": "phone"}


def test_a_signal_wakes_no_other_step() -> None:
    saga = running(approval("approve"), nap("rest", after=()), step("charge", after=()))
    saga.signal("approved")
    assert saga.statuses("approve", "rest", "charge") == ["succeeded", "waiting", "dispatched"]
