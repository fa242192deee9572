"""What a handler may know of its command."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pytest
from structlog.testing import capture_logs

from saga_service.core.vocabulary import Direction
from saga_service.wire.commands import ReceivedCommand
from saga_service.worker import StepContext
from tests.support.workers import command, saga_id

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def context(received: ReceivedCommand) -> StepContext:
    return StepContext(received, lambda _: None)


def test_a_context_tells_whose_step_it_is() -> None:
    of = context(command(direction=Direction.COMPENSATION, attempt=3, traceparent=TRACE))
    assert (of.saga_id, of.saga, of.step, of.direction) == (saga_id(), "order", "charge", Direction.COMPENSATION)
    assert (of.attempt, of.traceparent) == (3, TRACE)


def test_all_attempts_of_a_direction_share_the_idempotency_key() -> None:
    first, second = context(command()), context(command(attempt=2))
    undo = context(command(direction=Direction.COMPENSATION))
    assert first.idempotency_key == second.idempotency_key != undo.idempotency_key
    assert first.command_id != second.command_id


def test_the_deadline_is_a_moment_and_a_number_of_seconds_left() -> None:
    before = time.time()
    of = context(command(deadline_in_ms=5_000))
    assert of.deadline.tzinfo is UTC
    assert of.deadline - datetime.fromtimestamp(before, UTC) < timedelta(seconds=6)
    assert 0 < of.remaining_seconds <= 5


def test_nothing_remains_after_the_deadline() -> None:
    assert context(command(deadline_in_ms=-1)).remaining_seconds == 0


@pytest.mark.parametrize("outputs", [{}, {"reserve": {"id": "r-1"}}])
def test_earlier_results_are_there_by_step(outputs: dict[str, object]) -> None:
    assert context(command(outputs=outputs)).outputs == outputs


def test_outputs_of_a_strange_sender_are_no_outputs() -> None:
    received = command()
    received.data["outputs"] = "none"
    assert context(received).outputs == {}


def test_every_line_of_the_logger_names_saga_step_and_command() -> None:
    received = command()
    with capture_logs() as logs:
        context(received).logger.info("charged", amount=5)
    assert logs == [
        {
            "event": "charged",
            "log_level": "info",
            "amount": 5,
            "saga_id": received.saga_id,
            "saga": "order",
            "step": "charge",
            "command_id": received.id,
            "direction": "action",
            "attempt": 1,
        }
    ]


async def test_progress_is_told_of_this_command() -> None:
    told: list[ReceivedCommand] = []
    received = command()
    await StepContext(received, told.append).progress()
    assert told == [received]
