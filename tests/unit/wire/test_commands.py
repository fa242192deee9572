"""Commands as workers in any language find them."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from saga_service.core.ids import CommandName, service_of
from saga_service.core.vocabulary import Direction, OnError, OnUnknown
from saga_service.wire.commands import ReceivedCommand, read_command, write_command
from saga_service.wire.entries import Entry, Malformed
from saga_service.wire.json import NESTING_MAX, read_object
from saga_service.wire.transport import StreamNames
from tests.support.builders import (
    COMPENSATION_TIMEOUT_MS,
    SAGA_ID,
    START_MS,
    SagaInMemory,
    definition,
    delivered,
    entry,
    running,
    step,
)

NAMES = StreamNames("test:")

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def _undo() -> SagaInMemory:
    saga = running("reserve", "charge")
    saga.succeed("reserve", {"place": "A4"})
    saga.reject("charge")
    return saga


def _written() -> dict[bytes, bytes]:
    return dict(delivered(write_command(_undo().sent[-1]._replace(traceparent=TRACE), NAMES)).fields)


def test_a_command_says_all_that_the_contract_names() -> None:
    message = write_command(_undo().sent[-1]._replace(traceparent=TRACE), NAMES)
    assert message.stream == "test:commands:service"
    fields = dict(zip(message.fields[::2], message.fields[1::2], strict=True))
    assert json.loads(fields.pop("data")) == {"amount": 5, "outputs": {"reserve": {"place": "A4"}}}
    assert fields == {
        "v": "1",
        "id": f"{SAGA_ID}:reserve:compensation:1",
        "type": "service.undo-reserve",
        "saga_id": SAGA_ID,
        "saga": "order",
        "step": "reserve",
        "direction": "compensation",
        "attempt": "1",
        "idempotency_key": f"{SAGA_ID}:reserve:compensation",
        "deadline": str(START_MS + COMPENSATION_TIMEOUT_MS),
        "reply_to": "test:replies",
        "traceparent": TRACE,
    }


def test_a_command_is_read_as_it_was_written() -> None:
    command = _undo().sent[-1]._replace(traceparent=TRACE)
    received = read_command(delivered(write_command(command, NAMES)))
    assert received == ReceivedCommand(
        id=command.id,
        name=CommandName(SAGA_ID, "reserve", Direction.COMPENSATION, 1),
        type="service.undo-reserve",
        saga_id=SAGA_ID,
        saga="order",
        idempotency_key=command.idempotency_key,
        deadline_ms=command.deadline_ms,
        reply_to="test:replies",
        data={"amount": 5, "outputs": {"reserve": {"place": "A4"}}},
        traceparent=TRACE,
    )
    assert (received.step, received.direction, received.attempt) == ("reserve", Direction.COMPENSATION, 1)


def test_data_of_the_deepest_nesting_can_be_read_by_the_next_worker() -> None:
    """Both are wrapped in levels of ours on the way: the limit of what we send is not that of what we take."""
    deepest = read_object(b'{"a":' * NESTING_MAX + b"1" + b"}" * NESTING_MAX, "data")
    saga = running("reserve", "charge")
    saga.succeed("reserve", deepest)
    received = read_command(delivered(write_command(saga.sent[-1], NAMES)))
    assert received.data["outputs"] == {"reserve": deepest}


def test_the_results_of_earlier_steps_go_before_an_input_of_the_same_name() -> None:
    saga = SagaInMemory(definition("reserve"))
    saga.start({"outputs": "mine"})
    assert read_command(delivered(write_command(saga.sent[0], NAMES))).data == {"outputs": {}}


@pytest.mark.parametrize(
    ("command_type", "service"), [("payment.charge", "payment"), ("payment.card.charge", "payment"), ("pay", "pay")]
)
def test_the_service_is_what_stands_before_the_first_dot(command_type: str, service: str) -> None:
    assert service_of(command_type) == service


@pytest.mark.parametrize("name", ["id", "type", "saga", "idempotency_key", "deadline", "reply_to"])
def test_what_is_missing_is_named(name: str) -> None:
    fields = _written()
    del fields[name.encode()]
    with pytest.raises(Malformed, match=rf"^field '{name}' is missing or empty$"):
        read_command(Entry("s", "1-0", fields))


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        ("id", b"charge", "field 'id' is not the id of a command: 'charge'"),
        ("deadline", b"soon", "field 'deadline' must be whole milliseconds since 1970, but is 'soon'"),
        ("deadline", b"-1", "field 'deadline' must be whole milliseconds since 1970, but is '-1'"),
        ("deadline", "²".encode(), "field 'deadline' must be whole milliseconds since 1970, but is '²'"),
        ("deadline", b"9" * 5_000, "field 'deadline' must be whole milliseconds since 1970, but is '999"),
        ("deadline", b"253402300800000", "field 'deadline' must be whole milliseconds since 1970, but is '253"),
        ("data", b"{", "field 'data' is not valid JSON"),
        ("data", b"[]", "field 'data' must be a JSON object"),
        ("data", b'{"a":' * 10_000, "depth limit exceeded"),
        ("type", b"\xff", "field 'type' is not valid UTF-8"),
    ],
)
def test_what_cannot_be_read_says_why(name: str, value: bytes, complaint: str) -> None:
    fields = _written() | {name.encode(): value}
    with pytest.raises(Malformed) as raised:
        read_command(Entry("s", "1-0", fields))
    assert complaint in str(raised.value)


def test_a_command_without_data_has_none() -> None:
    fields = _written() | {b"data": b""}
    assert read_command(entry(fields)).data == {}


@pytest.mark.parametrize("on_error", list(OnError))
def test_an_action_says_that_its_handler_s_unforeseen_exceptions_leave_it_unknown(on_error: OnError) -> None:
    saga = running(replace(definition("charge").steps[0], on_error=on_error))
    saga.fail("charge")
    saga.timer_when_due()
    written = delivered(write_command(saga.sent[-1], NAMES))
    assert written.fields.get(b"on_error") == (b"unknown" if on_error is OnError.UNKNOWN else None)
    assert read_command(written).errors_are_unknown is (on_error is OnError.UNKNOWN)


def test_undos_and_probes_are_sent_again_anyway_and_say_nothing_of_exceptions() -> None:
    saga = running(
        replace(step("reserve", on_unknown=OnUnknown.PROBE), on_error=OnError.UNKNOWN),
        replace(step("charge"), on_error=OnError.UNKNOWN),
    )
    saga.timer_when_due()
    saga.it_happened("reserve")
    saga.reject("charge")
    written = {sent.direction: delivered(write_command(sent, NAMES)) for sent in saga.sent}
    assert [direction for direction, sent in written.items() if b"on_error" in sent.fields] == [Direction.ACTION]
    assert written.keys() == set(Direction)
