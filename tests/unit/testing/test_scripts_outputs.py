"""The test kit: an answer that is not what the step's action is said to return is told, as the service tells it."""

from __future__ import annotations

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


def test_an_output_that_does_not_fit_is_a_dead_letter_and_a_time_out() -> None:
    sim = Simulation(ORDER, jitter=False)
    sim.on("payment.charge").succeeds({"reciept": "R-1"}).succeeds({"receipt": "R-2"})
    saga = sim.start("order")
    sim.run()
    assert [letter.reason for letter in sim.dead_letters] == [TOLD]
    assert saga.sent == ["0s charge", "30.2s charge (attempt 2)", "30.2s ship"]
    assert saga.output("charge") == {"receipt": "R-2"}


def test_a_step_that_nobody_answers_for_returns_nothing_which_is_told() -> None:
    sim = Simulation(ORDER)
    saga = sim.start("order")
    sim.run()
    assert {letter.reason for letter in sim.dead_letters} == {TOLD}
    assert (saga.status, saga.error) == ("compensated", "timeout")


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
