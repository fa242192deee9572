"""The test kit: every failure of a saga."""

from __future__ import annotations

from dataclasses import replace

import asyncpg
import pytest
from pydantic import BaseModel

from saga_service import Saga, Step
from saga_service.core.definition import StepDefinition
from saga_service.core.effects import Command
from saga_service.core.vocabulary import Kind, Task
from saga_service.testing import NoOutput, NotReached, StepFailure, every_failure
from saga_service.testing.catalogs import OneSource
from saga_service.worker import PostgresInbox, StepContext, Worker
from tests.support.builders import definition, step

APPROVAL = StepDefinition(name="approval", task=Task.SIGNAL, action="approved", timeout_ms=60_000)
NIGHT = StepDefinition(name="night", task=Task.SLEEP, timeout_ms=60_000)
REFUND = definition("pay", name="refund")
ORDER = definition(
    "reserve",
    "charge",
    APPROVAL,
    NIGHT,
    replace(step("refund", undoable=False), task=Task.CHILD, action="refund"),
    step("ship", undoable=False),
)
COMPENSATED = {
    "reserve fails": [],
    "reserve is rejected": [],
    "reserve times out": ["reserve"],
    "reserve loses its replies": ["reserve"],
    "reserve is cancelled": ["reserve"],
    "charge fails": ["reserve"],
    "charge is rejected": ["reserve"],
    "charge times out": ["charge", "reserve"],
    "charge loses its replies": ["charge", "reserve"],
    "charge is cancelled": ["charge", "reserve"],
    "approval never comes": ["charge", "reserve"],
    "approval is cancelled": ["charge", "reserve"],
    "night is cancelled": ["charge", "reserve"],
    "refund fails": ["charge", "reserve"],
    "refund is cancelled": ["charge", "reserve"],
    "refund/pay fails": ["charge", "reserve"],
    "refund/pay is rejected": ["charge", "reserve"],
    "refund/pay times out": ["charge", "reserve"],
    "refund/pay loses its replies": ["charge", "reserve"],
    "refund/pay is cancelled": ["charge", "reserve"],
    "ship fails": ["refund", "charge", "reserve"],
    "ship is rejected": ["refund", "charge", "reserve"],
    "ship times out": ["refund", "charge", "reserve"],
    "ship loses its replies": ["refund", "charge", "reserve"],
    "ship is cancelled": ["refund", "charge", "reserve"],
}
STUCK = {
    "reserve cannot be undone": ["reserve"],
    "charge cannot be undone": ["charge", "reserve"],
    "refund/pay cannot be undone": ["charge", "reserve"],
}
SIGNALS = {"approved": {"by": "ada"}}
ALL = every_failure([ORDER, REFUND])


def by_name(sagas: OneSource | list[OneSource]) -> dict[str, StepFailure]:
    return {str(failure): failure for failure in every_failure(sagas)}


def test_every_step_and_every_childs_step_fails_in_every_way_that_it_can() -> None:
    assert {str(failure) for failure in ALL} == COMPENSATED.keys() | STUCK.keys()
    assert [str(failure) for failure in ALL][:2] == ["reserve fails", "reserve is rejected"]


@pytest.mark.parametrize("failure", [each for each in ALL if str(each) in COMPENSATED], ids=str)
def test_every_failure_ends_compensated_in_the_right_order(failure: StepFailure) -> None:
    saga = failure.run({"amount": 30}, signals=SIGNALS)
    assert saga.status == "compensated"
    assert [name for name in saga.undone if name != "refund"] == [
        name for name in COMPENSATED[str(failure)] if name != "refund"
    ]
    assert saga.outstanding == []
    assert [child.outstanding for child in saga.children] == [[] for _ in saga.children]


@pytest.mark.parametrize("failure", [each for each in ALL if str(each) in STUCK], ids=str)
def test_an_undo_that_fails_leaves_the_saga_stuck_with_its_debt(failure: StepFailure) -> None:
    saga = failure.run({"amount": 30}, signals=SIGNALS)
    where = saga if len(failure.path) == 1 else saga.children[0]
    assert where.status == "stuck"
    assert where.step(failure.step).status == "compensation_failed"
    assert [name for name in saga.outstanding if name != "refund"] == STUCK[str(failure)]


def test_one_of_several_sagas_is_named() -> None:
    names = [str(failure) for failure in every_failure([ORDER, REFUND], "refund")]
    assert names[:3] == ["pay fails", "pay is rejected", "pay times out"]
    with pytest.raises(KeyError, match="no saga 'refnud' is given; there are: order, refund"):
        every_failure([ORDER, REFUND], "refnud")


def test_a_failure_that_may_not_start_a_compensation_leaves_it_stuck() -> None:
    retriable = definition("reserve", replace(step("ship", undoable=False), kind=Kind.RETRIABLE))
    statuses = {name: failure.run().status for name, failure in by_name(retriable).items()}
    assert statuses == {
        "reserve fails": "compensated",
        "reserve is rejected": "compensated",
        "reserve times out": "compensated",
        "reserve loses its replies": "compensated",
        "reserve is cancelled": "compensated",
        "reserve cannot be undone": "stuck",
        "ship fails": "stuck",
        "ship is rejected": "stuck",
        "ship times out": "stuck",
        "ship loses its replies": "stuck",
        "ship is cancelled": "compensated",
    }


def test_a_saga_is_not_turned_back_where_its_pivot_refuses_that() -> None:
    pivoted = definition(
        "reserve",
        replace(step("charge", undoable=False), kind=Kind.PIVOT),
        replace(step("ship", undoable=False), kind=Kind.RETRIABLE),
    )
    turned_back = [name for name in by_name(pivoted) if "cancelled" in name or "undone" in name]
    assert turned_back == ["reserve is cancelled", "reserve cannot be undone"]


def test_a_step_that_never_begins_is_told_and_no_test_of_another_step() -> None:
    with pytest.raises(NotReached, match=r"step 'ship' never begins, so nothing was tested; give data, signals"):
        by_name([ORDER, REFUND])["ship fails"].run({"amount": 30})


def test_a_saga_that_is_its_own_child_is_listed_once() -> None:
    own = replace(step("again", undoable=False), task=Task.CHILD, action="order")
    assert [str(each) for each in every_failure(definition("reserve", own))][-1] == "again is cancelled"


class Shelf(BaseModel):
    shelf: int


class Receipt(BaseModel):
    receipt: str


SHOP = Saga(
    "order",
    steps=[
        Step("reserve", action="stock.reserve", compensation="stock.release", output=Shelf),
        Step("charge", action="payment.charge", input={"shelf": "outputs.reserve.shelf + 1"}, output=Receipt),
        Step("ship", action="shipping.ship", input={"receipt": "outputs.charge.receipt"}),
    ],
)


@pytest.mark.parametrize("failure", every_failure(SHOP), ids=str)
def test_a_step_that_no_test_answers_for_returns_what_it_declares(failure: StepFailure) -> None:
    saga = failure.run()
    assert saga.step(failure.step).started_at_ms is not None
    fault = saga.state.fault
    assert fault is not None
    assert fault.step in (failure.step, None)


def test_outputs_are_the_tests_own() -> None:
    saga = by_name(SHOP)["ship is rejected"].run(outputs={"stock.reserve": {"shelf": 7}})
    inputs = [sent.input for sent in saga.commands if isinstance(sent, Command)]
    assert inputs[1:3] == [{"shelf": 8}, {"receipt": "some text"}]


def test_an_output_of_the_test_stands_in_the_place_of_a_handler_in_every_failure() -> None:
    worker = Worker("stock")
    calls: list[object] = []

    @worker.handler("stock.reserve")
    async def reserve(data: dict[str, object]) -> None:
        calls.append(data)

    for name in ("reserve loses its replies", "charge is rejected"):
        by_name(SHOP)[name].run(workers=[worker], outputs={"stock.reserve": {"shelf": 7}})
    assert calls == []


def test_an_output_that_cannot_be_made_up_is_asked_for() -> None:
    schema = {"required": ["n"], "properties": {"n": {"type": "string", "pattern": "^[A-Z]{3}-[0-9]{4}$"}}}
    saga = Saga("order", steps=[Step("count", action="stock.count", output=schema), Step("ship", action="s.ship")])
    failure = by_name(saga)["ship fails"]
    with pytest.raises(NoOutput, match=r"step 'count' of saga 'order' declares an output that cannot be made up \(n"):
        failure.run()
    given = {"stock.count": {"n": "ABC-1234"}}
    assert failure.run(outputs=given).error == "failed"
    assert by_name(saga)["count loses its replies"].run(outputs=given).error == "timeout"


def test_a_child_that_begins_on_the_way_is_given_the_signals_that_it_waits_for() -> None:
    child = replace(step("refund", undoable=False), task=Task.CHILD, action="refund")
    failures = by_name([definition("reserve", child, "ship"), definition(APPROVAL, "pay", name="refund")])
    for name in ("ship is rejected", "refund/pay is rejected"):
        saga = failures[name].run(signals=SIGNALS)
        assert saga.children[0].step("approval").output == SIGNALS["approved"]


def test_transactional_handlers_are_given_the_tests_connection() -> None:
    worker = Worker("stock", inbox=PostgresInbox("postgresql://nowhere.invalid/"))
    given: list[object] = []

    @worker.handler("stock.reserve")
    async def reserve(
        data: dict[str, object], context: StepContext, connection: asyncpg.Connection
    ) -> dict[str, object]:
        given.append(connection)
        return {"shelf": 3}

    saga = by_name(SHOP)["charge is rejected"].run(workers=[worker], connection="a stand-in")
    assert given == ["a stand-in"]
    assert saga.error == "rejected"
