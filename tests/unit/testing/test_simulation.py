"""The test kit: what a simulation lets happen, when, and what it tells of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from pydantic import BaseModel

from saga_service.core.definition import Definition, StepDefinition
from saga_service.core.effects import Command
from saga_service.core.retry import RetryPolicy
from saga_service.core.vocabulary import OnUnknown, Task
from saga_service.definitions import DefinitionErrors, Retry, Saga, Step, Trigger, check_saga, load_definitions
from saga_service.settings import Settings
from saga_service.testing import NeverEnds, NotReached, Refused, SimulatedSaga, Simulation
from saga_service.testing.service import DEFERRAL_MAX_MS
from saga_service.worker import Worker
from tests.support.builders import RETRY, definition, step


class Order(BaseModel):
    order_id: str
    amount: int


ORDER = Saga(
    "order",
    input=Order,
    key="order_id",
    triggers=[Trigger(event_type="order.placed"), Trigger(stream="shop:orders")],
    steps=[
        Step("reserve", action="stock.reserve", compensation="stock.release"),
        Step("charge", action="payment.charge", compensation="payment.refund", retry=Retry(attempts=4), timeout="30s"),
        Step("ship", action="shipping.ship"),
    ],
)
DATA = {"order_id": "A-1", "amount": 30}


def wait_for(signal: str, *, timeout_ms: int = 60_000) -> StepDefinition:
    return StepDefinition(name=f"wait-for-{signal}", task=Task.SIGNAL, action=signal, timeout_ms=timeout_ms)


def of_child(saga: str) -> StepDefinition:
    return replace(step(saga, undoable=False), task=Task.CHILD, action=saga)


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


_DEMO_ORDER = {"order_id": "A-1", "customer": "C", "amount": 3, "items": [{"sku": "S", "quantity": 1}]}


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


def test_a_signal_by_name_needs_a_key() -> None:
    with pytest.raises(ValueError, match=r"sim\.signal\('order', 'approved', key="):
        Simulation(definition(wait_for("approved"))).signal("order", "approved")


def test_a_saga_that_is_not_started_says_so() -> None:
    saga = Simulation(ORDER).add("saga:events", type="saga.pause", saga="order", subject="A-1")
    assert repr(saga) == f"<saga {saga.id}, which is not started>"
    with pytest.raises(KeyError, match="is not started; the entry that names it waits for its start"):
        assert saga.status


def test_a_sleep_passes_at_once_and_takes_its_time() -> None:
    night = StepDefinition(name="night", task=Task.SLEEP, timeout_ms=8 * 3_600_000)
    sim = Simulation(definition("reserve", night, "ship"))
    saga = sim.start("order")
    sim.run()
    assert saga.sent == ["0s reserve", "8h ship"]


def test_a_simulation_without_end_is_stopped() -> None:
    forever = replace(step("charge"), retry=replace(RETRY, attempts_max=1_000_000))
    sim = Simulation(definition(forever), events_max=500)
    sim.on("service.charge").fails().always()
    sim.start("order")
    with pytest.raises(NeverEnds, match=r"500 events happened.*order: charge action_failed \(\d+ times\)"):
        sim.run()


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
    with pytest.raises(Refused, match="the saga is completed"):
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


def test_a_script_stands_in_for_a_child_saga() -> None:
    sim = Simulation(PARENT)
    sim.on("refund").succeeds({"paid": 30}).after("5s")
    sim.on("service.ship").fails()
    saga = sim.start("order")
    sim.run()
    assert saga.sent == ["0s reserve", "0s refund", "5s ship", "5s undo of refund", "5s undo of reserve"]
    assert saga.status == "compensated"
    assert saga.children == []


def test_a_child_saga_that_nobody_defined_fails_its_step() -> None:
    sim = Simulation(PARENT)
    saga = sim.start("order")
    sim.run()
    assert (saga.status, saga.error) == ("compensated", "unknown_saga")


def test_a_script_for_a_child_that_never_answers_is_cancelled() -> None:
    sim = Simulation(PARENT)
    sim.on("refund").times_out()
    saga = sim.start("order")
    sim.run()
    assert saga.status == "stuck"
    assert saga.sent[-1] == "30s cancel of refund"


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


def test_an_entry_that_cannot_be_used_is_a_dead_letter() -> None:
    sim = Simulation(definition(step("charge", retry=RetryPolicy(attempts_max=1))))
    sim.on("service.charge").succeeds({"receipt": "R" * 2_000_000})
    saga = sim.start("order")
    sim.run()
    assert [letter.reason.partition(",")[0] for letter in sim.dead_letters] == ["the entry has 2"]
    assert saga.error == "timeout"


def test_an_entry_that_starts_nothing_is_refused() -> None:
    with pytest.raises(Refused, match="no saga is triggered by the stream 'elsewhere'"):
        Simulation(ORDER).add("elsewhere", order_id="A-1")
    with pytest.raises(Refused, match="nobody takes in what is on the stream 'saga:dead-letter'"):
        Simulation(ORDER).add("saga:dead-letter", stored_in="saga.dead_letters")


def test_a_step_that_is_not_there_is_named_with_those_that_are() -> None:
    saga = Simulation(ORDER).start("order", DATA)
    with pytest.raises(KeyError, match="has no step 'chrage'; its steps: reserve, charge, ship"):
        saga.output("chrage")
    assert saga.output("charge") is None


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
        ("order.approved", None, r"'order.approved' is a signal, which nobody answers; give it by sim.signal\(saga, "),
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


def test_a_wrong_argument_says_what_is_expected() -> None:
    worker = Worker("stock")
    for wrong in (worker, "order.yaml", [worker]):
        with pytest.raises(TypeError, match=r"is a Saga, .* but here is a '.*'; workers come second"):
            Simulation(wrong)  # type: ignore[arg-type]  # as a test that nobody checks for types
    for workers in (worker, [ORDER], "stock"):
        with pytest.raises(TypeError, match=r"workers are a list of them, .* but here is a '"):
            Simulation(ORDER, workers)  # type: ignore[arg-type]  # the same


def test_a_definition_of_the_core_takes_any_input() -> None:
    plain = Definition("order", "v1", (step("reserve"),))
    assert Simulation(plain).start("order", {"anything": [1]}).state.input == {"anything": [1]}


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
