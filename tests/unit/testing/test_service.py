"""The test kit: signals, operations, child sagas and dead letters of the service in memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from saga_service.core.definition import StepDefinition
from saga_service.core.retry import RetryPolicy
from saga_service.core.vocabulary import OnUnknown, Task
from saga_service.definitions import Saga, Step
from saga_service.settings import Settings
from saga_service.testing import Refused, SimulatedSaga, Simulation
from saga_service.testing.service import DEFERRAL_MAX_MS
from tests.support.builders import definition, step
from tests.unit.testing.sagas import DATA, ORDER, Order, of_child, wait_for


def test_a_signal_is_taken_or_missed() -> None:
    approved = definition("reserve", wait_for("approved"), "ship")
    sim = Simulation(approved)
    saga, missed = sim.start("order"), sim.start("order")
    sim.advance("20s")
    sim.signal(saga, "approved", {"by": "ada"})
    sim.run()
    assert saga.sent == ["0s reserve", "20s ship"]
    assert saga.output("wait-for-approved") == {"by": "ada"}
    assert missed.status == "compensated"
    assert missed.error == "signal_timed_out"
    with pytest.raises(Refused, match="no step waits for the signal 'approved' any more"):
        sim.signal(missed, "approved")


def test_a_signal_may_come_early_and_counts_once() -> None:
    sim = Simulation(definition("reserve", wait_for("approved"), replace(wait_for("approved"), name="again")))
    saga = sim.start("order")
    for _ in range(2):
        sim.signal(saga, "approved", signal_id="the same")
    sim.run()
    assert saga.step("wait-for-approved").status == "succeeded"
    assert saga.error == "signal_timed_out"


def test_a_signal_by_key_may_come_before_its_saga() -> None:
    purchase = Saga("purchase", key="order_id", input=Order, steps=[Step("approval", signal="approved")])
    sim = Simulation(purchase)
    sim.signal("purchase", "approved", {"by": "ada"}, key="A-1")
    sim.advance("30s")
    saga = sim.start("purchase", DATA)
    sim.run()
    assert saga.status == "completed"
    assert saga.output("approval") == {"by": "ada"}


def test_a_signal_by_key_reaches_a_child_saga() -> None:
    refund = Saga("refund", key="order_id", steps=[Step("approval", signal="approved")], input=Order)
    sim = Simulation([Saga("order", steps=[Step("refund", saga="refund")], input=Order), refund])
    saga = sim.start("order", DATA)
    sim.advance(0)
    sim.signal("refund", "approved", key="A-1")
    sim.run()
    assert [each.status for each in (saga, *saga.children)] == ["completed", "completed"]


def test_a_signal_whose_saga_never_comes_is_a_dead_letter() -> None:
    sim = Simulation(Saga("purchase", steps=[Step("approval", signal="approved")]))
    sim.signal("purchase", "approved", key="A-1")
    sim.run()
    (letter,) = sim.dead_letters
    assert letter.reason == "no saga 'purchase' with the key 'A-1' is known"
    assert Settings.model_fields["deferral_max_ms"].default == DEFERRAL_MAX_MS


def test_a_sleep_passes_at_once_and_takes_its_time() -> None:
    night = StepDefinition(name="night", task=Task.SLEEP, timeout_ms=8 * 3_600_000)
    sim = Simulation(definition("reserve", night, "ship"))
    saga = sim.start("order")
    sim.run()
    assert saga.sent == ["0s reserve", "8h ship"]


def test_a_cancelled_saga_is_undone() -> None:
    sim = Simulation(ORDER, replies_after="1s")
    saga = sim.start("order", DATA)
    sim.advance("1.5s")
    sim.cancel(saga, reason="the customer changed her mind")
    sim.run()
    assert saga.sent == ["0s reserve", "1s charge", "2s undo of charge", "3s undo of reserve"]
    assert saga.error == "cancelled"
    assert "cancel requested by the test (the customer changed her mind)" in saga.timeline()


def test_a_completed_saga_is_not_cancelled_but_undone() -> None:
    sim = Simulation(ORDER)
    saga = sim.start("order", DATA)
    sim.run()
    with pytest.raises(Refused, match=r"the saga has ended \(completed\)"):
        sim.cancel(saga)
    sim.compensate(saga)
    sim.run()
    assert saga.status == "compensated"


def test_a_paused_saga_goes_on_when_it_is_resumed() -> None:
    sim = Simulation(ORDER)
    saga = sim.start("order", DATA)
    sim.pause(saga)
    sim.advance("1h")
    assert (saga.status, saga.sent) == ("paused", ["0s reserve"])
    sim.resume(saga)
    sim.run()
    assert saga.sent == ["0s reserve", "1h charge", "1h ship"]


@pytest.mark.parametrize(
    ("ask", "undone", "sent"),
    [
        (lambda sim, saga: sim.retry(saga), ["a"], 4),
        (lambda sim, saga: sim.skip(saga, "a"), [], 3),
        (lambda sim, saga: sim.resolve(saga, "a", "compensated"), ["a"], 3),
    ],
    ids=["retry", "skip", "resolve"],
)
def test_an_undo_out_of_attempts_is_retried_skipped_or_resolved(
    ask: Callable[[Simulation, SimulatedSaga], None], undone: list[str], sent: int
) -> None:
    once = RetryPolicy(attempts_max=1)
    stuck = definition(step("a", compensation_retry=once), step("b", undoable=False, retry=once))

    sim = Simulation(stuck)
    sim.on("service.b").fails()
    sim.on("service.undo-a").fails("down")
    saga = sim.start("order")
    sim.until(saga, "stuck")
    ask(sim, saga)
    sim.run()
    assert (saga.status, saga.undone, len(saga.sent)) == ("compensated", undone, sent)


def test_a_step_is_resolved_with_its_output() -> None:
    held = replace(step("charge"), on_unknown=OnUnknown.HOLD)
    sim = Simulation(definition(held, "ship"))
    sim.on("service.charge").times_out()
    saga = sim.start("order")
    sim.until(saga, "stuck")
    sim.resolve(saga, output={"receipt": "R-1"})
    sim.run()
    assert saga.status == "completed"
    assert saga.output("charge") == {"receipt": "R-1"}


PARENT = definition("reserve", of_child("refund"), step("ship", retry=RetryPolicy(attempts_max=1)))


CHILD = definition("pay", name="refund")


def test_a_child_saga_runs_in_the_same_simulation() -> None:
    sim = Simulation([PARENT, CHILD], replies_after="1s")
    sim.on("service.pay").succeeds({"paid": 30})
    saga = sim.start("order")
    sim.run()
    assert saga.status == "completed"
    assert saga.sent == ["0s reserve", "1s refund", "2s ship"]
    assert saga.output("refund") == {"pay": {"paid": 30}}
    (child,) = saga.children
    assert (child.name, child.status, child.sent) == ("refund", "completed", ["0s pay"])


def test_a_child_saga_is_undone_with_its_parent() -> None:
    sim = Simulation([PARENT, CHILD])
    sim.on("service.ship").fails()
    saga = sim.start("order")
    sim.run()
    (child,) = saga.children
    assert (saga.status, child.status) == ("compensated", "compensated")
    assert saga.undone == ["refund", "reserve"]
    assert child.undone == ["pay"]


def test_a_child_saga_that_nobody_defined_fails_its_step() -> None:
    sim = Simulation(PARENT)
    saga = sim.start("order")
    sim.run()
    assert (saga.status, saga.error) == ("compensated", "unknown_saga")


def test_an_entry_that_cannot_be_used_is_a_dead_letter() -> None:
    sim = Simulation(definition(step("charge", retry=RetryPolicy(attempts_max=1))))
    sim.on("service.charge").succeeds({"receipt": "R" * 2_000_000})
    saga = sim.start("order")
    sim.run()
    assert [letter.reason.partition(",")[0] for letter in sim.dead_letters] == ["the entry has 2"]
    assert saga.error == "message_too_large"


def test_an_entry_that_starts_nothing_is_refused() -> None:
    with pytest.raises(Refused, match="no saga is triggered by the stream 'elsewhere'"):
        Simulation(ORDER).add("elsewhere", order_id="A-1")
    with pytest.raises(Refused, match="the service reads no entries of the stream 'saga:dead-letter'"):
        Simulation(ORDER).add("saga:dead-letter", stored_in="saga.dead_letters")
