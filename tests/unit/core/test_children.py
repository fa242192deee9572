"""A step that another saga does: what the parent asks, and what the child answers when it ends."""

from __future__ import annotations

import pytest

from saga_service.core.advance import advance
from saga_service.core.definition import TOMBSTONE
from saga_service.core.effects import ChildRequest, ParentReply
from saga_service.core.events import OperationRequested
from saga_service.core.ids import CommandName, saga_id_of_child
from saga_service.core.state import Fault
from saga_service.core.vocabulary import (
    ChildOperation,
    Direction,
    Kind,
    OnUnknown,
    Operation,
    Outcome,
    Resolution,
    SagaStatus,
    Verdict,
)
from tests.support.builders import (
    ONCE,
    SAGA_ID,
    START_MS,
    SagaInMemory,
    child,
    definition,
    in_short,
    running,
    started,
    step,
)

START = CommandName(SAGA_ID, "deliver", Direction.ACTION, 1)
UNDO = CommandName(SAGA_ID, "deliver", Direction.COMPENSATION, 1)


def _parent() -> SagaInMemory:
    saga = running("reserve", child("deliver"), "charge")
    saga.succeed("reserve", {"place": "A4"})
    return saga


def _child(*names: str, kind: Kind = Kind.COMPENSATABLE) -> SagaInMemory:
    saga = SagaInMemory(definition(*(step(name, kind=kind) for name in names), name="delivery"))
    saga.apply(started(saga.definition)._replace(parent=START))
    return saga


def test_a_child_is_started_with_the_step_s_input_and_its_own_id() -> None:
    saga = _parent()
    assert saga.requests == [
        ChildRequest(
            ChildOperation.START, saga_id_of_child("delivery", START), "delivery", START, {"amount": 5}, "00-trace-01"
        )
    ]
    assert saga.statuses("deliver") == ["dispatched"]


def test_the_child_s_end_is_the_step_s_answer() -> None:
    saga = _parent()
    saga.succeed("deliver", {"drive": {"km": 7}})
    assert (saga.step("deliver").output, saga.sent_names[-1]) == ({"drive": {"km": 7}}, "charge 1")


def test_a_child_that_failed_is_tried_again_as_another_saga() -> None:
    saga = _parent()
    saga.fail("deliver")
    saga.timer_when_due()
    first, second = saga.requests
    assert (second.operation, second.attempt) == (ChildOperation.START, 2)
    assert first.child_id != second.child_id


def test_the_child_asked_to_undo_itself_is_the_one_that_succeeded() -> None:
    saga = _parent()
    saga.fail("deliver")
    saga.timer_when_due()
    saga.succeed("deliver")
    saga.reject("charge")
    undo = saga.requests[-1]
    assert (undo.operation, undo.command, undo.input) == (ChildOperation.COMPENSATE, UNDO, {})
    assert undo.child_id == saga.requests[1].child_id
    saga.undo_succeeds("deliver")
    assert saga.sent_names[-1] == "undo reserve 1"


def test_a_child_that_takes_too_long_is_called_off_before_another_starts() -> None:
    saga = _parent()
    saga.timer_when_due()
    assert saga.asked_of_children == ["start deliver 1", "cancel deliver 1"]
    assert (saga.status, saga.statuses("deliver")) == (SagaStatus.STUCK, ["unknown"])


def test_a_retry_sends_the_cancel_of_a_silent_child_again() -> None:
    """Its start, or its end, may have been lost: whether it is there or not, it answers that it has ended."""
    saga = _parent()
    saga.timer_when_due()
    retried = saga.operate(Operation.RETRY, "deliver")
    assert [in_short(sent) for sent in retried.commands] == ["cancel deliver 1"]
    assert (retried.verdict, saga.status, saga.statuses("deliver")) == (Verdict.APPLIED, SagaStatus.STUCK, ["unknown"])
    saga.fail("deliver", "cancelled")
    assert saga.statuses("deliver") == ["pending"]


def test_a_retry_asks_a_parked_child_for_its_reply() -> None:
    saga = running(child("deliver", on_unknown=OnUnknown.HOLD))
    saga.timer_when_due()
    saga.operate(Operation.RETRY)
    assert (saga.asked_of_children, saga.status) == (["start deliver 1", "start deliver 1"], SagaStatus.STUCK)
    saga.succeed("deliver")
    assert saga.status == SagaStatus.COMPLETED


def test_a_child_that_was_called_off_and_undid_itself_is_tried_again() -> None:
    saga = _parent()
    saga.timer_when_due()
    saga.fail("deliver", "cancelled")
    assert (saga.status, saga.statuses("deliver")) == (SagaStatus.RUNNING, ["pending"])
    saga.timer_when_due()
    assert saga.asked_of_children[-1] == "start deliver 2"


def test_a_child_that_was_called_off_too_late_is_done() -> None:
    saga = _parent()
    saga.timer_when_due()
    saga.succeed("deliver")
    assert (saga.status, saga.sent_names[-1]) == (SagaStatus.RUNNING, "charge 1")


def test_a_child_that_takes_too_long_may_be_asked_to_undo_itself() -> None:
    saga = running(child("deliver", on_unknown=OnUnknown.COMPENSATE))
    saga.timer_when_due()
    assert saga.asked_of_children == ["start deliver 1", "compensate deliver 1"]
    saga.undo_succeeds("deliver")
    assert saga.status == SagaStatus.COMPENSATED


def test_a_child_that_is_to_be_held_is_not_called_off() -> None:
    saga = running(child("deliver", on_unknown=OnUnknown.HOLD))
    saga.timer_when_due()
    assert (saga.asked_of_children, saga.status) == (["start deliver 1"], SagaStatus.STUCK)


def test_a_parent_that_is_cancelled_calls_its_child_off_and_awaits_its_end() -> None:
    saga = _parent()
    saga.operate(Operation.CANCEL)
    assert (saga.asked_of_children[-1], saga.statuses("reserve")) == ("cancel deliver 1", ["succeeded"])
    saga.fail("deliver", "cancelled")
    assert saga.sent_names[-1] == "undo reserve 1"


def test_a_child_that_ends_well_though_its_parent_was_cancelled_is_undone() -> None:
    saga = _parent()
    saga.operate(Operation.CANCEL)
    saga.succeed("deliver")
    assert saga.asked_of_children[-1] == "compensate deliver 1"


def test_a_child_silent_to_its_cancelled_parent_is_asked_to_undo_itself() -> None:
    saga = _parent()
    saga.operate(Operation.CANCEL)
    saga.timer_when_due()
    assert saga.asked_of_children[-1] == "compensate deliver 1"


def test_after_a_lost_stream_open_requests_to_children_are_sent_again() -> None:
    saga = _parent()
    assert [in_short(sent) for sent in saga.lose_transport().commands] == ["deliver 1"]
    saga.operate(Operation.CANCEL)
    assert [in_short(sent) for sent in saga.lose_transport().commands] == ["cancel deliver 1"]
    called_off = _parent()
    called_off.timer_when_due()
    assert [in_short(sent) for sent in called_off.lose_transport().commands] == ["cancel deliver 1"]
    held = running(child("deliver", on_unknown=OnUnknown.HOLD))
    held.timer_when_due()
    assert [in_short(sent) for sent in held.lose_transport().commands] == ["deliver 1"]


def test_a_child_that_can_not_be_undone_stops_the_parent() -> None:
    saga = _parent()
    saga.succeed("deliver")
    saga.reject("charge")
    saga.undo_rejected("deliver", "past_its_pivot")
    assert (saga.status, saga.statuses("deliver")) == (SagaStatus.STUCK, ["compensation_failed"])


def test_a_child_that_is_completed_answers_with_its_outputs() -> None:
    saga = _child("drive")
    saga.succeed("drive", {"km": 7})
    assert saga.replies == [ParentReply(START, Outcome.SUCCEEDED, {"drive": {"km": 7}}, None)]


def test_a_child_that_is_compensated_answers_with_its_fault() -> None:
    saga = _child("drive")
    saga.reject("drive", "no road")
    assert saga.replies == [ParentReply(START, Outcome.FAILED, {}, Fault("no road", "drive: no road"))]


def test_a_saga_without_a_parent_sends_no_reply() -> None:
    saga = running("drive")
    saga.succeed("drive")
    assert saga.replies == []


def test_a_repeated_start_of_a_child_that_has_ended_answers_again() -> None:
    saga = _child("drive")
    start = started(saga.definition)._replace(parent=START)
    assert saga.apply(start).reply is None
    saga.succeed("drive")
    again = saga.apply(start)
    assert (again.verdict, again.reply) == (Verdict.REPEATED, saga.replies[0])


def test_a_completed_child_undoes_itself_and_replies_to_the_undo() -> None:
    saga = _child("drive")
    saga.succeed("drive")
    saga.operate(Operation.COMPENSATE, answers=UNDO)
    assert (saga.status, saga.sent_names[-1]) == (SagaStatus.COMPENSATING, "undo drive 1")
    assert saga.operate(Operation.COMPENSATE, answers=UNDO).verdict is Verdict.REPEATED
    saga.undo_succeeds("drive")
    assert saga.replies[1:] == [ParentReply(UNDO, Outcome.SUCCEEDED, {}, None)]


def test_a_repeated_undo_of_a_child_that_is_undone_answers_again() -> None:
    saga = _child("drive")
    saga.reject("drive")
    again = saga.operate(Operation.COMPENSATE, answers=UNDO)
    assert (again.verdict, again.reply) == (Verdict.REPEATED, ParentReply(UNDO, Outcome.SUCCEEDED, {}, None))


def test_a_child_past_its_pivot_rejects_its_undo() -> None:
    saga = _child("drive", kind=Kind.PIVOT)
    saga.succeed("drive")
    refusal = saga.operate(Operation.COMPENSATE, answers=UNDO)
    assert refusal.verdict is Verdict.REFUSED
    assert refusal.reply is not None
    assert (refusal.reply.command, refusal.reply.outcome) == (UNDO, Outcome.REJECTED)


def test_a_child_past_its_pivot_goes_on_when_called_off() -> None:
    saga = _child("drive", kind=Kind.PIVOT)
    assert saga.operate(Operation.CANCEL, answers=START).reply is None
    saga.succeed("drive")
    assert saga.replies[-1].outcome is Outcome.SUCCEEDED


def test_a_child_called_off_after_its_end_replies_that_it_is_done() -> None:
    saga = _child("drive")
    saga.succeed("drive")
    refusal = saga.operate(Operation.CANCEL, answers=START)
    assert (refusal.verdict, refusal.reply) == (Verdict.REFUSED, saga.replies[0])


def test_a_child_compensating_by_itself_replies_to_a_requested_undo() -> None:
    saga = _child("drive", "unload")
    saga.succeed("drive")
    saga.reject("unload")
    saga.operate(Operation.COMPENSATE, answers=UNDO)
    saga.undo_succeeds("drive")
    assert saga.replies == [ParentReply(UNDO, Outcome.SUCCEEDED, {}, None)]


def test_a_cancel_after_a_requested_undo_changes_nothing() -> None:
    """The two requests may come in either order; the undo is what the parent waits for."""
    saga = _child("drive", "unload")
    saga.succeed("drive")
    saga.operate(Operation.COMPENSATE, answers=UNDO)
    assert saga.operate(Operation.CANCEL, answers=START).verdict is Verdict.REPEATED
    assert saga.state.parent == UNDO


def _before_its_start(operation: Operation, answers: CommandName) -> SagaInMemory:
    """A child of which its parent's word came first."""
    saga = SagaInMemory(definition("drive", name="delivery"))
    saga.apply(
        OperationRequested(saga_id=SAGA_ID, operation=operation, actor="saga 1", answers=answers, child="delivery")
    )
    return saga


@pytest.mark.parametrize(
    ("operation", "command", "answer"),
    [
        (Operation.COMPENSATE, UNDO, ParentReply(UNDO, Outcome.SUCCEEDED, {}, None)),
        (Operation.CANCEL, START, ParentReply(START, Outcome.FAILED, {}, Fault("cancelled", "requested by saga 1"))),
    ],
)
def test_a_child_that_is_called_off_before_its_start_came_never_begins(
    operation: Operation, command: CommandName, answer: ParentReply
) -> None:
    saga = _before_its_start(operation, command)
    assert (saga.status, saga.state.saga, saga.state.version) == (SagaStatus.COMPENSATED, "delivery", TOMBSTONE)
    assert (saga.state.steps, [line.event for line in saga.history]) == ((), [f"{operation}_requested"])
    assert saga.replies == [answer]
    late = saga.apply(started(saga.definition)._replace(parent=START))
    assert (late.verdict, late.commands) == (Verdict.REPEATED, ())
    assert late.reply is not None, "its parent may not have heard the first answer"
    assert (late.reply.command, late.reply.outcome) == (START, Outcome.FAILED)


def test_a_child_that_was_called_off_before_its_start_is_undone_already() -> None:
    saga = _before_its_start(Operation.CANCEL, START)
    undo = saga.operate(Operation.COMPENSATE, answers=UNDO)
    assert (undo.verdict, undo.reply) == (Verdict.REPEATED, ParentReply(UNDO, Outcome.SUCCEEDED, {}, None))


@pytest.mark.parametrize("operation", list(Operation))
def test_an_operation_on_an_unknown_saga_is_refused(operation: Operation) -> None:
    transition = advance(
        definition("drive"), None, OperationRequested(saga_id=SAGA_ID, operation=operation, actor="ada"), START_MS
    )
    assert (transition.verdict, transition.state) == (Verdict.REFUSED, None)


def test_a_parent_can_only_end_what_was_never_started() -> None:
    asked = OperationRequested(
        saga_id=SAGA_ID, operation=Operation.RETRY, actor="saga 1", answers=START, child="delivery"
    )
    assert advance(definition("drive"), None, asked, START_MS).verdict is Verdict.REFUSED


def test_a_removed_child_is_not_reported_as_undone() -> None:
    asked = OperationRequested(
        saga_id=SAGA_ID,
        operation=Operation.COMPENSATE,
        actor="saga 1",
        answers=UNDO,
        child="delivery",
        is_known_done=True,
    )
    transition = advance(definition("drive"), None, asked, START_MS)
    assert (transition.verdict, transition.state) == (Verdict.REFUSED, None)
    assert transition.reply is not None
    assert (transition.reply.command, transition.reply.outcome) == (UNDO, Outcome.REJECTED)
    assert transition.reply.fault is not None
    assert transition.reply.fault.code == "child_removed"


def test_a_request_to_an_unknown_child_without_its_name_is_refused() -> None:
    undo = OperationRequested(saga_id=SAGA_ID, operation=Operation.COMPENSATE, actor="saga 1", answers=UNDO)
    transition = advance(definition("drive"), None, undo, START_MS)
    assert (transition.verdict, transition.state, transition.reply) == (Verdict.REFUSED, None, None)


def test_a_parent_tells_whether_it_knows_that_its_child_was_done() -> None:
    heard = _parent()
    heard.succeed("deliver", {"drive": {}})
    heard.reject("charge")
    assert heard.requests[-1].is_known_done
    unheard = running(child("deliver", on_unknown=OnUnknown.COMPENSATE))
    unheard.timer_when_due()
    assert not unheard.requests[-1].is_known_done


def test_a_child_whose_start_failed_is_not_known_to_be_done() -> None:
    unheard = running(child("deliver", on_unknown=OnUnknown.COMPENSATE))
    unheard.timer_when_due()
    unheard.fail("deliver", attempt=1)
    unheard.undo_fails("deliver")
    unheard.timer_when_due()
    assert (unheard.requests[-1].operation, unheard.requests[-1].is_known_done) == (ChildOperation.COMPENSATE, False)


def test_a_child_resolved_as_failed_is_called_off() -> None:
    saga = _parent()
    saga.operate(Operation.RESOLVE, "deliver", resolution=Resolution.FAILED)
    assert (saga.asked_of_children[-1], saga.sent_names[-1]) == ("cancel deliver 1", "undo reserve 1")


def test_a_resumed_parent_sends_its_requests_to_children_again() -> None:
    """Redis may have lost it meanwhile, and nothing is sent during a pause."""
    saga = _parent()
    saga.operate(Operation.PAUSE)
    assert saga.lose_transport().commands == ()
    resumed = saga.operate(Operation.RESUME)
    assert [in_short(sent) for sent in resumed.commands] == ["deliver 1"]
    assert resumed.commands == (saga.requests[0]._replace(is_copy=True),)


def test_a_child_replies_to_the_latest_undo_in_whatever_order_they_come() -> None:
    saga = _child("drive")
    saga.succeed("drive")
    latest = UNDO._replace(attempt=2)
    saga.operate(Operation.COMPENSATE, answers=latest)
    assert saga.operate(Operation.COMPENSATE, answers=UNDO).verdict is Verdict.REPEATED
    saga.undo_succeeds("drive")
    assert saga.replies[1:] == [ParentReply(latest, Outcome.SUCCEEDED, {}, None)]


def test_a_late_success_of_a_child_that_was_undone_has_it_undone_once_more() -> None:
    saga = running(child("deliver", retry=ONCE, on_unknown=OnUnknown.COMPENSATE))
    saga.timer_when_due()
    saga.undo_succeeds("deliver")
    assert saga.status == SagaStatus.COMPENSATED
    saga.succeed("deliver", attempt=1)
    assert saga.asked_of_children[-1] == "compensate deliver 2"


def test_a_person_who_cancels_a_child_leaves_it_answering_its_start() -> None:
    saga = _child("drive")
    saga.operate(Operation.CANCEL)
    saga.reject("drive")
    assert [reply.command for reply in saga.replies] == [START]
    assert saga.replies[0].fault == Fault("cancelled", "requested by ada: because")
