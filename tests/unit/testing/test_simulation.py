"""The test kit: starts, the passing of virtual time, and wrong arguments."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from saga_service.definitions import Saga, Step
from saga_service.testing import NeverEnds, NotReached, Refused, Simulation
from saga_service.worker import Worker
from tests.support.builders import RETRY, definition, step
from tests.unit.testing.sagas import DATA, ORDER, Order, wait_for


def test_the_same_simulation_sees_the_same_moments_with_jitter_too() -> None:
    jittery = replace(step("charge"), retry=replace(RETRY, jitter=True, attempts_max=6))

    def sent(*, jitter: bool) -> list[str]:
        sim = Simulation(definition(jittery), jitter=jitter)
        sim.on("service.charge").fails().always()
        saga = sim.start("order")
        sim.run()
        return saga.sent

    assert sent(jitter=True) == sent(jitter=True)
    assert sent(jitter=True) != sent(jitter=False)
    assert sent(jitter=False)[:3] == ["0s charge", "0.2s charge (attempt 2)", "0.6s charge (attempt 3)"]


def test_a_start_says_what_is_wrong_with_its_input() -> None:
    with pytest.raises(Refused, match="amount: is missing"):
        Simulation(ORDER).start("order", {"order_id": "A-1"})


def test_a_start_of_an_unknown_saga_is_refused() -> None:
    with pytest.raises(Refused, match="no saga is started by an event of type 'ordre'"):
        Simulation(ORDER).start("ordre", DATA)


def test_the_same_key_is_the_same_saga() -> None:
    sim = Simulation(ORDER)
    first, again = sim.start("order", DATA), sim.start("order.placed", Order(order_id="A-1", amount=30))
    assert first == again
    assert len({first, again}) == 1
    assert first != sim.start("order", {**DATA, "order_id": "A-2"})
    assert [saga.key for saga in sim.sagas] == ["A-1", "A-2"]


def test_each_start_without_a_key_is_another_saga_with_a_stable_id() -> None:
    def ids() -> list[str]:
        sim = Simulation(definition("reserve"))
        return [sim.start("order").id, sim.start("order").id]

    assert ids() == ids()
    assert len(set(ids())) == 2


def test_an_entry_of_another_stream_starts_its_saga() -> None:
    saga = Simulation(ORDER).add("shop:orders", order_id="A-1", amount="30")
    assert saga.state.input == {"order_id": "A-1", "amount": 30}


def test_a_simulation_begins_when_it_is_told_to() -> None:
    sim = Simulation(ORDER, now=datetime(2027, 3, 1, 12, tzinfo=UTC))
    saga = sim.start("order", DATA)
    sim.advance("90m")
    assert sim.now == datetime(2027, 3, 1, 13, 30, tzinfo=UTC)
    assert saga.state.created_at_ms == 1_803_902_400_000
    assert Simulation(ORDER, now=1_803_902_400_000).now == datetime(2027, 3, 1, 12, tzinfo=UTC)
    with pytest.raises(ValueError, match="no time zone"):
        Simulation(ORDER, now=datetime(2027, 3, 1))


def test_time_goes_as_far_as_it_is_told_to() -> None:
    sim = Simulation(ORDER, replies_after="10s")
    saga = sim.start("order", DATA)
    sim.advance("10s")
    assert saga.sent == ["0s reserve", "10s charge"]
    sim.advance("9.999s")
    assert (sim.elapsed, len(saga.sent)) == ("19.999s", 2)
    sim.until(saga, lambda: saga.output("charge") is not None)
    assert sim.elapsed == "20s"


def test_a_condition_that_is_never_met_shows_the_timeline() -> None:
    sim = Simulation(ORDER)
    saga = sim.start("order", DATA)
    with pytest.raises(NotReached, match=r"never compensated.*nothing is left to happen") as raised:
        sim.until(saga, "compensated")
    assert saga.timeline() in str(raised.value)
    with pytest.raises(NotReached, match="the condition was never met"):
        sim.until(saga, lambda: False)


def test_a_signal_by_name_needs_a_key() -> None:
    with pytest.raises(ValueError, match=r"sim\.signal\('order', 'approved', key="):
        Simulation(definition(wait_for("approved"))).signal("order", "approved")


def test_a_simulation_without_end_is_stopped() -> None:
    forever = replace(step("charge"), retry=replace(RETRY, attempts_max=1_000_000))
    sim = Simulation(definition(forever), events_max=500)
    sim.on("service.charge").fails().always()
    sim.start("order")
    with pytest.raises(NeverEnds, match=r"500 events happened.*order: charge action_failed \(\d+ times\)"):
        sim.run()


def test_a_wrong_argument_says_what_is_expected() -> None:
    worker = Worker("stock")
    for wrong in (worker, "order.yaml", [worker]):
        with pytest.raises(TypeError, match=r"is a Saga, .* but here is a '.*'; workers come second"):
            Simulation(wrong)  # type: ignore[arg-type]  # as a test that nobody checks for types
    for workers in (worker, [ORDER], "stock"):
        with pytest.raises(TypeError, match=r"workers are a list of them, .* but here is a '"):
            Simulation(ORDER, workers)  # type: ignore[arg-type]  # the same


def test_all_the_words_of_a_definition_are_simulated() -> None:
    refund = Saga("refund", steps=[Step("pay", action="payment.pay")])
    order = Saga(
        "order",
        steps=[
            Step("reserve", action="stock.reserve", compensation="stock.release"),
            Step("check", action="risk.check", after="reserve", when="input.amount > 100"),
            Step("pack", action="stock.pack", after="reserve"),
            Step("approval", signal="order.approved", timeout="7d", after=["check", "pack"]),
            Step("night", sleep="8h"),
            Step("refund", saga="refund"),
            Step("charge", action="payment.charge", kind="pivot", input={"who": "outputs.approval.by"}),
        ],
    )
    sim = Simulation([order, refund])
    large, small = sim.start("order", {"amount": 500}), sim.start("order", {"amount": 5})
    sim.advance("1h")
    for saga in (large, small):
        sim.signal(saga, "order.approved", {"by": "ada"})
    sim.run()
    assert large.sent == ["0s reserve", "0s check", "0s pack", "9h refund", "9h charge"]
    assert small.sent == ["0s reserve", "0s pack", "9h refund", "9h charge"]
    assert large.commands[-1].input == {"who": "ada"}
    assert [saga.status for saga in sim.sagas] == ["completed"] * 4
