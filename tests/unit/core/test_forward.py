"""Branches, joins and conditions: what begins when, and what a failure means for what goes on beside it."""

from __future__ import annotations

from saga_service.core.state import Fault
from saga_service.core.vocabulary import Due, SagaStatus
from tests.support.builders import (
    ALWAYS,
    NEVER,
    NO_VALUE,
    ONCE,
    TIMEOUT_MS,
    SagaInMemory,
    Says,
    approval,
    child,
    copy_of,
    in_short,
    nap,
    only_command,
    running,
    step,
)


def _trip() -> SagaInMemory:
    """`book`, then `car` and `hotel` side by side, then `pay`."""
    return running(
        "book",
        step("car", after=("book",)),
        step("hotel", after=("book",)),
        step("pay", after=("car", "hotel")),
    )


def test_branches_go_side_by_side_and_a_join_waits_for_all_of_them() -> None:
    saga = _trip()
    saga.succeed("book")
    assert saga.sent_names == ["book 1", "car 1", "hotel 1"]
    saga.succeed("hotel")
    assert saga.statuses("car", "hotel", "pay") == ["dispatched", "succeeded", "pending"]
    saga.succeed("car")
    assert saga.sent_names[-1] == "pay 1"
    saga.succeed("pay")
    assert saga.status == SagaStatus.COMPLETED


def test_steps_that_wait_for_nothing_begin_with_the_saga() -> None:
    saga = running("a", step("b", after=()), step("c", after=()))
    assert saga.sent_names == ["a 1", "b 1", "c 1"]
    assert [line.event for line in saga.history] == ["started"]
    assert saga.history[0].sent == tuple(saga.sent)


def test_a_step_whose_condition_does_not_hold_is_skipped() -> None:
    saga = running("book", step("insure", when=NEVER), "pay")
    saga.succeed("book")
    assert saga.statuses("book", "insure", "pay") == ["succeeded", "skipped", "dispatched"]
    assert saga.step("insure").ended_at_ms == saga.now_ms
    assert [(line.revision, line.event, line.step) for line in saga.history[1:]] == [
        (2, "action_succeeded", "book"),
        (3, "condition_not_met", "insure"),
    ]
    saga.succeed("pay")
    assert saga.status == SagaStatus.COMPLETED


def test_no_line_of_history_has_a_consequence_of_a_later_line() -> None:
    saga = running("book", step("insure", when=NEVER), "pay", step("report", when=NEVER))
    saga.succeed("book")
    saga.succeed("pay")
    assert [(line.event, [sent.step for sent in line.sent], line.status) for line in saga.history] == [
        ("started", ["book"], SagaStatus.RUNNING),
        ("action_succeeded", [], SagaStatus.RUNNING),
        ("condition_not_met", ["pay"], SagaStatus.RUNNING),
        ("action_succeeded", [], SagaStatus.RUNNING),
        ("condition_not_met", [], SagaStatus.COMPLETED),
    ]
    undone = running("book", step("insure", when=NO_VALUE))
    undone.succeed("book")
    assert [(line.event, [sent.step for sent in line.sent], line.status) for line in undone.history[1:]] == [
        ("action_succeeded", [], SagaStatus.RUNNING),
        ("expression_failed", ["book"], SagaStatus.COMPENSATING),
    ]


def test_a_saga_of_which_every_step_is_left_out_is_completed_by_its_start() -> None:
    saga = running(step("a", when=NEVER), step("b", when=NEVER))
    assert saga.status == SagaStatus.COMPLETED
    assert len(saga.ends) == 1


def test_a_condition_speaks_of_the_input_and_of_earlier_outputs() -> None:
    dear = Says(lambda given, outputs: given["amount"] > 3 and outputs["book"]["place"] == "A4")
    saga = running("book", step("insure", when=dear))
    saga.succeed("book", {"place": "A4"})
    assert saga.sent_names[-1] == "insure 1"


def test_a_condition_without_a_value_fails_its_step() -> None:
    saga = running("book", step("insure", when=NO_VALUE), "pay")
    saga.succeed("book")
    assert saga.statuses("book", "insure", "pay") == ["compensating", "failed", "pending"]
    assert saga.state.fault == Fault("expression_failed", "there is no such field", step="insure")
    assert (saga.step("insure").attempts, saga.step("insure").started_at_ms) == (0, None)
    line = saga.history[-1]
    assert (line.event, line.step, line.status) == ("expression_failed", "insure", SagaStatus.COMPENSATING)
    assert line.fault == Fault("expression_failed", "there is no such field")


def test_an_input_without_a_value_counts_as_no_attempt() -> None:
    saga = running("book", step("insure", sent=NO_VALUE))
    saga.succeed("book")
    assert saga.sent_names == ["book 1", "undo book 1"]
    assert (saga.step("insure").status, saga.step("insure").attempts) == ("failed", 0)
    assert saga.succeed("insure", attempt=1).verdict == "refused"


def test_an_undo_whose_input_has_no_value_counts_as_no_attempt() -> None:
    saga = running(step("book", sent=Says(lambda given, _: {"n": given["amount"]})), "pay")
    saga.succeed("book")
    saga.definition = running(step("book", sent=NO_VALUE), "pay").definition
    saga.reject("pay")
    assert (saga.status, saga.step("book").compensation_attempts) == (SagaStatus.STUCK, 0)
    assert (saga.history[-1].event, saga.history[-1].step) == ("expression_failed", "book")
    assert saga.undo_succeeds("book", attempt=1).verdict == "refused"


def test_a_step_with_an_input_mapping_is_sent_nothing_else() -> None:
    saga = running("book", step("pay", sent=Says(lambda given, outputs: {"for": outputs["book"]["place"]})), "ship")
    saga.succeed("book", {"place": "A4"})
    assert (saga.sent[-1].input, saga.sent[-1].outputs) == ({"for": "A4"}, {})
    saga.succeed("pay", {"payment": 7})
    saga.reject("ship")
    assert (saga.sent[-1].input, saga.sent[-1].outputs) == ({"for": "A4"}, {"pay": {"payment": 7}})


def test_every_attempt_is_sent_the_same_whatever_ends_beside_it() -> None:
    """A provider that knows an idempotency key refuses it with another content."""
    everything = Says(lambda _, outputs: dict(outputs))
    saga = running("book", step("car", after=("book",)), step("hotel", after=("book",), sent=everything))
    saga.succeed("book", {"place": "A4"})
    first_car, first_hotel = saga.sent[1:]
    saga.fail("car")
    saga.succeed("hotel", {"room": 1})
    again = only_command(saga.timer_when_due())
    assert (again.step, again.input, again.outputs) == ("car", first_car.input, first_car.outputs)
    assert first_hotel.input == {"book": {"place": "A4"}}


def test_what_is_sent_again_after_a_lost_stream_is_what_was_sent() -> None:
    saga = running("book", step("car", after=("book",)), step("hotel", after=("book",)))
    saga.succeed("book", {"place": "A4"})
    saga.succeed("car", {"seat": 1})
    assert saga.lose_transport().commands == (copy_of(saga.sent[2]),)


def test_a_command_without_a_value_after_a_lost_stream_times_out() -> None:
    saga = running("book", step("car", after=()))
    saga.definition = running("book", step("car", after=(), sent=NO_VALUE)).definition
    assert [in_short(sent) for sent in saga.lose_transport().commands] == ["book 1"]


def test_nothing_is_undone_before_the_steps_in_flight_have_answered() -> None:
    saga = _trip()
    saga.succeed("book")
    saga.reject("car")
    assert (saga.status, saga.statuses("hotel")) == (SagaStatus.COMPENSATING, ["dispatched"])
    assert saga.sent_names == ["book 1", "car 1", "hotel 1"]
    saga.succeed("hotel")
    assert saga.sent_names[3:] == ["undo hotel 1"]
    saga.undo_succeeds("hotel")
    saga.undo_succeeds("book")
    assert saga.sent_names[3:] == ["undo hotel 1", "undo book 1"]
    assert saga.status == SagaStatus.COMPENSATED


def test_a_step_in_flight_beside_a_failure_is_not_retried() -> None:
    saga = _trip()
    saga.succeed("book")
    saga.reject("car", "no car")
    saga.fail("hotel", "no room")
    assert saga.statuses("car", "hotel") == ["failed", "failed"]
    assert saga.sent_names[3:] == ["undo book 1"]
    assert saga.state.fault == Fault("no car", "car: no car", step="car")


def test_a_step_that_times_out_beside_a_failure_is_undone() -> None:
    saga = _trip()
    saga.succeed("book")
    saga.reject("car")
    saga.timer_when_due()
    assert saga.statuses("hotel") == ["compensating"]
    assert saga.step("hotel").unanswered == (1,)
    assert saga.sent_names[3:] == ["undo hotel 1"]


def test_what_waits_for_its_retry_beside_a_failure_is_failed() -> None:
    saga = _trip()
    saga.succeed("book")
    saga.fail("hotel")
    saga.reject("car")
    assert (saga.statuses("hotel"), saga.step("hotel").due) == (["failed"], None)
    assert saga.sent_names[3:] == ["undo book 1"]


def test_what_waits_for_its_retry_after_a_time_out_is_unknown_and_undone() -> None:
    saga = running("book", step("car", after=("book",)), step("hotel", after=("book",), timeout_ms=100))
    saga.succeed("book")
    saga.now_ms += 100
    saga.timer()
    assert (saga.statuses("hotel"), saga.step("hotel").due) == (["unknown"], Due.RETRY)
    saga.reject("car")
    assert saga.sent_names[3:] == ["undo hotel 1"]


def test_a_sleep_or_a_wait_beside_a_failure_is_skipped() -> None:
    saga = running("book", nap("rest", after=()), approval("ask", after=()))
    saga.reject("book")
    assert saga.statuses("rest", "ask") == ["skipped", "skipped"]
    assert saga.status == SagaStatus.COMPENSATED
    assert saga.state.wake_at_ms is None


def test_a_child_in_flight_beside_a_failure_is_called_off_and_awaited() -> None:
    saga = running("book", child("deliver", after=()))
    saga.reject("book")
    assert saga.asked_of_children == ["start deliver 1", "cancel deliver 1"]
    assert saga.statuses("deliver") == ["dispatched"]
    saga.fail("deliver", "cancelled")
    assert saga.status == SagaStatus.COMPENSATED


def test_of_two_effects_in_one_transition_the_later_step_is_undone_first() -> None:
    """Both come due at the same moment; neither has an order by time."""
    saga = running(step("a", retry=ONCE), step("b", after=(), retry=ONCE))
    saga.now_ms += TIMEOUT_MS
    saga.timer()
    saga.undo_succeeds("b")
    saga.undo_succeeds("a")
    assert saga.sent_names == ["a 1", "b 1", "undo b 1", "undo a 1"]


def test_doubts_of_one_moment_have_one_order_of_undoing() -> None:
    saga = running(step("a", timeout_ms=10), step("b", after=(), timeout_ms=10), step("c", after=()))
    saga.now_ms += 10
    saga.timer()
    saga.reject("c")
    assert saga.step("a").effect_revision == saga.step("b").effect_revision == saga.state.revision
    saga.undo_succeeds("b")
    assert saga.sent_names[3:] == ["undo b 1", "undo a 1"]


def test_a_condition_that_holds_lets_the_step_begin() -> None:
    assert running(step("a", when=ALWAYS)).sent_names == ["a 1"]
