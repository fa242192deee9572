"""Sagas that the tests of the test kit share."""

from __future__ import annotations

from dataclasses import replace

from pydantic import BaseModel

from saga_service.core.definition import StepDefinition
from saga_service.core.vocabulary import Task
from saga_service.definitions import Retry, Saga, Step, Trigger
from tests.support.builders import step


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
