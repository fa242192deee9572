"""Whatever a handler does, the saga gets a reply that says so."""

from __future__ import annotations

import asyncio
import json
import math
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from pydantic import BaseModel, ConfigDict, Field, RootModel, field_serializer, field_validator
from structlog.testing import capture_logs

from saga_service.core.events import Replied
from saga_service.core.state import Fault
from saga_service.core.vocabulary import Direction, Outcome
from saga_service.definitions.schema.source import read_output_source
from saga_service.wire import replies as wire_replies
from saga_service.wire.commands import ReceivedCommand, read_command
from saga_service.wire.entries import Message
from saga_service.wire.replies import RETRY_AFTER_MS_MAX
from saga_service.worker import PostgresInbox, Rejected, Retryable, StepContext, Unknown, Worker
from saga_service.worker.execution import body_of, execute, failure, success, unknown_command
from saga_service.worker.registration import Handler
from tests.support.workers import command, command_entry, understood

REPLY_BYTES_MAX = 10_000


class Charge(BaseModel):
    amount: int = Field(gt=0)


class Charged(BaseModel):
    payment_id: str


async def carry_out(function: Any, asked_to_end: bool = False, **given: Any) -> Replied:
    """The saga's side of a handler that is called with such a command."""
    worker = Worker("payment")
    worker.handler("payment.charge")(function)
    entry = command_entry(**given)
    received = read_command(entry)
    context = StepContext(received, lambda _: None)
    handler = worker.handlers["payment.charge"]
    reply = await execute(handler, received, context, REPLY_BYTES_MAX, lambda _: asked_to_end)
    assert reply is not None
    replied = understood(reply)
    assert replied.command == received.name
    return replied


def failed(replied: Replied) -> Fault:
    assert replied.outcome is Outcome.FAILED
    assert replied.fault is not None
    return replied.fault


def rejected(replied: Replied) -> Fault:
    assert replied.outcome is Outcome.REJECTED
    assert replied.fault is not None
    return replied.fault


async def test_a_command_arrives_as_the_handlers_model_and_its_result_as_json() -> None:
    async def charge(charge: Charge, context: StepContext) -> Charged:
        return Charged(payment_id=f"{charge.amount} by {context.idempotency_key}")

    replied = await carry_out(charge, data={"amount": 7, "customer": "ada"})
    assert replied.outcome is Outcome.SUCCEEDED
    assert replied.output == {"payment_id": f"7 by {command().idempotency_key}"}


async def test_a_handler_that_asks_for_a_dict_gets_the_data_as_it_is() -> None:
    async def charge(data: dict[str, Any]) -> dict[str, Any]:
        return {"got": data}

    replied = await carry_out(charge, data={"amount": "7", "more": [1]}, outputs={"reserve": {"id": 1}})
    assert replied.output == {"got": {"amount": "7", "more": [1], "outputs": {"reserve": {"id": 1}}}}


class ReservationOfEarlier(BaseModel):
    reservation_id: str


class Earlier(BaseModel):
    reserve: ReservationOfEarlier


class WithOutputs(BaseModel):
    outputs: Earlier


class Receipt(BaseModel):
    receipt_id: str = Field(serialization_alias="receiptId")


async def test_a_result_is_written_by_the_names_by_which_an_output_is_declared() -> None:
    async def charge(charge: Charge) -> Receipt:
        return Receipt(receipt_id="R-1")

    replied = await carry_out(charge, data={"amount": 7})
    declared, _ = read_output_source(Receipt)
    assert declared is not None
    assert replied.output is not None
    assert replied.output == declared.read(replied.output) == {"receiptId": "R-1"}


async def test_a_model_reaches_the_results_of_earlier_steps_by_their_names() -> None:
    async def charge(charge: WithOutputs) -> dict[str, Any]:
        return {"for": charge.outputs.reserve.reservation_id}

    replied = await carry_out(charge, outputs={"reserve": {"reservation_id": "r-1"}})
    assert replied.output == {"for": "r-1"}


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    on: date


async def test_a_strict_model_reads_json_and_does_not_trip_over_the_outputs() -> None:
    async def charge(charge: Strict) -> dict[str, Any]:
        return {"on": charge.on}

    replied = await carry_out(charge, data={"on": "2026-01-31"}, outputs={"reserve": {}})
    assert replied.output == {"on": "2026-01-31"}


async def test_a_model_that_forbids_unknown_fields_has_its_way() -> None:
    async def charge(charge: Strict) -> None: ...

    fault = rejected(await carry_out(charge, data={"on": "2026-01-31", "tip": 1}))
    assert fault == Fault("invalid_command", "tip: Extra inputs are not permitted")


class Basket(BaseModel):
    amount: int
    items: list[Charge]


async def test_data_that_does_not_fit_is_rejected_by_field_without_values() -> None:
    async def charge(basket: Basket) -> None:
        raise AssertionError("not to be called")

    fault = rejected(await carry_out(charge, data={"amount": "secret", "items": [{"amount": 1}, {"amount": -4711}]}))
    assert fault.code == "invalid_command"
    assert fault.message == (
        "amount: Input should be a valid integer, unable to parse string as an integer; "
        "items.1.amount: Input should be greater than 0"
    )


async def test_a_probe_whose_data_does_not_fit_says_nothing_of_its_action() -> None:
    """A rejected probe means that the action did not happen, and nobody has looked."""

    async def find(charge: Charge) -> None:
        raise AssertionError("not to be called")

    fault = failed(await carry_out(find, data={}, direction=Direction.PROBE))
    assert fault == Fault("invalid_command", "amount: Field required")


async def test_a_long_list_of_wrong_fields_is_cut_short() -> None:
    async def charge(basket: Basket) -> None: ...

    fault = rejected(await carry_out(charge, data={"amount": 1, "items": [{}] * 30}))
    assert fault.message.endswith("items.9.amount: Field required; and 20 more")


async def test_nothing_returned_is_an_empty_result() -> None:
    async def charge(charge: Charge) -> None: ...

    assert (await carry_out(charge)).output == {}


async def test_a_mapping_may_hold_whatever_pydantic_can_write_as_json() -> None:
    async def charge(charge: Charge) -> Mapping[str, Any]:
        return {
            "at": datetime(2026, 1, 31, tzinfo=UTC),
            "price": Decimal("1.10"),
            "id": UUID(int=1),
            "nested": Charged(payment_id="p"),
            "tags": {"a"},
        }

    assert (await carry_out(charge)).output == {
        "at": "2026-01-31T00:00:00Z",
        "price": "1.10",
        "id": "00000000-0000-0000-0000-000000000001",
        "nested": {"payment_id": "p"},
        "tags": ["a"],
    }


async def test_a_rejection_is_sent_with_its_code_and_is_no_error_of_ours() -> None:
    async def charge(charge: Charge) -> None:
        raise Rejected("card_declined", "no cover")

    with capture_logs() as logs:
        assert rejected(await carry_out(charge)) == Fault("card_declined", "no cover")
    assert [line["log_level"] for line in logs] == ["info"]


@pytest.mark.parametrize(
    ("delay", "retry_after_ms"),
    [(None, None), (0, 0), (1.5, 1_500), (timedelta(minutes=2), 120_000), (timedelta(days=7), RETRY_AFTER_MS_MAX)],
)
async def test_a_retryable_failure_is_sent_with_the_wait_that_it_asks_for(
    delay: float | timedelta | None, retry_after_ms: int | None
) -> None:
    async def charge(charge: Charge) -> None:
        raise Retryable("closed", "the bank is closed", delay=delay)

    replied = await carry_out(charge)
    assert failed(replied) == Fault("closed", "the bank is closed")
    assert replied.retry_after_ms == retry_after_ms


SAYINGS: list[tuple[type[Rejected | Retryable | Unknown], Outcome]] = [
    (Rejected, Outcome.REJECTED),
    (Retryable, Outcome.FAILED),
    (Unknown, Outcome.UNKNOWN),
]


@pytest.mark.parametrize(("kind", "outcome"), SAYINGS)
@pytest.mark.parametrize(
    ("given", "named", "code", "message"),
    [
        (("busy",), {}, "busy", "the worker gave no reason"),
        (("busy", "the bank asks to wait"), {}, "busy", "the bank asks to wait"),
        (("the bank asks to wait",), {"code": "busy"}, "busy", "the bank asks to wait"),
        ((), {"code": "busy", "message": "the bank asks to wait"}, "busy", "the bank asks to wait"),
        (("the bank asks to wait",), {}, None, "the bank asks to wait"),
        ((), {}, None, "the worker gave no reason"),
    ],
)
async def test_what_a_handler_says_has_one_form(
    kind: Any, outcome: Outcome, given: tuple[Any, ...], named: dict[str, Any], code: str | None, message: str
) -> None:
    async def charge(charge: Charge) -> None:
        raise kind(*given, **named)

    replied = await carry_out(charge)
    assert (replied.outcome, replied.fault) == (outcome, Fault(code or kind.default_code, message))


class Unshowable:
    def __str__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize(("kind", "outcome"), SAYINGS)
async def test_what_is_given_wrongly_is_told_and_changes_no_outcome(kind: Any, outcome: Outcome) -> None:
    async def charge(charge: Charge) -> None:
        raise kind(404, None, "gone", Unshowable(), reason={"a": 1})

    replied = await carry_out(charge)
    assert replied.outcome is outcome
    assert replied.fault == Fault("404", "gone; a Unshowable that cannot be shown; reason={'a': 1}")


@pytest.mark.parametrize(
    ("delay", "retry_after_ms"),
    [(-1, 0), (timedelta(days=8), RETRY_AFTER_MS_MAX), (float("nan"), None), ("30", None), (True, None)],
)
async def test_a_wait_that_no_saga_keeps_is_the_nearest_that_it_keeps(delay: Any, retry_after_ms: int | None) -> None:
    async def charge(charge: Charge) -> None:
        raise Retryable("busy", delay=delay)

    replied = await carry_out(charge)
    assert (replied.fault, replied.retry_after_ms) == (Fault("busy", "the worker gave no reason"), retry_after_ms)


class Panic(BaseException):
    """What a library in Rust raises where it cannot go on."""


@pytest.mark.parametrize(
    "raised", [Panic("at lib.rs:7"), SystemExit(3), KeyboardInterrupt(), GeneratorExit(), asyncio.CancelledError()]
)
async def test_whatever_a_handler_raises_is_a_reply(raised: BaseException) -> None:
    async def charge(charge: Charge) -> None:
        raise raised

    assert failed(await carry_out(charge)).code == type(raised).__name__


async def test_a_panic_in_a_result_s_encoder_is_a_reply() -> None:
    class Result(BaseModel):
        value: int = 1

        @field_serializer("value")
        def panic(self, _: int) -> int:
            raise Panic

    async def charge(charge: Charge) -> Any:
        return Result()

    charge.__annotations__["return"] = Result

    assert failed(await carry_out(charge)).code == "invalid_result"


async def test_the_members_of_a_group_are_told() -> None:
    async def charge(charge: Charge) -> None:
        raise ExceptionGroup("two calls failed", [ValueError("no such card"), ExceptionGroup("more", [KeyError("x")])])

    assert failed(await carry_out(charge)) == Fault(
        "ExceptionGroup", "two calls failed (ValueError: no such card; ExceptionGroup: more (KeyError: 'x'))"
    )


async def test_an_unforeseen_exception_leaves_the_outcome_unknown_where_the_step_says_so() -> None:
    async def charge(charge: Charge) -> None:
        raise OSError("the link was lost")

    replied = await carry_out(charge, errors_are_unknown=True)
    assert (replied.outcome, replied.fault) == (Outcome.UNKNOWN, Fault("OSError", "the link was lost"))


async def test_a_result_that_cannot_be_sent_leaves_the_outcome_unknown_where_the_step_says_so() -> None:
    async def charge(charge: Charge) -> Any:
        return {"too long": "x" * REPLY_BYTES_MAX}

    charge.__annotations__["return"] = dict[str, Any]
    replied = await carry_out(charge, errors_are_unknown=True)
    assert replied.outcome is Outcome.UNKNOWN
    assert replied.fault is not None
    assert replied.fault.code == "invalid_result"


@pytest.mark.parametrize(("raised", "outcome"), [(Retryable("busy"), Outcome.FAILED), (Rejected(), Outcome.REJECTED)])
async def test_what_a_handler_says_counts_wherever_errors_are_unknown(raised: Exception, outcome: Outcome) -> None:
    async def charge(charge: Charge) -> None:
        raise raised

    assert (await carry_out(charge, errors_are_unknown=True)).outcome is outcome


async def test_data_that_breaks_the_model_s_own_code_has_had_no_effect() -> None:
    class Breaking(BaseModel):
        amount: int

        @field_validator("amount")
        @classmethod
        def check(cls, _: int) -> int:
            raise OSError("the validator's own trouble")

    async def charge(charge: Breaking) -> None: ...

    charge.__annotations__["charge"] = Breaking
    assert failed(await carry_out(charge, errors_are_unknown=True)).code == "OSError"


async def test_any_other_exception_is_a_failure_with_a_traceback() -> None:
    async def charge(charge: Charge) -> None:
        raise ConnectionRefusedError("bank:443")

    with capture_logs() as logs:
        assert failed(await carry_out(charge)) == Fault("ConnectionRefusedError", "bank:443")
    assert [(line["log_level"], line["command_id"]) for line in logs] == [("error", command().id)]
    assert isinstance(logs[0]["exc_info"], ConnectionRefusedError)


async def test_a_validation_error_inside_a_handler_is_a_failure() -> None:
    async def charge(charge: Charge) -> None:
        Charged.model_validate({"payment_id": 5})

    assert failed(await carry_out(charge)).code == "ValidationError"


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise RuntimeError


class Fussy(BaseModel):
    amount: int

    @field_validator("amount")
    @classmethod
    def _look(cls, amount: int) -> int:
        raise LookupError("the validator's own fault")


async def test_a_validator_that_breaks_is_a_failure() -> None:
    async def charge(charge: Fussy) -> None: ...

    assert failed(await carry_out(charge)) == Fault("LookupError", "the validator's own fault")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ValueError(), "ValueError"),
        (ValueError("a\x00b \ud83d"), "a\\x00b \\ud83d"),
        (ValueError("x" * 5_000), "x" * 1_999 + "…"),
        (Unspeakable(), "a Unspeakable that cannot be shown"),
    ],
)
async def test_any_exceptions_text_can_be_read_by_the_service(error: Exception, message: str) -> None:
    async def charge(charge: Charge) -> None:
        raise error

    assert failed(await carry_out(charge)).message == message


async def test_a_code_is_sent_in_a_form_that_the_service_can_read() -> None:
    async def charge(charge: Charge) -> None:
        raise Rejected("c\x00" + "d" * 500, "")

    assert rejected(await carry_out(charge)).code == ("c\\x00" + "d" * 500)[:199] + "…"


class Listing(RootModel[list[int]]):
    pass


class Unwritable(BaseModel):
    value: int = 1

    @field_serializer("value")
    def _write(self, value: int) -> int:
        raise LookupError("the serializer's own fault")


class Measured(BaseModel):
    value: float
    anything: Any = None


@dataclass
class Point:
    x: float


@dataclass(slots=True)
class SlottedPoint:
    x: Any


def _deep(levels: int) -> dict[str, Any]:
    return {"deeper": _deep(levels - 1)} if levels else {}


@pytest.mark.parametrize(
    ("result", "told"),
    [
        (5, "a result is a pydantic model, a mapping, or None, but is of type int"),
        ([1], "but is of type list"),
        (Listing([1]), "a result must be a JSON object, but Listing becomes another value"),
        ({"lock": asyncio.Lock}, "the result cannot be written as JSON"),
        (Unwritable(), "the serializer's own fault"),
        ({"number": 2**70}, "the result cannot be sent: field 'result' holds a number that would lose digits"),
        ({"price": math.nan}, "the result cannot be written as JSON: a number is not finite"),
        ({"list": [{"deep": (1.0, -math.inf)}]}, "a number is not finite"),
        ({"inner": Measured(value=math.nan)}, "a number is not finite"),
        (Measured(value=1.0, anything={"x": math.inf}), "a number is not finite"),
        (Measured(value=1.0, anything=Point(math.nan)), "a number is not finite"),
        ({"dataclass": Point(math.nan)}, "a number is not finite"),
        ({"dataclass": SlottedPoint(math.inf)}, "a number is not finite"),
        ({"dataclass": SlottedPoint(Measured(value=math.nan))}, "a number is not finite"),
        ({"set": {math.nan}}, "a number is not finite"),
        ({"queue": deque([Measured(value=math.nan)])}, "a number is not finite"),
        ({"generator": (x for x in [math.nan])}, "a number is not finite"),
        ({1: "a", "1": "b"}, "field 'result' holds an object with the same name twice"),
        ({"inner": [{True: 1, "true": 2}]}, "holds an object with the same name twice"),
        (Measured(value=1.0, anything={1: "a", "1": "b"}), "holds an object with the same name twice"),
        ({"text": "a\x00b"}, "the result cannot be sent: field 'result' holds a NUL character"),
        ({"text": "\ud83d"}, "surrogates not allowed"),
        (_deep(150), "nested more than 100 levels deep"),
        ({"text": "x" * REPLY_BYTES_MAX}, "and a reply may have 10000"),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_a_result_that_the_service_could_not_read_is_a_failure(result: Any, told: str) -> None:
    async def charge(charge: Charge) -> dict[str, Any]:
        return result  # type: ignore[no-any-return]  # that is the point

    fault = failed(await carry_out(charge))
    assert fault.code == "invalid_result"
    assert told in fault.message


async def test_what_has_a_form_of_its_own_in_json_is_written_in_it() -> None:
    async def charge(charge: Charge) -> dict[Any, Any]:
        return {1: Decimal("1.10"), "at": datetime(2026, 1, 2, tzinfo=UTC), "set": {1}, "none": None, "n": 2**64 - 1}

    output = (await carry_out(charge)).output
    assert output == {"1": "1.10", "at": "2026-01-02T00:00:00Z", "set": [1], "none": None, "n": 2**64 - 1}


async def test_nothing_that_is_sent_as_null_makes_a_good_result_an_invalid_one() -> None:
    async def charge(charge: Charge) -> dict[str, Any]:
        return {"none": None, "point": SlottedPoint(1.5), "deep": [deque([2.5]), {b"bytes"}]}

    output = (await carry_out(charge)).output
    assert output == {"none": None, "point": {"x": 1.5}, "deep": [[2.5], ["bytes"]]}


class InOneTransaction:
    """An inbox that calls transactional handlers, and records nothing."""

    async def carry_out(
        self, handler: Handler, command: ReceivedCommand, argument: object, context: StepContext, reply_bytes_max: int
    ) -> Message | None:
        connection: Any = "a stand-in"
        return success(command, await handler.call(argument, context, connection), reply_bytes_max)


@pytest.mark.parametrize(
    ("direction", "outcome"),
    [
        (Direction.ACTION, Outcome.FAILED),
        (Direction.COMPENSATION, Outcome.FAILED),
        (Direction.PROBE, Outcome.UNKNOWN),
    ],
)
async def test_a_transactional_handler_that_does_not_know_is_rolled_back_and_has_failed(
    direction: Direction, outcome: Outcome
) -> None:
    replied = await carry_out_in_a_transaction(Unknown("no_answer"), direction)
    assert (replied.outcome, replied.fault) == (outcome, Fault("no_answer", "the worker gave no reason"))


async def test_an_unforeseen_exception_of_a_transactional_handler_leaves_nothing_unknown() -> None:
    replied = await carry_out_in_a_transaction(LookupError("gone"), Direction.ACTION)
    assert (replied.outcome, replied.fault) == (Outcome.FAILED, Fault("LookupError", "gone"))


async def carry_out_in_a_transaction(raised: Exception, direction: Direction) -> Replied:
    worker = Worker("payment", inbox=PostgresInbox("postgresql://nowhere.invalid/"))

    @worker.handler("payment.charge")
    async def charge(data: dict[str, Any], connection: asyncpg.Connection) -> None:
        raise raised

    received = read_command(command_entry(errors_are_unknown=True, direction=direction))
    context, handler = StepContext(received, lambda _: None), worker.handlers["payment.charge"]
    reply = await execute(handler, received, context, REPLY_BYTES_MAX, exactly_once=InOneTransaction())
    assert reply is not None
    return understood(reply)


async def test_being_cancelled_is_no_failure() -> None:
    begun = asyncio.Event()

    async def charge(charge: Charge) -> None:
        begun.set()
        await asyncio.Event().wait()

    carrying_out = asyncio.create_task(carry_out(charge, asked_to_end=True))
    await begun.wait()
    carrying_out.cancel()
    with pytest.raises(asyncio.CancelledError):
        await carrying_out


async def test_waiting_for_something_that_was_cancelled_is_a_failure() -> None:
    async def charge(charge: Charge) -> None:
        other = asyncio.ensure_future(asyncio.Event().wait())
        other.cancel()
        await other

    assert failed(await carry_out(charge)).code == "CancelledError"


async def test_a_cancellation_left_on_the_task_does_not_swallow_the_reply() -> None:
    async def charge(charge: Charge) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()  # and never `uncancel`, as older libraries have it for their own time-outs
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        assert task.cancelling() == 1
        other = asyncio.ensure_future(asyncio.Event().wait())
        other.cancel()
        await other

    assert failed(await carry_out(charge)).code == "CancelledError"


async def test_a_time_limit_inside_a_handler_is_a_failure() -> None:
    async def charge(charge: Charge) -> None:
        async with asyncio.timeout(0):
            await asyncio.Event().wait()

    assert failed(await carry_out(charge)).code == "TimeoutError"


def test_an_unknown_command_is_failed_since_another_replica_may_know_it() -> None:
    fault = failed(
        understood(unknown_command(command(command_type="payment.guess"), ["payment.refund", "payment.charge"]))
    )
    assert fault == Fault(
        "unknown_command",
        "this worker has no handler for 'payment.guess'; it knows: payment.charge, payment.refund",
    )


def test_a_reply_is_json_that_any_language_can_read() -> None:
    reply = unknown_command(command(), [])
    fields = dict(zip(reply.fields[::2], reply.fields[1::2], strict=True))
    assert json.loads(fields["error"])["code"] == "unknown_command"
    assert fields["saga_id"] == command().saga_id


async def test_the_wire_alone_says_how_long_an_errors_text_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire_replies, "ERROR_CODE_CHARACTERS_MAX", 5)
    monkeypatch.setattr(wire_replies, "ERROR_MESSAGE_CHARACTERS_MAX", 10)
    reply = failure(command(), Outcome.FAILED, "a_long_code", "a message that is too long")
    assert json.loads(body_of(reply)) == {"code": "a_lo…", "message": "a message…"}


async def test_a_handler_is_called_in_one_place(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[object] = []

    async def call(handler: Handler, argument: object, context: StepContext, connection: object = None) -> None:
        called.append(argument)

    async def charge(data: dict[str, Any]) -> None:
        raise AssertionError("called past Handler.call")

    monkeypatch.setattr(Handler, "call", call)
    assert (await carry_out(charge)).outcome is Outcome.SUCCEEDED
    assert called == [command().data]
