"""What the service sends is no larger than an entry may be: in the place of a larger message its saga gets a reply."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from saga_service.core.effects import ChildRequest, Command
from saga_service.core.ids import CommandName, saga_id_of_child
from saga_service.core.vocabulary import ChildOperation, Direction, Outcome
from saga_service.engine.fold import Folded
from saga_service.engine.outbox import OutboxRows, Outgoing
from saga_service.wire.entries import Message
from saga_service.wire.replies import read_reply
from saga_service.wire.transport import StreamNames
from tests.support.builders import SAGA_ID, delivered

NAMES = StreamNames()
LIMIT = 2_000
CHARGE = CommandName(SAGA_ID, "charge", Direction.ACTION, 2)


def sent(message: Command | ChildRequest) -> Message:
    [only] = Outgoing(NAMES, OutboxRows(), entry_bytes_max=LIMIT).messages(Folded(commands=[message]), [])
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
    message = sent(make("ä" * LIMIT))
    assert message.stream == NAMES.replies
    reply = read_reply(delivered(message))
    assert (reply.command, reply.outcome) == (CHARGE, Outcome.REJECTED)
    assert reply.fault is not None
    assert reply.fault.code == "message_too_large"
    assert "more than the 2,000 allowed" in reply.fault.message


def test_an_undo_that_is_too_large_is_rejected_so_that_its_saga_gets_stuck() -> None:
    reply = read_reply(delivered(sent(command("x" * LIMIT, Direction.COMPENSATION))))
    assert (reply.command.direction, reply.outcome) == (Direction.COMPENSATION, Outcome.REJECTED)


def test_a_probe_that_is_too_large_leaves_its_action_in_doubt() -> None:
    assert read_reply(delivered(sent(command("x" * LIMIT, Direction.PROBE)))).outcome is Outcome.FAILED
