"""A handler that cannot work is found when it is registered, and its author is told what to write."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Never, TypedDict

import pytest
from asyncpg import Connection
from pydantic import BaseModel, ConfigDict

from saga_service.worker import PostgresInbox, StepContext, Worker, WrongHandler


class Charge(BaseModel):
    amount: int


class Charged(BaseModel):
    payment_id: str


class ChargedAsDict(TypedDict):
    payment_id: str


class Unfinished(BaseModel):
    parts: list["NowhereDefined"]  # type: ignore[name-defined]  # noqa: F821, UP037  # that is the point


@pytest.fixture
def worker() -> Worker:
    return Worker("payment")


async def model_and_context(command: Charge, context: StepContext) -> Charged:
    return Charged(payment_id="p")


async def model_alone(command: Charge) -> Charged:
    return Charged(payment_id="p")


async def plain_dict(command: dict[str, Any]) -> dict[str, Any]:
    return command


async def mapping_and_nothing(command: Mapping[str, Any], context: StepContext) -> None:
    return None


async def one_of_several(command: Charge) -> Charged | ChargedAsDict | None:
    return None


async def always_refuses(command: Charge) -> Never:
    raise AssertionError


async def with_a_default_of_its_own(command: Charge, context: StepContext, pool: object = None) -> None:
    return None


async def transactional(command: Charge, context: StepContext, connection: Connection) -> Charged:
    return Charged(payment_id="p")


async def transactional_without_context(command: Charge, connection: Connection) -> None:
    return None


async def connection_before_context(command: Charge, connection: Connection, context: StepContext) -> None: ...


class Bank:
    async def charge(self, command: Charge, context: StepContext) -> Charged:
        return Charged(payment_id="p")


@pytest.mark.parametrize(
    ("function", "takes_context"),
    [
        (model_and_context, True),
        (model_alone, False),
        (plain_dict, False),
        (mapping_and_nothing, True),
        (one_of_several, False),
        (always_refuses, False),
        (with_a_default_of_its_own, True),
        (partial(with_a_default_of_its_own, pool=object()), True),
        (Bank().charge, True),
    ],
)
def test_every_shape_that_is_promised_can_be_registered(worker: Worker, function: Any, takes_context: bool) -> None:
    assert worker.handler("payment.charge")(function) is function
    assert worker.handlers["payment.charge"].takes_context is takes_context


def not_async(command: Charge) -> Charged:
    return Charged(payment_id="p")


async def no_parameters() -> None: ...


async def no_annotation(command) -> None: ...  # type: ignore[no-untyped-def]


async def wrong_annotation(command: int) -> None: ...


async def dict_of_something(command: dict[str, int]) -> None: ...


async def second_is_no_context(command: Charge, context: Charge) -> None: ...


async def second_has_no_annotation(command: Charge, context) -> None: ...  # type: ignore[no-untyped-def]


async def three_parameters(command: Charge, context: StepContext, pool: object) -> None: ...


async def keyword_context(command: Charge, *, context: StepContext) -> None: ...


async def no_result_annotation(command: Charge): ...  # type: ignore[no-untyped-def]


async def wrong_result(command: Charge) -> list[str]:
    return []


async def partly_wrong_result(command: Charge) -> Charged | str:
    return ""


async def unknown_name(command: "Nowhere") -> None: ...  # type: ignore[name-defined]  # noqa: F821, UP037  # the point


async def unfinished_model(command: Unfinished) -> None: ...


@pytest.mark.parametrize(
    ("function", "told"),
    [
        (not_async, "handler 'not_async' of 'payment.charge' is not async; write: async def not_async(command: "),
        (5, "is not a function"),
        (no_parameters, "takes no command"),
        (no_annotation, "parameter 'command' has no annotation; write a pydantic model, or dict[str, Any]"),
        (wrong_annotation, "parameter 'command' is annotated int; write a pydantic model"),
        (dict_of_something, "parameter 'command' is annotated dict[str, int]; write a pydantic model"),
        (second_is_no_context, "parameter 'context' is annotated Charge; the second parameter is a StepContext"),
        (second_has_no_annotation, "parameter 'context' has no annotation; the second parameter is a StepContext"),
        (three_parameters, "'pool' would get no value"),
        (keyword_context, "parameter 'context' must be a plain one"),
        (no_result_annotation, "does not say what it returns; write '-> YourResult'"),
        (wrong_result, "returns list[str]; a result is a pydantic model, a mapping, or None"),
        (partly_wrong_result, "returns str; a result is"),
        (unknown_name, "an annotation names something unknown (name 'Nowhere' is not defined)"),
        (unfinished_model, "the model Unfinished cannot be used"),
    ],
)
def test_what_cannot_work_is_told_at_once_with_what_to_write(worker: Worker, function: Any, told: str) -> None:
    with pytest.raises(WrongHandler) as raised:
        worker.handler("payment.charge")(function)
    assert told in str(raised.value)
    assert "\n" not in str(raised.value)
    assert not worker.handlers


def test_one_command_type_has_one_handler(worker: Worker) -> None:
    worker.handler("payment.charge")(model_alone)
    with pytest.raises(WrongHandler, match=r"'payment\.charge' has a handler already, 'model_alone'"):
        worker.handler("payment.charge")(plain_dict)
    assert worker.handlers["payment.charge"].function is model_alone


@pytest.mark.parametrize("command_type", ["inventory.reserve", "payment", "payment.", "paymentx.charge", ""])
def test_a_worker_has_the_commands_of_its_own_service_alone(worker: Worker, command_type: str) -> None:
    with pytest.raises(WrongHandler, match=r"is not a command of service 'payment'; its types are written 'payment\."):
        worker.handler(command_type)


@pytest.mark.parametrize("service", ["", "pay.ment", "pay:ment", "pay ment", "-payment"])
def test_a_service_whose_stream_could_not_be_named_is_refused(service: str) -> None:
    with pytest.raises(ValueError, match="a service's name is made of letters"):
        Worker(service)


def test_a_worker_that_could_do_nothing_at_once_is_refused() -> None:
    with pytest.raises(ValueError, match="the concurrency of worker 'payment' must be at least 1"):
        Worker("payment", concurrency=0)


def test_the_group_is_the_services_name_unless_another_is_given() -> None:
    assert Worker("payment").group == "payment"
    assert Worker("payment", group="payment-eu").group == "payment-eu"


def test_handlers_are_added_by_registration_alone(worker: Worker) -> None:
    with pytest.raises(TypeError):
        worker.handlers["payment.charge"] = None  # type: ignore[index]  # that is the point


def test_a_model_that_forbids_what_it_does_not_know_can_be_registered(worker: Worker) -> None:
    class Strict(BaseModel):
        model_config = ConfigDict(extra="forbid")
        amount: int

    async def charge(command: Strict) -> None: ...

    charge.__annotations__["command"] = Strict
    worker.handler("payment.charge")(charge)
    assert worker.handlers["payment.charge"].forbids_outputs


@pytest.fixture
def with_inbox() -> Worker:
    return Worker("payment", inbox=PostgresInbox("postgresql://nowhere.invalid/ledger"))


@pytest.mark.parametrize(
    ("function", "takes"), [(transactional, (True, True)), (transactional_without_context, (False, True))]
)
def test_a_handler_that_takes_a_connection_is_transactional(
    with_inbox: Worker, function: Any, takes: tuple[bool, bool]
) -> None:
    with_inbox.handler("payment.charge")(function)
    handler = with_inbox.handlers["payment.charge"]
    assert (handler.takes_context, handler.takes_connection) == takes


def test_the_connection_comes_last(with_inbox: Worker) -> None:
    with pytest.raises(WrongHandler, match="in this order; 'context' would get no value"):
        with_inbox.handler("payment.charge")(connection_before_context)


def test_a_connection_without_an_inbox_is_told_at_once(worker: Worker) -> None:
    with pytest.raises(WrongHandler, match=r"takes a connection, and that needs an inbox; write Worker\("):
        worker.handler("payment.charge")(transactional)


def test_an_undo_that_relies_on_the_inbox_needs_one(worker: Worker) -> None:
    with pytest.raises(WrongHandler, match="has 'undoes', and that needs an inbox"):
        worker.handler("payment.refund", undoes="payment.charge")(model_alone)


def test_probes_are_answered_from_an_inbox_alone(worker: Worker) -> None:
    with pytest.raises(WrongHandler, match="can be answered by an inbox alone"):
        worker.answer_probes("payment.find_charge", of="payment.charge")


@pytest.mark.parametrize("kind", ["undo", "probe"])
def test_an_action_without_a_handler_here_is_refused(with_inbox: Worker, kind: str) -> None:
    if kind == "undo":
        with_inbox.handler("payment.refund", undoes="payment.charge")(model_alone)
    else:
        with_inbox.answer_probes("payment.find_charge", of="payment.charge")
    with pytest.raises(WrongHandler, match=r"'payment\.charge', for which worker 'payment' has no handler"):
        with_inbox.check()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"rate": "often"}, "a rate is written '50/s', '20/m' or '100/h', but is 'often'"),
        ({"rate": "0/s"}, "a rate is written"),
        ({"concurrency": 0}, "its concurrency must be at least 1, but is 0"),
        ({"heartbeat": 0}, "its heartbeat must be at least 0.1, but is 0"),
        ({"heartbeat": float("nan")}, "its heartbeat must be at least 0.1, but is nan"),
    ],
)
def test_an_option_that_cannot_work_is_refused_at_once(worker: Worker, options: dict[str, Any], told: str) -> None:
    with pytest.raises(WrongHandler) as raised:
        worker.handler("payment.charge", **options)(model_alone)
    assert told in str(raised.value)


WRONG_USES: list[tuple[Callable[[Any], object], str]] = [
    (lambda worker: worker.handler(charge), r"'charge' stands where .* write @worker\.handler\(\"payment\.charge\"\)"),
    (lambda worker: worker.handler(7), r"a command type is a text, but is 7; write @worker\.handler\("),
    (lambda worker: worker.handler("payment.a", undoes=charge), r"write @worker\.handler\(\"payment\.a\", undoes="),
    (lambda worker: worker.handler("payment.a", undoes="shop.a"), "'shop.a' is not a command of service 'payment'"),
    (
        lambda worker: worker.handler("payment.a", heartbeat="5s"),
        "its heartbeat must be a number of seconds, but is '5s'",
    ),
    (lambda worker: worker.handler("payment.a", concurrency=2.5), "its concurrency must be a whole number, but is 2.5"),
    (lambda worker: worker.handler("payment.a", concurrency=True), "its concurrency must be a whole number"),
    (lambda worker: worker.handler("payment.a", rate=5), "a rate is written '50/s'"),
    (lambda worker: worker.answer_probes(charge, of="payment.charge"), r"write worker\.answer_probes\("),
    (lambda worker: worker.answer_probes("payment.find", of=charge), r"write worker\.answer_probes\("),
]


async def charge(data: dict[str, Any]) -> None: ...


@pytest.mark.parametrize(("use", "told"), WRONG_USES)
def test_a_wrong_use_is_told_with_what_to_write(use: Callable[[Worker], object], told: str) -> None:
    with pytest.raises(WrongHandler, match=told):
        use(Worker("payment"))


@pytest.mark.parametrize(
    ("service", "options", "told"),
    [
        (charge, {}, "a service's name is made of letters"),
        ("payment", {"group": ""}, "the group of worker 'payment' must be a name"),
        ("payment", {"concurrency": "4"}, "must be at least 1, but is '4'"),
        ("payment", {"inbox": "postgresql://"}, "must be a PostgresInbox"),
    ],
)
def test_a_worker_that_is_made_wrongly_says_how(service: Any, options: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        Worker(service, **options)
