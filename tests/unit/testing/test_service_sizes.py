"""The test kit: what is larger than an entry may be, on its way to a worker, to a child saga, and to a parent."""

from __future__ import annotations

from typing import Any

import pytest

from saga_service.definitions import Saga, Step
from saga_service.testing import SimulatedSaga, Simulation

HALF = {"text": "x" * 600_000}
"""An output of which one fits into an entry, and two do not."""


def _order(*, undo_gets_all_outputs: bool) -> Saga:
    reserve = Step(
        "reserve",
        action="stock.reserve",
        compensation="stock.release",
        input=None if undo_gets_all_outputs else {},
    )
    return Saga("order", steps=[reserve, Step("weigh", action="stock.weigh"), Step("charge", action="payment.charge")])


def _run(order: Saga) -> SimulatedSaga:
    sim = Simulation(order)
    sim.on("stock.reserve").succeeds(HALF)
    sim.on("stock.weigh").succeeds(HALF)
    saga = sim.start("order")
    sim.run()
    return saga


def test_a_command_that_is_too_large_is_not_sent_and_its_saga_is_undone() -> None:
    saga = _run(_order(undo_gets_all_outputs=False))
    assert (saga.status, saga.error, saga.undone) == ("compensated", "message_too_large", ["reserve"])
    assert saga.state.fault is not None
    assert "more than the 1,048,576 allowed" in saga.state.fault.message
    assert saga.ended_after == "0s"


def test_a_saga_whose_undo_is_too_large_is_stuck_with_that_reason() -> None:
    saga = _run(_order(undo_gets_all_outputs=True))
    assert (saga.status, saga.step("reserve").status) == ("stuck", "compensation_failed")
    fault = saga.step("reserve").fault
    assert fault is not None
    assert fault.code == "message_too_large"


def test_a_child_saga_that_would_be_started_with_too_much_is_not_started() -> None:
    parts = [Step("a", action="part.a", input={}), Step("b", action="part.b", input={})]
    sent = {"a": "outputs.a", "b": "outputs.b"}
    sim = Simulation([Saga("order", steps=[*parts, Step("pack", saga="parcel", input=sent)]), _parcel()])
    sim.on("part.a").succeeds(HALF)
    sim.on("part.b").succeeds(HALF)
    saga = sim.start("order")
    sim.run()
    assert (saga.status, saga.error, saga.children) == ("compensated", "message_too_large", [])


def _parcel() -> Saga:
    label = Step("label", action="parcel.label", compensation="parcel.void", input={})
    return Saga("parcel", steps=[label, Step("weigh", action="parcel.weigh")])


def _with_parcel(*steps: Step) -> Simulation:
    sim = Simulation([Saga("order", steps=list(steps)), _parcel()])
    sim.on("parcel.label").succeeds(HALF)
    sim.on("parcel.weigh").succeeds(HALF)
    return sim


def test_a_child_saga_whose_outputs_are_too_large_is_undone_at_once() -> None:
    sim = _with_parcel(Step("pack", saga="parcel"), Step("ship", action="stock.ship"))
    saga = sim.start("order")
    sim.run()
    assert (saga.status, saga.error, saga.ended_after) == ("compensated", "message_too_large", "0s")
    assert saga.children[0].undone == ["label"]


def test_a_parent_past_its_pivot_is_stuck_with_the_size_of_its_child_s_outputs() -> None:
    pay = Step("pay", action="payment.charge", kind="pivot")
    sim = _with_parcel(pay, Step("pack", saga="parcel", kind="retriable"))
    saga = sim.start("order")
    sim.run()
    assert (saga.status, saga.error, saga.children[0].status) == ("stuck", "message_too_large", "completed")
    assert saga.state.fault is not None
    assert "more than the 1,048,576 allowed" in saga.state.fault.message


@pytest.mark.parametrize("depth", [98, 99, 100])
def test_a_child_saga_whose_outputs_are_nested_too_deeply_is_undone_at_once(depth: int) -> None:
    """An output lies one level deeper among the child's outputs."""
    sim = Simulation([Saga("order", steps=[Step("pack", saga="parcel"), Step("ship", action="stock.ship")]), _parcel()])
    nested: dict[str, Any] = {}
    for _ in range(depth - 1):
        nested = {"in": nested}
    sim.on("parcel.label").succeeds(nested)
    saga = sim.start("order")
    sim.run()
    if depth < 100:
        assert saga.status == "completed"
    else:
        assert (saga.status, saga.error, saga.ended_after) == ("compensated", "invalid_output", "0s")
        assert saga.children[0].undone == ["label"]
