"""Waiting for time and for somebody's word; and a word that comes before anybody waits for it."""

from __future__ import annotations

from saga_service.core.events import Signalled, Started
from saga_service.core.signals import BUFFERED_BYTES_MAX, SIGNALS_MAX
from saga_service.core.state import Signal
from saga_service.core.vocabulary import Due, Kind, Operation, Resolution, SagaStatus, Verdict
from tests.support.builders import SAGA_ID, START_MS, Only, SagaInMemory, approval, nap, running, step


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


def test_who_started_a_saga_and_who_sent_a_signal_stands_in_the_history() -> None:
    saga = _waiting()
    saga.apply(Signalled(saga.state.id, "approved", "1", {}, actor="ada"))
    assert (saga.history[-1].event, saga.history[-1].actor) == ("signal_received", "ada")
    early = running("reserve", approval("approve"), "charge")
    early.apply(Signalled(early.state.id, "approved", "1", {}, actor="ada"))
    assert (early.history[-1].event, early.history[-1].actor) == ("signal_buffered", "ada")
    started = SagaInMemory(saga.definition)
    started.apply(Started(SAGA_ID, "order", "v1", None, {}, actor="ada"))
    assert (started.history[0].event, started.history[0].actor) == ("started", "ada")


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


BY = Only("by")


def test_data_that_does_not_fit_is_refused_and_the_wait_goes_on() -> None:
    saga = running("reserve", approval("approve", output=BY), "charge")
    saga.succeed("reserve")
    before = saga.state
    refusal = saga.signal("approved", {"approved_by": "ada"})
    assert (refusal.verdict, refusal.reason) == (
        Verdict.REFUSED,
        "the data of the signal 'approved' does not fit step 'approve': by is missing",
    )
    assert saga.state is before
    assert saga.signal("approved", {"by": "ada", "more": 5}).verdict is Verdict.APPLIED, "under the same id"
    assert saga.step("approve").output == {"by": "ada"}, "as it was read"


def test_data_that_comes_before_its_wait_is_read_when_it_comes() -> None:
    saga = running("reserve", approval("approve", output=BY), "charge")
    assert saga.signal("approved", {}).verdict is Verdict.REFUSED
    assert saga.signal("approved", {"by": "ada", "more": 5}).verdict is Verdict.APPLIED
    saga.succeed("reserve")
    assert saga.step("approve").output == {"by": "ada"}


def test_a_signal_is_taken_by_the_first_wait_that_it_fits() -> None:
    saga = running("reserve", approval("first", output=Only("n")), approval("second", output=BY), "charge")
    saga.signal("approved", {"by": "ada"}, signal_id="a")
    saga.signal("approved", {"n": 1}, signal_id="b")
    saga.succeed("reserve")
    assert (saga.step("first").output, saga.step("second").output) == ({"n": 1}, {"by": "ada"})


def test_a_signal_that_only_a_later_wait_can_take_waits_for_it() -> None:
    saga = running(approval("first", output=Only("n")), approval("second", output=BY), "charge")
    assert saga.signal("approved", {"by": "ada"}, signal_id="a").history[0].event == "signal_buffered"
    saga.signal("approved", {"n": 1}, signal_id="b")
    assert (saga.statuses("first", "second"), saga.sent_names) == (["succeeded", "succeeded"], ["charge 1"])


def test_a_default_is_read_as_the_signal_would_be() -> None:
    saga = running(approval("approve", default={"by": "nobody", "more": 5}, output=BY), "charge")
    saga.timer_when_due()
    assert saga.step("approve").output == {"by": "nobody"}


def _two_waits() -> SagaInMemory:
    """The first wait was not answered in time, and the second one waits."""
    saga = running(approval("first", default={}), approval("second"), "charge")
    saga.timer_when_due()
    assert saga.statuses("first", "second") == ["succeeded", "waiting"]
    return saga


def test_a_late_answer_that_names_its_step_is_not_taken_by_another_step() -> None:
    saga = _two_waits()
    refusal = saga.signal("approved", step="first")
    assert (refusal.verdict, refusal.reason) == (
        Verdict.REFUSED,
        "the saga is running, and step 'first' is succeeded: it takes no signal any more",
    )
    assert saga.signal("approved", {"n": 2}, step="second").verdict is Verdict.APPLIED
    assert saga.step("second").output == {"n": 2}


def test_an_answer_that_comes_early_waits_for_the_step_that_it_names() -> None:
    saga = running("reserve", approval("first"), approval("second"), "charge")
    saga.signal("approved", {"n": 2}, signal_id="b", step="second")
    saga.succeed("reserve")
    assert saga.statuses("first", "second") == ["waiting", "pending"]
    saga.signal("approved", {"n": 1}, signal_id="a", step="first")
    assert (saga.step("first").output, saga.step("second").output) == ({"n": 1}, {"n": 2})


def test_a_step_that_does_not_wait_for_the_signal_is_refused_with_those_that_do() -> None:
    saga = running("reserve", approval("approve"), approval("pay", "paid"))
    for name in ("reserve", "pay", "unheard-of"):
        refusal = saga.signal("approved", step=name)
        assert refusal.reason == (
            f"saga 'order' has no step '{name}' that waits for a signal 'approved'; such steps: approve"
        )


def test_a_saga_keeps_only_so_many_bytes_of_signals() -> None:
    saga = running("reserve", approval("approve"), approval("again"), "charge")
    half = BUFFERED_BYTES_MAX // 2
    assert saga.signal("approved", signal_id="a", data_bytes=half).verdict is Verdict.APPLIED
    assert saga.signal("approved", signal_id="b", data_bytes=half).verdict is Verdict.APPLIED
    refusal = saga.signal("approved", signal_id="c", data_bytes=1)
    assert refusal.verdict is Verdict.REFUSED
    assert "1,048,577" not in refusal.reason
    assert "keeps 1,048,576 bytes of signals that no step has taken yet" in refusal.reason
    saga.succeed("reserve")
    assert [each.data_bytes for each in saga.state.signals] == [0, 0], "what was taken is an output"


def test_a_single_signal_may_be_as_large_as_an_entry_may() -> None:
    saga = running("reserve", approval("approve"), "charge")
    assert saga.signal("approved", data_bytes=5 * BUFFERED_BYTES_MAX).verdict is Verdict.APPLIED


def test_a_signal_that_is_taken_at_once_needs_no_room() -> None:
    saga = running(approval("approve"), approval("later", "other"))
    saga.signal("other", signal_id="a", data_bytes=BUFFERED_BYTES_MAX)
    assert saga.signal("approved", signal_id="b", data_bytes=BUFFERED_BYTES_MAX).verdict is Verdict.APPLIED
    assert saga.status == SagaStatus.COMPLETED
