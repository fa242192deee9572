"""The test kit: every form in which a test may have a saga."""

from __future__ import annotations

import pytest

from saga_service.core.definition import Definition
from saga_service.definitions import DefinitionErrors, Saga, Step, check_saga, load_definitions
from saga_service.testing import Simulation
from tests.support.builders import definition, step
from tests.unit.testing.sagas import DATA, ORDER

_DEMO_ORDER = {"order_id": "A-1", "customer": "C", "amount": 3, "items": [{"sku": "S", "quantity": 1}]}


def test_what_can_be_simulated() -> None:
    assert Simulation(check_saga(ORDER)).start("order", DATA).key == "A-1"
    refund = Saga("refund", steps=[Step("pay", action="payment.pay")])
    assert Simulation([ORDER, refund, definition("a", name="plain")]).start("plain").name == "plain"
    assert Simulation(load_definitions(["saga_service.demo.sagas"])).start("order.placed", _DEMO_ORDER).name == "order"
    with pytest.raises(ValueError, match="two sagas have the name 'order'"):
        Simulation([ORDER, definition("a")])
    with pytest.raises(ValueError, match="at least one saga"):
        Simulation([])
    with pytest.raises(DefinitionErrors, match="is 'a', as is"):
        Simulation(Saga("order", steps=[Step("a", action="s.a"), Step("a", action="s.b")]))


def test_a_definition_of_the_core_takes_any_input() -> None:
    plain = Definition("order", "v1", (step("reserve"),))
    assert Simulation(plain).start("order", {"anything": [1]}).state.input == {"anything": [1]}
