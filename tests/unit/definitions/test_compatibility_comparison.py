"""Definitions against workers: what no worker carries out, and what does not fit, is found before the first saga."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, create_model

from saga_service.definitions import DefinedSaga, Saga, Step, check_saga, saga_spec_from_document
from saga_service.definitions.compatibility import Mismatch, compare
from saga_service.wire.worker_description import HandlerDescription, WorkerDescription
from saga_service.worker import PostgresInbox, Worker
from saga_service.worker.description import describe

NOWHERE = "postgresql://nowhere/none"
CLOSED: dict[str, Any] = {
    "type": "object",
    "required": ["order_id", "amount"],
    "properties": {"order_id": {"type": "string"}, "amount": {"type": "integer"}, "note": {"type": "string"}},
    "additionalProperties": False,
}
OPEN = {word: value for word, value in CLOSED.items() if word != "additionalProperties"}


async def anything(command: dict[str, Any]) -> None: ...


def shop(takes: Any = dict[str, Any], returns: Any = dict[str, Any], **others: Any) -> Worker:
    """A worker with a handler for `shop.do`, and for the given commands."""

    async def do(command: BaseModel) -> None: ...

    do.__annotations__.update({"command": takes, "return": returns})
    worker = Worker("shop", inbox=PostgresInbox(NOWHERE))
    worker.handler("shop.do")(do)
    for name, function in others.items():
        worker.handler(f"shop.{name}")(function)
    return worker


def saga(*steps: Step, **words: Any) -> DefinedSaga:
    return check_saga(Saga("order", steps=steps, **{"input": CLOSED, **words}))


def found(spec: DefinedSaga, *workers: Worker, elsewhere: tuple[str, ...] = ()) -> list[Mismatch]:
    return compare([spec], [describe(worker) for worker in workers], elsewhere)


def problems(spec: DefinedSaga, *workers: Worker) -> list[str]:
    return [each.text for each in found(spec, *workers) if each.is_problem]


def hints(spec: DefinedSaga, *workers: Worker) -> list[str]:
    return [each.text for each in found(spec, *workers) if not each.is_problem]


DO = Step("do", action="shop.do")


# Who carries it out


def test_what_fits_is_not_spoken_of() -> None:
    class Order(BaseModel):
        order_id: str
        amount: int
        note: str | None = None

    assert found(saga(DO), shop(Order)) == []


def test_a_service_without_any_worker_is_a_problem_with_all_that_it_is_needed_for() -> None:
    spec = saga(Step("pay", action="payment.charge", compensation="payment.refund"), Step("send", action="mail.send"))
    [problem] = [each for each in found(spec, shop(), Worker("mail")) if "payment" in each.text]
    assert problem.is_problem
    assert problem.text == "no worker for the service 'payment', which order needs (payment.charge, payment.refund)"
    assert problem.service == "payment"


def test_all_sagas_that_need_a_service_are_named() -> None:
    specs = [check_saga(Saga(name, steps=[Step("pay", action="payment.charge")])) for name in ("order", "shipment")]
    [problem] = compare(specs, [])
    assert problem.text == "no worker for the service 'payment', which order and shipment need (payment.charge)"


def test_a_service_whose_name_is_mistyped_is_told_with_the_one_that_is_meant() -> None:
    [text] = problems(saga(Step("do", action="shpo.do")), shop())
    assert "did you mean 'shop'?" in text


def test_nothing_is_asked_of_a_service_whose_workers_are_elsewhere() -> None:
    assert found(saga(Step("pay", action="payment.charge")), elsewhere=("payment",)) == []


@pytest.mark.parametrize(
    ("step", "called"),
    [
        (Step("do", action="shop.dp"), "its action 'shop.dp'"),
        (Step("do", action="shop.do", compensation="shop.dp"), "its compensation 'shop.dp'"),
        (Step("do", action="shop.do", on_unknown="probe", probe="shop.dp"), "its probe 'shop.dp'"),
    ],
)
def test_a_command_without_a_handler_is_a_problem_with_the_one_that_is_meant(step: Step, called: str) -> None:
    [problem] = [each for each in found(saga(step), shop()) if each.is_problem]
    assert problem.text == f"{called} has no handler in the worker of 'shop'; did you mean 'shop.do'?"
    assert (problem.saga, problem.step, problem.command) == ("order", "do", "shop.dp")


def test_handlers_that_nobody_calls_are_a_hint() -> None:
    [hint] = found(saga(DO), shop(other=anything))
    assert not hint.is_problem
    assert "the worker of 'shop' has handlers that no definition here calls: shop.other" in hint.text


def test_a_type_by_which_the_inbox_answers_probes_carries_nothing_out() -> None:
    worker = shop()
    worker.answer_probes("shop.find", of="shop.do")
    asked = Step("do", action="shop.do", on_unknown="probe", probe="shop.find")
    assert problems(saga(asked), worker) == []
    [text] = problems(saga(Step("do", action="shop.find")), worker)
    assert "answers probes" in text


def test_an_undo_of_another_action_would_look_for_the_wrong_record() -> None:
    worker = shop(other=anything)
    worker.handler("shop.undo", undoes="shop.other")(anything)
    [text] = problems(saga(Step("do", action="shop.do", compensation="shop.undo")), worker)
    assert "registered with undoes='shop.other', and the step's action is 'shop.do'" in text


def test_workers_of_one_service_count_together() -> None:
    old, new = shop(), Worker("shop")
    new.handler("shop.undo")(anything)
    assert found(saga(Step("do", action="shop.do", compensation="shop.undo")), old, new) == []


# What is sent, and what the model takes


class Renamed(BaseModel):
    orderId: str  # noqa: N815  # that is the point
    amount: int


def test_a_field_that_is_surely_not_sent_is_a_problem() -> None:
    [text] = problems(saga(DO), shop(Renamed))
    assert text.startswith(
        "its action 'shop.do' does not fit its handler's model: 'orderId' is missing; did you mean 'order_id'? "
    )
    assert text.endswith("change the model, the saga's 'input', or write a mapping at the step's 'input'")


class Discounted(BaseModel):
    coupon: str


def test_a_field_that_a_producer_may_add_is_a_hint() -> None:
    assert problems(saga(DO, input=OPEN), shop(Discounted)) == []
    [text] = hints(saga(DO, input=OPEN), shop(Discounted))
    assert "may not fit its handler's model: 'coupon' is not among the named properties, and may be missing" in text


@pytest.mark.parametrize(
    ("written", "meant"), [("amont", "amount"), ("orderId", "order_id"), ("account", None), ("amount_due", None)]
)
def test_a_field_that_is_nearly_a_named_one_is_a_problem_also_where_a_producer_may_add_others(
    written: str, meant: str | None
) -> None:
    field: Any = {written: (Any, ...)}
    told = problems(saga(DO, input=OPEN), shop(create_model("Order", **field)))
    assert len(told) == (meant is not None)
    assert all(f"'{written}' is not among the named properties; did you mean '{meant}'? " in text for text in told)


def test_a_model_that_has_the_named_field_as_well_has_no_misspelling() -> None:
    class Both(BaseModel):
        amount: int
        amounts: list[int]

    assert problems(saga(DO, input=OPEN), shop(Both)) == []


def test_a_fault_of_a_model_is_told_once_however_many_commands_it_is_of() -> None:
    class Order(BaseModel):
        amont: int

    worker = shop(Order)
    for name in ("pay", "undo"):

        async def handle(order: BaseModel) -> None: ...

        handle.__annotations__["order"] = Order
        worker.handler(f"shop.{name}")(handle)
    steps = Step("do", action="shop.do", compensation="shop.undo"), Step("pay", action="shop.pay")
    [mismatch] = found(saga(*steps, input=OPEN), worker)
    assert mismatch.text.startswith(
        "'shop.do', 'shop.undo' and 'shop.pay' do not fit their handlers' model: 'amont' is "
    )
    assert (mismatch.is_problem, mismatch.saga, mismatch.step, mismatch.command) == (True, "order", None, None)


def test_a_type_of_which_some_values_are_read_is_told_as_it_is() -> None:
    [text] = hints(saga(DO), shop(create_model("Order", order_id=int)))
    assert "'order_id' is string, of which not every value is read as integer; " in text


def test_a_field_that_may_be_missing_is_a_hint() -> None:
    class Noted(BaseModel):
        note: str

    [text] = hints(saga(DO), shop(Noted))
    assert "'note' may be missing" in text


def test_a_field_that_the_steps_condition_asks_for_is_there() -> None:
    class Noted(BaseModel):
        note: str

    assert found(saga(Step("do", action="shop.do", when="has(input.note)")), shop(Noted)) == []


def test_a_default_of_the_definition_is_sent() -> None:
    class Noted(BaseModel):
        note: str

    with_default = {**CLOSED, "properties": {**CLOSED["properties"], "note": {"type": "string", "default": "none"}}}
    assert found(saga(DO, input=with_default), shop(Noted)) == []


def test_an_input_model_and_a_handlers_model_are_compared_by_what_is_stored() -> None:
    class Stored(BaseModel):
        order_id: str = Field(alias="orderId")
        express: bool = False

    class Order(BaseModel):
        orderId: str  # noqa: N815
        express: bool

    assert found(saga(DO, input=Stored), shop(Order)) == []
    assert any("'order_id' is missing" in text for text in problems(saga(DO, input=Stored), shop(Strict)))


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")
    order_id: str


def test_a_model_that_forbids_what_is_sent_is_a_problem() -> None:
    [text] = problems(saga(DO), shop(Strict))
    assert "'amount' is not among the fields that are allowed" in text


@pytest.mark.parametrize(
    ("annotation", "said"),
    [
        (str, None),
        (list[str], "problem"),
        (dict[str, int], "problem"),
        (int, "hint"),
        (bool, "hint"),
        (Annotated[int, BeforeValidator(len)], None),
    ],
)
def test_a_type_that_no_text_is_read_as_is_a_problem_and_one_that_some_are_a_hint(
    annotation: Any, said: str | None
) -> None:
    order = create_model("Order", order_id=annotation)
    got = ["problem" if each.is_problem else "hint" for each in found(saga(DO), shop(order))]
    assert got == ([] if said is None else [said])


def test_a_value_that_may_be_null_is_a_hint() -> None:
    class Noted(BaseModel):
        note: str

    nullable = {"type": "object", "required": ["note"], "properties": {"note": {"type": ["string", "null"]}}}
    [text] = hints(saga(DO, input=nullable), shop(Noted))
    assert "'note' may be null, not string" in text


def test_a_choice_that_the_model_does_not_know_is_told() -> None:
    class Coloured(BaseModel):
        colour: Literal["red", "blue"]

    def of(*colours: str) -> DefinedSaga:
        schema = {"type": "object", "required": ["colour"], "properties": {"colour": {"enum": list(colours)}}}
        return saga(DO, input=schema)

    assert found(of("red"), shop(Coloured)) == []
    assert any(
        "may be 'green', which is none of: red, blue" in text for text in hints(of("red", "green"), shop(Coloured))
    )
    assert any("is 'green'" in text for text in problems(of("green"), shop(Coloured)))


class Charge(BaseModel):
    order: str
    amount: int


def test_a_mapping_is_all_that_is_sent() -> None:
    mapped = Step("do", action="shop.do", input={"order": "input.order_id"})
    [text] = problems(saga(mapped), shop(Charge))
    assert text.startswith("its action 'shop.do' does not fit its handler's model: 'amount' is missing")
    whole = Step("do", action="shop.do", input={"order": "input.order_id", "amount": "input.amount * 2"})
    assert found(saga(whole), shop(Charge)) == []


def test_an_expression_of_another_type_is_a_problem() -> None:
    mapped = Step("do", action="shop.do", input={"order": "input.amount + 1", "amount": "input.amount"})
    [text] = problems(saga(mapped), shop(Charge))
    assert "'order' is integer, not string" in text


def test_an_undo_is_sent_the_input_of_its_action() -> None:
    worker = shop()

    @worker.handler("shop.undo")
    async def undo(order: Renamed) -> None: ...

    [text] = problems(saga(Step("do", action="shop.do", compensation="shop.undo")), worker)
    assert text.startswith("its compensation 'shop.undo' does not fit its handler's model: 'orderId' is missing")


class Outputs(BaseModel):
    reserve: dict[str, Any]


class WithOutputs(BaseModel):
    outputs: Outputs


def test_outputs_of_steps_that_do_not_come_before_are_surely_missing() -> None:
    reserve = Step("reserve", action="shop.reserve")
    assert problems(saga(reserve, DO), shop(WithOutputs, reserve=anything)) == []
    [text] = problems(saga(DO, Step("reserve", action="shop.reserve")), shop(WithOutputs, reserve=anything))
    assert "'outputs.reserve' is missing" in text
    mapped = Step("do", action="shop.do", input={})
    assert "'outputs.reserve' is missing" in problems(saga(reserve, mapped), shop(WithOutputs, reserve=anything))[0]


def test_a_sign_of_life_that_comes_too_late_is_a_problem() -> None:
    worker = Worker("shop")
    worker.handler("shop.do", heartbeat=10)(anything)
    for allowed, count in (("10s", 1), ("11s", 0)):
        step = Step("do", action="shop.do", timeout="5m", heartbeat=allowed)
        assert len(problems(saga(step), worker)) == count


# What a handler returns


class Receipt(BaseModel):
    receipt_id: str


DECLARED = {"type": "object", "required": ["number"], "properties": {"number": {"type": "integer"}}}


@pytest.mark.parametrize(
    ("returns", "said"),
    [
        (Receipt, "'number' is missing; there: receipt_id"),
        (None, "'number' is missing"),
        (create_model("Number", number=list[int]), "'number' is array, not integer"),
    ],
)
def test_an_output_that_the_handler_does_not_return_is_a_problem(returns: Any, said: str) -> None:
    [text] = problems(saga(Step("do", action="shop.do", output=DECLARED)), shop(returns=returns))
    assert f"is declared with an 'output' that its handler does not return: {said}" in text


def test_a_text_is_no_number_of_an_output() -> None:
    do = Step("do", action="shop.do", output=DECLARED)
    assert "'number' is string, not integer" in problems(saga(do), shop(returns=create_model("Told", number=str)))[0]
    assert problems(saga(do), shop(returns=create_model("Counted", number=float))) == []


def test_what_an_output_has_a_default_for_need_not_be_returned() -> None:
    with_default = {**DECLARED, "properties": {"number": {"type": "integer", "default": 0}}}
    assert found(saga(Step("do", action="shop.do", output=with_default)), shop(returns=None)) == []


@pytest.mark.parametrize("returns", [dict[str, Any], dict[str, int]])
def test_nothing_is_said_of_a_result_that_is_not_typed(returns: Any) -> None:
    assert found(saga(Step("do", action="shop.do", output=DECLARED)), shop(returns=returns)) == []


def test_an_output_that_is_the_handlers_model_fits() -> None:
    class Aliased(BaseModel):
        receipt_id: str = Field(serialization_alias="receiptId")
        paid: bool = True

    assert found(saga(Step("do", action="shop.do", output=Aliased)), shop(returns=Aliased)) == []


def test_an_expression_that_no_handler_provides_for_is_a_hint() -> None:
    after = Step("send", action="shop.send", input={"receipt": "outputs.do.receiptt_id"})
    [text] = hints(saga(DO, after), shop(returns=Receipt, send=anything))
    assert "has no 'receiptt_id'; did you mean 'receipt_id'?" in text


# Where the definitions come from


def test_what_is_on_record_is_compared_like_what_is_in_a_file() -> None:
    spec = saga(DO, Step("send", action="shop.send", input={"receipt": "outputs.do.receiptt_id"}), input=OPEN)
    stored = saga_spec_from_document(spec.document)
    worker = shop(Renamed, returns=Receipt, send=anything)
    assert [each.text for each in found(stored, worker)] == [each.text for each in found(spec, worker)]


def test_problems_come_before_hints_and_name_their_place() -> None:
    spec = saga(DO, Step("gone", action="shop.gone"))
    first, *others = found(spec, shop(other=anything))
    assert first.is_problem
    assert not any(each.is_problem for each in others)
    assert str(first).startswith(f"{spec.place}: order: step 'gone': its action 'shop.gone' has no handler")
    assert str(replace(first, place="order.yaml:2")).startswith("order.yaml:2: order: step 'gone': its action")


def test_a_schema_that_is_none_tells_nothing() -> None:
    odd = HandlerDescription("shop.do", takes={"type": "object", "properties": 3}, returns={"required": "all"})
    assert compare([saga(DO)], [WorkerDescription("shop", (odd,))]) == []


def test_every_version_that_is_on_record_is_compared() -> None:
    new, old = saga(DO), saga(Step("do", action="shop.old"))
    [problem] = compare([new, old], [describe(shop())])
    assert problem.command == "shop.old"
