"""The lines to paste that `dev` prints."""

from __future__ import annotations

import json
import shlex

from pydantic import BaseModel

from saga_service import Saga, Step
from saga_service.cli.console.lines_to_paste import starts_of
from saga_service.definitions import Catalog, check_saga


class Order(BaseModel):
    order_id: str
    amount: int
    note: str | None = None


def data_of(saga: Saga) -> object:
    [start] = starts_of(Catalog([check_saga(saga)]))
    words = shlex.split(start.entry)
    assert words[:5] == ["saga:events", "*", "type", "order", "data"]
    assert shlex.split(start.command) == ["start", "order", "--data", words[5], "--wait"]
    return json.loads(words[5])


def test_the_start_that_dev_prints_starts_the_saga_as_it_is() -> None:
    steps = [Step("charge", action="payment.charge")]
    assert data_of(Saga("order", input=Order, key="order_id", steps=steps)) == {"amount": 1, "order_id": "some text"}
    assert data_of(Saga("order", steps=steps)) == {}


def test_an_input_that_no_sample_fits_is_left_to_the_author() -> None:
    schema = {"type": "object", "required": ["id"], "properties": {"id": {"type": "string", "pattern": "^A-[0-9]+$"}}}
    assert data_of(Saga("order", input=schema, steps=[Step("charge", action="payment.charge")])) == {}
