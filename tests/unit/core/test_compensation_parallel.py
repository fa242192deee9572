"""Undo by the graph: a step as soon as all that came after it is undone."""

from __future__ import annotations

from saga_service.core.vocabulary import Operation, SagaStatus, UndoOrder
from tests.support.builders import NO_VALUE, SagaInMemory, definition, in_short, running, step


def _trip(undo: UndoOrder = UndoOrder.PARALLEL) -> SagaInMemory:
    """`book`; then `car` and `hotel` side by side; then `pay`, which fails; all else is done."""
    saga = running(
        "book",
        step("car", after=("book",)),
        step("hotel", after=("book",)),
        step("pay", after=("car", "hotel")),
        undo=undo,
    )
    for name in ("book", "car", "hotel"):
        saga.succeed(name)
    saga.reject("pay")
    return saga


def test_branches_are_undone_side_by_side_before_their_common_step() -> None:
    saga = _trip()
    assert saga.sent_names[4:] == ["undo hotel 1", "undo car 1"]
    saga.undo_succeeds("car")
    assert saga.statuses("book") == ["succeeded"]
    saga.undo_succeeds("hotel")
    assert saga.sent_names[6:] == ["undo book 1"]
    saga.undo_succeeds("book")
    assert saga.status == SagaStatus.COMPENSATED


def test_in_reverse_order_they_are_undone_one_at_a_time_in_the_same_graph() -> None:
    saga = _trip(UndoOrder.REVERSE)
    assert saga.sent_names[4:] == ["undo hotel 1"]
    saga.undo_succeeds("hotel")
    assert saga.sent_names[5:] == ["undo car 1"]


def test_a_step_without_compensation_does_not_hold_up_what_came_before_it() -> None:
    saga = running("book", step("notify", undoable=False), "pay", undo=UndoOrder.PARALLEL)
    saga.succeed("book")
    saga.succeed("notify")
    saga.reject("pay")
    assert saga.sent_names[-1] == "undo book 1"


def test_descendants_beyond_a_step_without_compensation_still_come_first() -> None:
    saga = running("book", step("notify", undoable=False), "car", "pay", undo=UndoOrder.PARALLEL)
    for name in ("book", "notify", "car"):
        saga.succeed(name)
    saga.reject("pay")
    assert saga.sent_names[4:] == ["undo car 1"]


def test_what_is_in_flight_is_awaited_before_anything_is_undone() -> None:
    saga = running("a", step("b", after=()), undo=UndoOrder.PARALLEL)
    saga.succeed("a")
    saga.operate(Operation.CANCEL)
    assert saga.sent_names == ["a 1", "b 1"]
    saga.succeed("b")
    assert saga.sent_names[2:] == ["undo b 1", "undo a 1"]


def test_an_undo_out_of_attempts_stops_new_undos() -> None:
    saga = _trip()
    saga.undo_rejected("car")
    assert saga.status == SagaStatus.STUCK
    saga.undo_succeeds("hotel")
    assert (saga.status, saga.statuses("hotel", "book")) == (SagaStatus.STUCK, ["compensated", "succeeded"])
    saga.undo_succeeds("car")
    assert (saga.status, saga.sent_names[-1]) == (SagaStatus.COMPENSATING, "undo book 1")


def test_an_undo_that_cannot_be_sent_stops_the_saga() -> None:
    saga = running("a", step("b", after=()), undo=UndoOrder.PARALLEL)
    saga.succeed("a")
    saga.succeed("b")
    saga.definition = definition(step("a", sent=NO_VALUE), step("b", after=()), undo=UndoOrder.PARALLEL)
    saga.operate(Operation.COMPENSATE)
    assert (saga.status, saga.statuses("a", "b")) == (SagaStatus.STUCK, ["compensation_failed", "compensating"])


def test_after_a_lost_stream_every_undo_under_way_is_sent_again() -> None:
    saga = _trip()
    assert [in_short(sent) for sent in saga.lose_transport().commands] == ["undo car 1", "undo hotel 1"]


def test_two_undos_that_come_due_at_once_are_tried_again_each_on_its_own() -> None:
    saga = _trip()
    saga.undo_fails("car")
    saga.undo_fails("hotel")
    saga.now_ms += 200
    retried = saga.timer()
    assert [(line.event, line.step) for line in retried.history] == [
        ("compensation_retry_due", "car"),
        ("compensation_retry_due", "hotel"),
    ]
    assert saga.sent_names[-2:] == ["undo car 2", "undo hotel 2"]
