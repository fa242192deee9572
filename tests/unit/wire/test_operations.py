"""Entries that ask something of a saga: which verb, of which saga, by whom, and what goes with it."""

from __future__ import annotations

from typing import Any

import pytest

from saga_service.core.events import BusinessKey, Event, OperationRequested
from saga_service.core.ids import CommandName, command_id, saga_id_from_key
from saga_service.core.vocabulary import Direction, Operation, Resolution
from saga_service.wire.entries import Malformed
from saga_service.wire.events import read_event
from saga_service.wire.fields import TEXT_CHARACTERS_MAX
from saga_service.wire.operations import ACTOR_DEFAULT
from saga_service.wire.transport import REQUESTS
from tests.support.builders import SAGA_ID, PlainBlueprint, PlainCatalog, definition, entry

CATALOG = PlainCatalog(PlainBlueprint(definition("reserve")))


def read(stream: str = "saga:events", **fields: Any) -> Event:  # Any: text or bytes
    return read_event(entry({"type": "saga.pause", "saga_id": SAGA_ID, **fields}, stream), CATALOG)


def asked(operation: Operation = Operation.PAUSE, **more: Any) -> OperationRequested:  # Any: the event's own fields
    return OperationRequested(**{"saga_id": SAGA_ID, "operation": operation, "actor": ACTOR_DEFAULT, **more})


@pytest.mark.parametrize("operation", [operation for operation in Operation if operation is not Operation.RESOLVE])
@pytest.mark.parametrize("stream", ["saga:events", REQUESTS])
def test_each_verb_is_read_alike_from_the_stream_and_from_sql(operation: Operation, stream: str) -> None:
    event = read(stream, type=f"saga.{operation}", actor="anna", reason="why not", step="charge")
    assert event == asked(operation, actor="anna", reason="why not", step="charge")


@pytest.mark.parametrize("resolution", list(Resolution))
def test_a_resolution_says_what_was_found(resolution: Resolution) -> None:
    event = read(type="saga.resolve", resolution=resolution.value, data='{"receipt": "R-1"}')
    assert event == asked(Operation.RESOLVE, resolution=resolution, output={"receipt": "R-1"})


def test_what_is_left_out_has_a_default() -> None:
    assert read() == asked()
    assert read(actor="", reason="", step="") == asked()


def test_a_saga_is_named_by_its_business_key_as_well() -> None:
    event = read_event(entry({"type": "saga.pause", "saga": "order", "subject": "A-17"}), CATALOG)
    assert event == asked(saga_id=saga_id_from_key("order", "A-17"), by_key=BusinessKey("order", "A-17"))


def test_a_parent_names_the_command_that_is_to_be_answered() -> None:
    command = CommandName(SAGA_ID, "trip", Direction.COMPENSATION, 1)
    event = read(type="saga.compensate", saga="trip-booking", command_id=command_id(*command))
    assert event == asked(Operation.COMPENSATE, answers=command, child="trip-booking")


def test_texts_of_any_length_are_kept_in_part() -> None:
    long = "ä" * (TEXT_CHARACTERS_MAX + 1)
    event = read(actor=long, reason=long)
    assert event == asked(actor=long[:-1], reason=long[:-1])


@pytest.mark.parametrize(("given", "kept"), [(b"\xff", "\\xff"), ("a\0b", "a\\x00b"), (b"a\xc3", "a\\xc3")], ids=ascii)
def test_an_operation_counts_whatever_its_texts_for_people_hold(given: bytes | str, kept: str) -> None:
    assert read(actor=given, reason=given) == asked(actor=kept, reason=kept)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"type": "saga.explode"}, "the type 'saga.explode' is not known"),
        ({"type": "saga."}, "types that begin with 'saga.': saga.retry, saga.skip, saga.resolve"),
        ({"type": "saga.Cancel"}, "the type 'saga.Cancel' is not known"),
        ({"saga_id": "A-17"}, "field 'saga_id' must be a UUID"),
        ({"saga_id": ""}, "the entry names no saga"),
        ({"saga_id": "", "subject": "A-17"}, "the entry names no saga"),
        ({"type": "saga.resolve"}, "field 'resolution' is missing or empty"),
        ({"type": "saga.resolve", "resolution": "undone"}, "must be one of succeeded, failed, compensated"),
        ({"data": "[]"}, "field 'data' must be a JSON object"),
        ({"data": '{"a": "\\u0000"}'}, "holds a NUL character"),
        ({"command_id": "nonsense"}, "field 'command_id' is not the id of a command"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else None,
)
def test_what_cannot_be_read_is_malformed_with_what_is_wrong(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(Malformed) as refused:
        read(**fields)
    assert said in str(refused.value)
