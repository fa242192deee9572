"""The log of commits: what goes well only for whoever debugs, what goes wrong for everybody."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from saga_service.core.ids import CommandId, command_id
from saga_service.core.state import Fault
from saga_service.core.vocabulary import Direction, Outcome, SagaStatus
from saga_service.wire.entries import Entry
from saga_service.wire.replies import write_failure
from tests.support.builders import SAGA_ID, delivered
from tests.support.fakes import NAMES, ServiceInMemory, saga_id, start, success

CHARGE = command_id(saga_id(), "charge", Direction.ACTION, 1)
UNDO_RESERVE = command_id(saga_id(), "reserve", Direction.COMPENSATION, 1)


@pytest.fixture
def service() -> ServiceInMemory:
    return ServiceInMemory()


def rejected(command: CommandId, entry_id: str) -> Entry:
    fault = Fault("no_funds", "the card is empty")
    return delivered(write_failure(NAMES.replies, command, saga_id(), Outcome.REJECTED, fault), entry_id)


async def test_a_saga_that_goes_well_is_logged_at_debug_level_alone(service: ServiceInMemory) -> None:
    with capture_logs() as logs:
        await service.process(start())
        await service.process(success("reserve"))
        await service.process(success("charge", entry_id="1801-0"))
    assert [(line["event"], line["log_level"]) for line in logs] == [
        ("started", "debug"),
        ("action succeeded", "debug"),
        ("action succeeded", "debug"),
    ]


async def test_a_failure_is_logged_with_its_command_and_its_error(service: ServiceInMemory) -> None:
    await service.process(start())
    await service.process(success("reserve"))
    with capture_logs() as logs:
        await service.process(rejected(CHARGE, "1801-0"))
    assert logs == [
        {
            "event": "action rejected",
            "log_level": "info",
            "saga_id": SAGA_ID,
            "saga": "order",
            "status": SagaStatus.COMPENSATING.value,
            "step": "charge",
            "command_id": CHARGE,
            "error_code": "no_funds",
            "error": "the card is empty",
        }
    ]


async def test_a_saga_that_is_stuck_is_logged_as_an_error(service: ServiceInMemory) -> None:
    await service.process(start())
    await service.process(success("reserve"))
    await service.process(rejected(CHARGE, "1801-0"))
    with capture_logs() as logs:
        await service.process(rejected(UNDO_RESERVE, "1802-0"))
    [line] = logs
    assert (line["log_level"], line["status"], line["step"]) == ("error", "stuck", "reserve")
