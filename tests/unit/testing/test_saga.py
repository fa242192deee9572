"""The test kit: the questions that a test can put to a saga."""

from __future__ import annotations

import pytest

from saga_service.core.effects import Command
from saga_service.testing import Simulation
from tests.support.builders import definition
from tests.unit.testing.sagas import DATA, ORDER


def test_a_failure_is_undone_in_reverse_order() -> None:
    sim = Simulation(ORDER)
    sim.on("shipping.ship").rejects("no_such_address")
    saga = sim.start("order", DATA)
    sim.run()
    assert saga.status == "compensated"
    assert saga.error == "no_such_address"
    assert saga.undone == ["charge", "reserve"]
    assert saga.outstanding == []
    assert saga.sent[3:] == ["0s undo of charge", "0s undo of reserve"]


def test_an_effect_is_outstanding_until_it_is_compensated() -> None:
    sim = Simulation(ORDER)
    sim.on("shipping.ship").times_out()
    saga = sim.start("order", DATA)
    sim.advance(0)
    assert saga.outstanding == ["charge", "reserve"]
    assert saga.step("ship").status == "dispatched"


def test_every_message_is_there_in_full() -> None:
    sim = Simulation(ORDER)
    sim.on("stock.reserve").succeeds({"shelf": 7})
    saga = sim.start("order", DATA)
    sim.run()
    command = saga.commands[1]
    assert isinstance(command, Command)
    assert (command.type, command.input, command.outputs) == ("payment.charge", DATA, {"reserve": {"shelf": 7}})


def test_a_saga_says_what_happened() -> None:
    sim = Simulation(ORDER, jitter=False)
    sim.on("payment.charge").fails("busy", "come back").rejects("card_declined", "no money")
    saga = sim.start("order", DATA)
    sim.run()
    assert saga.timeline().splitlines() == [
        "order 'A-1' is compensated, because of charge: card_declined",
        "    0s  started; sent reserve",
        "    0s  reserve: action succeeded; sent charge",
        "    0s  charge: action failed (busy: come back)",
        "  0.2s  charge: action retry due; sent charge (attempt 2)",
        "  0.2s  charge: action rejected, attempt 2 (card_declined: no money); the saga is compensating; "
        "sent undo of reserve",
        "  0.2s  reserve: compensation succeeded; the saga is compensated",
    ]
    assert str(saga) == saga.timeline()
    assert repr(saga) == (
        "<order 'A-1' is compensated, because of charge: card_declined; "
        "sent: 0s reserve, 0s charge, 0.2s charge (attempt 2), 0.2s undo of reserve>"
    )
    assert repr(sim).startswith("<Simulation after 0.2s: <order 'A-1' is compensated")
    assert [entry.event for entry in saga.history][:2] == ["started", "action_succeeded"]


def test_a_saga_without_a_key_is_named_by_its_id() -> None:
    saga = Simulation(definition("reserve")).start("order")
    assert repr(saga) == f"<order '{saga.id[:8]}' is running; sent: 0s reserve>"


def test_a_step_that_is_not_there_is_named_with_those_that_are() -> None:
    saga = Simulation(ORDER).start("order", DATA)
    with pytest.raises(KeyError, match="has no step 'chrage'; its steps: reserve, charge, ship"):
        saga.output("chrage")
    assert saga.output("charge") is None


def test_a_saga_that_is_not_started_says_so() -> None:
    saga = Simulation(ORDER).add("saga:events", type="saga.pause", saga="order", subject="A-1")
    assert repr(saga) == f"<saga {saga.id}, which is not started>"
    with pytest.raises(KeyError, match="is not started; the entry that names it waits for its start"):
        assert saga.status
