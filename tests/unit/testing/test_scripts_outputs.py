"""The test kit: an answer that is not what the step's action is said to return is told, as the service tells it."""

from __future__ import annotations

import pytest
from pydantic import BaseModel

from saga_service.definitions import Saga, Step
from saga_service.testing import Simulation
from saga_service.worker.context import StepContext
from saga_service.worker.worker import Worker


class Receipt(BaseModel):
    receipt: str


ORDER = Saga(
    "order",
    steps=[
        Step("charge", action="payment.charge", timeout="30s", output=Receipt),
        Step("ship", action="shipping.ship", input={"receipt": "outputs.charge.receipt"}),
    ],
)
TOLD = "the output of step 'charge' does not fit: receipt is missing"


def test_an_output_that_does_not_fit_is_a_dead_letter_and_its_step_is_given_up_on() -> None:
    sim = Simulation(ORDER, jitter=False)
    sim.on("payment.charge").succeeds({"reciept": "R-1"})
    saga = sim.start("order")
    sim.run()
    assert [letter.reason for letter in sim.dead_letters] == [TOLD]
    assert (saga.sent, saga.status, saga.error) == (["0s charge"], "compensated", "invalid_output")


def test_a_step_that_no_script_answers_for_returns_what_it_declares() -> None:
    sim = Simulation(ORDER)
    saga = sim.start("order")
    sim.run()
    assert sim.dead_letters == []
    assert (saga.status, saga.output("charge")) == ("completed", {"receipt": "some text"})


def test_a_script_without_an_output_returns_what_the_step_declares() -> None:
    sim = Simulation(ORDER)
    sim.on("payment.charge").fails().succeeds()
    saga = sim.start("order")
    sim.run()
    assert (saga.attempts("charge"), saga.output("charge")) == (2, {"receipt": "some text"})


def test_scripts_are_told_apart_by_saga_and_step() -> None:
    child = Saga("child", steps=[Step("charge", action="payment.charge")])
    sim = Simulation([Saga("order", steps=[Step("charge", action="payment.charge"), Step("c", saga="child")]), child])
    sim.on("payment.charge", saga="child", step="charge").rejects("only_the_child")
    saga = sim.start("order")
    sim.run()
    assert (saga.step("charge").status, saga.children[0].error) == ("succeeded", "only_the_child")
    with pytest.raises(ValueError, match=r"saga 'chidl' does not send 'payment\.charge', but: order, child"):
        sim.on("payment.charge", saga="chidl")


def test_a_handler_that_returns_something_else_is_told() -> None:
    worker = Worker("payment")

    @worker.handler("payment.charge")
    async def charge(data: dict[str, object], context: StepContext) -> dict[str, object]:
        return {"receipt": context.attempt}

    sim = Simulation(ORDER, [worker])
    saga = sim.start("order")
    sim.run()
    assert {letter.reason for letter in sim.dead_letters} == {
        "the output of step 'charge' does not fit: receipt must be string"
    }
    assert saga.done == []


@pytest.mark.parametrize("lost", [float("nan"), 2**70, {1: "a", "1": "b"}], ids=["nan", "beyond 64 bits", "equal keys"])
def test_an_answer_that_would_lose_something_is_refused_where_it_is_scripted(lost: object) -> None:
    sim = Simulation(ORDER)
    with pytest.raises(TypeError, match=r"not finite|lose digits|same name twice"):
        sim.on("payment.charge").succeeds({"receipt": "R-1", "more": [lost]})
