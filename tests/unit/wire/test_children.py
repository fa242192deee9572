"""Messages between parent and child sagas, there and back over the streams."""

from __future__ import annotations

import pytest

from saga_service.core.effects import ChildRequest, ParentReply
from saga_service.core.events import OperationRequested, Replied, Started
from saga_service.core.ids import CommandName, command_id, saga_id_of_child
from saga_service.core.state import Fault
from saga_service.core.vocabulary import ChildOperation, Direction, Operation, Outcome
from saga_service.wire.children import write_child_request, write_parent_reply
from saga_service.wire.entries import Malformed
from saga_service.wire.events import read_event
from saga_service.wire.replies import read_reply
from saga_service.wire.saga_spec import NotDeployedHere
from saga_service.wire.transport import StreamNames
from tests.support.builders import SAGA_ID, PlainBlueprint, PlainCatalog, definition, delivered, entry

NAMES = StreamNames()
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
CHILD = definition("pack", name="shipment")
CATALOG = PlainCatalog(PlainBlueprint(CHILD, integers=["parcels"], key_field="order_id"))
COMMAND = CommandName(SAGA_ID, "shipping", Direction.ACTION, 1)
UNDO = CommandName(SAGA_ID, "shipping", Direction.COMPENSATION, 2)
CHILD_ID = saga_id_of_child("shipment", COMMAND)


def request(operation: ChildOperation, command: CommandName = COMMAND, **data: object) -> ChildRequest:
    return ChildRequest(operation, CHILD_ID, "shipment", command, data, TRACE)


def test_a_start_begins_the_child_that_its_parents_command_names() -> None:
    message = write_child_request(request(ChildOperation.START, parcels=2, order_id="A-17"), NAMES)
    assert message.stream == "saga:events"
    assert read_event(delivered(message), CATALOG) == Started(
        CHILD_ID, "shipment", "v1", "A-17", {"parcels": 2, "order_id": "A-17"}, TRACE, COMMAND
    )


@pytest.mark.parametrize(
    ("operation", "asked"),
    [(ChildOperation.CANCEL, Operation.CANCEL), (ChildOperation.COMPENSATE, Operation.COMPENSATE)],
)
def test_what_is_asked_of_a_child_names_its_parent(operation: ChildOperation, asked: Operation) -> None:
    message = write_child_request(request(operation, UNDO), NAMES)
    assert read_event(delivered(message), CATALOG) == OperationRequested(
        saga_id=CHILD_ID, operation=asked, actor=f"saga {SAGA_ID}", answers=UNDO, child="shipment"
    )


@pytest.mark.parametrize("is_done", [False, True])
def test_a_child_is_told_whether_its_parent_has_heard_of_its_end(is_done: bool) -> None:
    asked = request(ChildOperation.COMPENSATE, UNDO)._replace(is_known_done=is_done)
    event = read_event(delivered(write_child_request(asked, NAMES)), CATALOG)
    assert isinstance(event, OperationRequested)
    assert event.is_known_done is is_done


def test_a_child_whose_input_does_not_fit_is_refused_to_its_parent() -> None:
    message = write_child_request(request(ChildOperation.START, parcels="many"), NAMES)
    refusal = read_event(delivered(message), CATALOG)
    fault = Fault("invalid_input", "the input does not fit saga 'shipment': parcels: must be a whole number")
    assert refusal == Replied(COMMAND, Outcome.REJECTED, fault=fault)


def test_a_child_that_is_not_defined_is_refused_to_its_parent() -> None:
    message = write_child_request(request(ChildOperation.START)._replace(saga="shipping"), NAMES)
    with pytest.raises(NotDeployedHere, match="no saga 'shipping' is known") as unknown:
        read_event(delivered(message), CATALOG)
    assert unknown.value.child == "shipping"
    assert unknown.value.fallback == Replied(
        COMMAND, Outcome.REJECTED, fault=Fault("unknown_saga", "no saga 'shipping' is known")
    )


def test_a_parent_of_the_version_before_does_not_name_its_child() -> None:
    fields = {"type": "saga.cancel", "saga_id": CHILD_ID, "command_id": command_id(*COMMAND)}
    event = read_event(entry(fields), CATALOG)
    assert isinstance(event, OperationRequested)
    assert (event.answers, event.child) == (COMMAND, "")


def test_a_start_that_names_no_parent_is_malformed() -> None:
    with pytest.raises(Malformed, match="field 'command_id' is not the id of a command"):
        read_event(entry({"type": "saga.child.start", "saga": "shipment", "command_id": "x"}), CATALOG)


def test_a_child_answers_as_a_worker_would() -> None:
    done = write_parent_reply(ParentReply(COMMAND, Outcome.SUCCEEDED, {"pack": {"boxes": 2}}, None), NAMES)
    assert done.stream == "saga:replies"
    assert read_reply(delivered(done)) == Replied(COMMAND, Outcome.SUCCEEDED, {"pack": {"boxes": 2}})
    failed = write_parent_reply(ParentReply(COMMAND, Outcome.FAILED, {}, Fault("no_van", "none is free")), NAMES)
    assert read_reply(delivered(failed)) == Replied(COMMAND, Outcome.FAILED, fault=Fault("no_van", "none is free"))
