"""The test kit: commands are answered by scripts, in time or not, and by scripts that stand in for child sagas."""

from __future__ import annotations

from dataclasses import replace

import pytest

from saga_service.core.retry import RetryPolicy
from saga_service.core.vocabulary import OnUnknown
from saga_service.definitions import Saga, Step
from saga_service.testing import Simulation
from tests.support.builders import definition, step
from tests.unit.testing.sagas import DATA, ORDER, of_child


def test_charge_fails_twice_then_times_out() -> None:
    sim = Simulation(ORDER, jitter=False)
    sim.on("payment.charge").fails("busy").fails("busy").times_out().succeeds({"receipt": "R-1"})
    saga = sim.start("order", DATA)
    sim.run()
    assert saga.sent == [
        "0s reserve",
        "0s charge",
        "0.2s charge (attempt 2)",
        "0.6s charge (attempt 3)",
        "31.4s charge (attempt 4)",
        "31.4s ship",
    ]
    assert saga.status == "completed"
    assert saga.output("charge") == {"receipt": "R-1"}
    assert saga.attempts("charge") == 4
    assert saga.done == ["reserve", "charge", "ship"]
    assert saga.ended_after == "31.4s"
    assert saga.error is None


def test_replies_take_as_long_as_the_simulation_says() -> None:
    sim = Simulation(ORDER, replies_after="2s")
    sim.on("payment.charge").succeeds().after("500ms")
    saga = sim.start("order", DATA)
    sim.run()
    assert saga.sent == ["0s reserve", "2s charge", "2.5s ship"]
    assert saga.ended_after == "4.5s"


def test_a_late_success_is_known_once_a_later_attempt_has_succeeded() -> None:
    sim = Simulation(definition("reserve", step("charge", retry=RetryPolicy(attempts_max=1))))
    sim.on("service.charge").fails()
    sim.on("service.reserve").succeeds().after("40s").succeeds()
    saga = sim.start("order")
    sim.run()
    # Its second attempt was made after 30s and 0.2s; the first one's answer at 40s is known already.
    assert saga.sent == ["0s reserve", "30.2s reserve (attempt 2)", "30.2s charge", "30.2s undo of reserve"]
    assert saga.status == "compensated"


def test_a_late_success_of_a_failed_step_is_compensated() -> None:
    once = RetryPolicy(attempts_max=1)
    sim = Simulation(definition(step("charge", retry=once)))
    sim.on("service.charge").succeeds({"receipt": "R-1"}).after("2m")
    saga = sim.start("order")
    sim.until(saga, "compensated")
    assert sim.elapsed == "30s"
    sim.run()
    assert sim.elapsed == "2m"
    assert saga.sent == ["0s charge", "30s undo of charge", "2m undo of charge (attempt 2)"]
    assert saga.status == "compensated"


def test_a_reply_that_comes_twice_counts_once() -> None:
    sim = Simulation(ORDER)
    sim.on("stock.reserve").succeeds().twice()
    saga = sim.start("order", DATA)
    sim.run()
    assert saga.sent == ["0s reserve", "0s charge", "0s ship"]
    assert sim.dead_letters == []


def test_a_worker_can_ask_for_a_wait_of_its_own() -> None:
    sim = Simulation(ORDER, jitter=False)
    sim.on("stock.reserve").fails("busy", retry_after="7s")
    saga = sim.start("order", DATA)
    sim.run()
    assert saga.sent[1] == "7s reserve (attempt 2)"


def test_heartbeats_keep_an_attempt_alive() -> None:
    silent = replace(step("charge", retry=RetryPolicy(attempts_max=1)), heartbeat_ms=5_000)
    sim = Simulation(definition(silent))
    sim.on("service.charge").succeeds().after("20s").heartbeats("2s")
    saga = sim.start("order")
    sim.run()
    assert saga.status == "completed"
    assert saga.ended_after == "20s"


def test_an_attempt_without_heartbeats_times_out() -> None:
    silent = replace(step("charge", retry=RetryPolicy(attempts_max=1)), heartbeat_ms=5_000)
    sim = Simulation(definition(silent))
    sim.on("service.charge").times_out().heartbeats("2s")
    saga = sim.start("order")
    sim.run()
    # The last sign of life that is written down before the deadline holds until then.
    assert saga.sent == ["0s charge", "30s undo of charge"]
    assert saga.error == "timeout"
    other = Simulation(definition(silent))
    other.on("service.charge").succeeds().after("29s")
    saga = other.start("order")
    other.run()
    assert saga.sent == ["0s charge", "5s undo of charge", "29s undo of charge (attempt 2)"], "a success after all"
    assert saga.error == "heartbeat_timeout"


def test_a_probe_is_answered_like_any_command() -> None:
    asked = replace(step("charge"), on_unknown=OnUnknown.PROBE, probe="service.was-charged")
    sim = Simulation(definition(asked))
    sim.on("service.charge").times_out()
    sim.on("service.was-charged").rejects()
    saga = sim.start("order")
    sim.run()
    assert saga.sent == ["0s charge", "30s probe of charge", "30.2s charge (attempt 2)"]


def test_a_script_of_one_step_is_for_no_other() -> None:
    twice = definition(step("first"), replace(step("second"), action="service.first"))
    sim = Simulation(twice)
    sim.on("service.first", step="second").fails()
    saga = sim.start("order")
    sim.run()
    assert (saga.attempts("first"), saga.attempts("second")) == (1, 2)


PARENT = definition("reserve", of_child("refund"), step("ship", retry=RetryPolicy(attempts_max=1)))


def test_a_script_stands_in_for_a_child_saga() -> None:
    sim = Simulation(PARENT)
    sim.on("refund").succeeds({"paid": 30}).after("5s")
    sim.on("service.ship").fails()
    saga = sim.start("order")
    sim.run()
    assert saga.sent == ["0s reserve", "0s refund", "5s ship", "5s undo of refund", "5s undo of reserve"]
    assert saga.status == "compensated"
    assert saga.children == []


def test_a_script_for_a_child_that_never_answers_is_cancelled() -> None:
    sim = Simulation(PARENT)
    sim.on("refund").times_out()
    saga = sim.start("order")
    sim.run()
    assert saga.status == "stuck"
    assert saga.sent[-1] == "30s cancel of refund"


@pytest.mark.parametrize(
    ("name", "step_name", "told"),
    [
        (
            "payment.chrge",
            None,
            "no saga of this simulation sends 'payment.chrge'; sent are: stock.reserve, stock.release, payment.charge, "
            "payment.refund, payment.find, shipment, order.ship; did you mean 'payment.charge'?",
        ),
        ("shipmnt", None, "did you mean 'shipment'"),
        ("payment.refnd", None, "did you mean 'payment.refund'"),
        ("payment.fnd", None, "did you mean 'payment.find'"),
        (
            "order.approved",
            None,
            r"'order.approved' is a signal, which no worker answers; give it by sim.signal\(saga, ",
        ),
        ("payment.charge", "chrge", "is not sent for a step 'chrge', but for: charge; did you mean 'charge'?"),
    ],
)
def test_a_script_for_an_unknown_name_says_what_is_sent(name: str, step_name: str | None, told: str) -> None:
    order = Saga(
        "order",
        steps=[
            Step("reserve", action="stock.reserve", compensation="stock.release"),
            Step(
                "charge",
                action="payment.charge",
                compensation="payment.refund",
                on_unknown="probe",
                probe="payment.find",
            ),
            Step("approval", signal="order.approved"),
            Step("ship", saga="shipment"),
        ],
    )
    sim = Simulation([order, Saga("shipment", steps=[Step("ship", action="order.ship")])])
    with pytest.raises(ValueError, match=told):
        sim.on(name, step=step_name)
    for sent in ("stock.release", "payment.find", "shipment", "order.ship"):
        sim.on(sent).succeeds()
