"""What the service sends is no larger than an entry may be: in the place of a larger message its saga gets a reply."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from saga_service.core.effects import ChildRequest, Command, Ended, ParentReply
from saga_service.core.ids import CommandName, saga_id_of_child
from saga_service.core.vocabulary import ChildOperation, Direction, Outcome, SagaStatus
from saga_service.engine.fold import Folded
from saga_service.engine.outbox import OutboxRows, Outgoing
from saga_service.wire.entries import Message
from saga_service.wire.replies import read_reply
from saga_service.wire.transport import StreamNames
from tests.support.builders import SAGA_ID, delivered

NAMES = StreamNames()
LIMIT = 2_000
CHARGE = CommandName(SAGA_ID, "charge", Direction.ACTION, 2)


OUTGOING = Outgoing(NAMES, OutboxRows(), entry_bytes_max=LIMIT)


def sent(message: Command | ChildRequest) -> Message:
    [only] = OUTGOING.messages(Folded(commands=[message]), [])
    return only


def command(text: str, direction: Direction = Direction.ACTION) -> Command:
    return Command("payment.charge", SAGA_ID, "order", "charge", direction, 2, 1, {"text": text}, {}, None)


def start_of_child(text: str) -> ChildRequest:
    child = saga_id_of_child("shipment", CHARGE)
    return ChildRequest(ChildOperation.START, child, "shipment", CHARGE, {"text": text}, None)


@pytest.mark.parametrize("make", [command, start_of_child])
def test_a_message_within_the_limit_is_sent(make: Callable[[str], Command | ChildRequest]) -> None:
    assert sent(make("ä" * 500)).stream != NAMES.replies


@pytest.mark.parametrize("make", [command, start_of_child])
def test_a_step_whose_message_is_too_large_is_rejected_at_once_and_told_by_how_much(
    make: Callable[[str], Command | ChildRequest],
) -> None:
    # Fewer characters than the limit, and more bytes.
    message = sent(make("ä" * (LIMIT // 2)))
    assert message.stream == NAMES.replies
    reply = read_reply(delivered(message))
    assert (reply.command, reply.outcome) == (CHARGE, Outcome.REJECTED)
    assert reply.fault is not None
    assert reply.fault.code == "message_too_large"
    assert "more than the 2,000 allowed" in reply.fault.message


@pytest.mark.parametrize("make", [command, start_of_child])
def test_a_copy_is_sent_whatever_its_size_for_what_was_sent_first_was_small_enough(
    make: Callable[[str], Command | ChildRequest],
) -> None:
    assert sent(make("ä" * LIMIT)._replace(is_copy=True)).stream != NAMES.replies


def test_outputs_of_a_child_saga_that_are_too_large_are_left_out_of_its_reply() -> None:
    reply = ParentReply(CHARGE, Outcome.SUCCEEDED, {"label": {"text": "ä" * LIMIT}}, None)
    [message] = OUTGOING.messages(Folded(replies=[reply]), [])
    assert sum(len(part.encode()) for part in message.fields) < LIMIT
    read = read_reply(delivered(message))
    assert (read.command, read.outcome, read.output) == (CHARGE, Outcome.SUCCEEDED, {})
    assert read.fault is not None
    assert read.fault.code == "message_too_large"


@pytest.mark.parametrize("characters", [500, 3 * LIMIT])
def test_the_end_of_a_saga_is_announced_without_outputs_that_are_too_large(characters: int) -> None:
    outputs = {"label": {"text": "ä" * characters}}
    ended = Ended(SAGA_ID, "order", "A-1", SagaStatus.COMPLETED, 7, 5, outputs, None, None)
    [message] = OUTGOING.messages(Folded(ended=[ended]), [])
    fields = dict(zip(message.fields[::2], message.fields[1::2], strict=True))
    assert (fields["type"], fields["id"], fields["status"]) == ("order.completed", f"{SAGA_ID}:7", "completed")
    if characters == 500:
        assert json.loads(fields["data"]) == outputs
        assert "data_left_out" not in fields
    else:
        assert "data" not in fields
        assert fields["data_left_out"].endswith("more than the 2,000 allowed; saga.steps has the outputs")


def test_an_undo_that_is_too_large_is_rejected_so_that_its_saga_gets_stuck() -> None:
    reply = read_reply(delivered(sent(command("x" * LIMIT, Direction.COMPENSATION))))
    assert (reply.command.direction, reply.outcome) == (Direction.COMPENSATION, Outcome.REJECTED)


def test_a_probe_that_is_too_large_leaves_its_action_in_doubt() -> None:
    assert read_reply(delivered(sent(command("x" * LIMIT, Direction.PROBE)))).outcome is Outcome.FAILED
