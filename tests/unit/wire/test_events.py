"""Entries that start sagas: the envelope, other people's flat fields, and which saga they name."""

from __future__ import annotations

import pytest

from saga_service.core.events import Started
from saga_service.core.ids import saga_id_from_entry, saga_id_from_event, saga_id_from_key
from saga_service.wire.entries import Entry, Malformed
from saga_service.wire.events import read_event, read_trigger, write_event
from saga_service.wire.saga_spec import KEY_CHARACTERS_MAX
from saga_service.wire.transport import REQUESTS
from tests.support.builders import PlainBlueprint, PlainCatalog, definition, delivered, entry

SAGA_ID = "0192f0c1-2345-8abc-9def-0123456789ab"
CATALOG = PlainCatalog(PlainBlueprint(definition("reserve"), integers=["amount"], key_field="order_no"))


def _read(**fields: bytes | str) -> Started:
    envelope: dict[str, bytes | str] = {"type": "order", **fields}
    return _started(entry(envelope))


def _started(given: Entry) -> Started:
    event = read_event(given, CATALOG)
    assert isinstance(event, Started)
    return event


def _complaint(**fields: bytes | str) -> str:
    with pytest.raises(Malformed) as raised:
        _read(**fields)
    return str(raised.value)


def test_an_entry_with_nothing_but_a_type_starts_a_saga_without_input() -> None:
    assert _read() == Started(saga_id_from_entry("order", "saga:events", "1700-0"), "order", "v1", None, {}, None)


def test_every_field_of_the_envelope_finds_its_place() -> None:
    its_own = saga_id_from_key("order", "order-7")
    event = _read(
        id="e-1",
        subject="order-7",
        saga_id=its_own,
        traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        actor="ada",
        data='{"amount": 5}',
    )
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    assert event == Started(its_own, "order", "v1", "order-7", {"amount": 5}, trace, actor="ada")


def test_an_actor_that_is_no_text_or_too_long_costs_no_start() -> None:
    assert _read(actor=b"ad\xffa").actor == "ad\\xffa"
    assert _read(actor="a" * 2_000).actor == "a" * 1_000
    assert _read(actor="").actor is None


def test_a_saga_without_a_key_has_the_id_that_its_producer_gives_it() -> None:
    assert _read(saga_id=SAGA_ID).saga_id == SAGA_ID


def test_a_key_has_one_saga_so_another_id_beside_it_is_refused() -> None:
    with pytest.raises(Malformed, match="with the key 'order-7' has the id"):
        _read(subject="order-7", saga_id=SAGA_ID)


def test_a_start_by_sql_without_a_key_has_the_id_that_its_caller_was_given() -> None:
    fields = {"type": "order", "saga_id": SAGA_ID}
    assert read_event(entry(fields, REQUESTS), CATALOG).saga_id == SAGA_ID


def test_a_start_by_sql_whose_key_is_another_by_the_deployed_definition_is_refused() -> None:
    """Or one key would have two sagas."""
    fields = {"type": "order", "subject": "order-7", "saga_id": SAGA_ID}
    with pytest.raises(Malformed, match=r"with the key .order-7. has the id .*; start it again"):
        read_event(entry(fields, REQUESTS), CATALOG)


def test_fields_that_nobody_knows_are_passed_over() -> None:
    assert _read(source="shop", time=b"\xff", datacontenttype="application/json").input == {}


def test_what_is_written_is_read() -> None:
    message = write_event("saga:events", "order", {"amount": 5}, event_id="e-1", key="order-7")
    event = _started(delivered(message))
    assert (event.key, event.input) == ("order-7", {"amount": 5})
    unnamed = write_event("saga:events", "order", {}, event_id="e-1")
    assert read_event(delivered(unnamed), CATALOG).saga_id == saga_id_from_event("order", "e-1")


def test_the_same_entry_starts_the_same_saga_and_another_entry_another() -> None:
    first, again, other = (
        read_event(entry({"type": "order"}, entry_id=given), CATALOG) for given in ("1-0", "1-0", "1-1")
    )
    assert first.saga_id == again.saga_id != other.saga_id


def test_the_same_event_id_starts_the_same_saga_from_any_entry() -> None:
    first = read_event(entry({"type": "order", "id": "e-1"}, entry_id="1-0"), CATALOG)
    second = read_event(entry({"type": "order", "id": "e-1", "data": '{"amount": 9}'}, entry_id="2-0"), CATALOG)
    assert first.saga_id == second.saga_id == saga_id_from_event("order", "e-1")


def test_a_business_key_goes_before_the_event_id() -> None:
    by_subject = _read(subject="order-7", id="e-1")
    by_input = _read(data='{"order_no": "order-7"}', id="e-2")
    assert by_subject.saga_id == by_input.saga_id == saga_id_from_key("order", "order-7")
    assert by_subject.key == by_input.key == "order-7"


def test_the_subject_goes_before_the_key_in_the_input() -> None:
    assert _read(subject="a", data='{"order_no": "b"}').key == "a"


def test_a_given_saga_id_is_taken_in_lower_case() -> None:
    assert _read(saga_id=SAGA_ID.upper()).saga_id == SAGA_ID


@pytest.mark.parametrize("given", ["order-1", SAGA_ID + "\n", SAGA_ID.replace("-", ""), "x" * 5_000])
def test_a_given_saga_id_must_be_a_uuid(given: str) -> None:
    assert _complaint(saga_id=given) == f"field 'saga_id' must be a UUID, but is '{given[:100]}'"


def test_an_entry_without_fields_has_no_type() -> None:
    with pytest.raises(Malformed, match=r"^field 'type' is missing or empty$"):
        read_event(Entry("saga:events", "1-0", {}), CATALOG)


def test_an_unknown_type_is_told_the_known_ones() -> None:
    complaint = (
        "no saga is started by an event of type 'ordr', and none waits for a signal of that name; known types: order"
    )
    with pytest.raises(Malformed, match=f"^{complaint}$"):
        read_event(entry({"type": "ordr"}), CATALOG)


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"{", "field 'data' is not valid JSON"),
        (b"not json", "field 'data' is not valid JSON"),
        (b"[1]", "field 'data' must be a JSON object, but is an array"),
        (b"null", "field 'data' must be a JSON object, but is null"),
        (b'{"a":' * 10_000 + b"1" + b"}" * 10_000, "depth limit exceeded"),
        (b'{"a": "\x00"}', "field 'data' is not valid JSON"),
        (b'{"a": "\\u0000"}', "field 'data' holds a NUL character"),
        (b'{"a": "\xff"}', "field 'data' is not valid JSON"),
        (b'{"a": "\\ud800"}', "field 'data' is not valid JSON"),
        (b'{"a": 1e400}', "field 'data' holds a number that would lose digits, at byte 6"),
        (b'{"wei": 18446744073709551616}', "field 'data' holds a number that would lose digits, at byte 8"),
        (b'{"a": 1, "a": 2}', "field 'data' holds an object with the same name twice, at byte 9"),
        (b'{"amount": "five"}', "the data does not fit the input of saga 'order': amount: must be a whole number"),
    ],
)
def test_data_that_cannot_be_read_says_why(data: bytes, complaint: str) -> None:
    assert complaint in _complaint(data=data)


@pytest.mark.parametrize("name", ["type", "subject", "saga_id"])
@pytest.mark.parametrize(
    ("value", "complaint"), [(b"a\xff", "is not valid UTF-8"), (b"a\x00", "holds a NUL character")]
)
def test_a_field_of_the_envelope_must_be_text(name: str, value: bytes, complaint: str) -> None:
    assert f"field '{name}' {complaint}" in _complaint(**{name: value})


def test_a_start_is_taken_whatever_else_its_id_is() -> None:
    keyed, keyless = _read(id=b"a\x00\xff", subject="order-7"), _read(id=b"a\x00\xff")
    assert keyed.saga_id == saga_id_from_key("order", "order-7")
    assert keyless.saga_id == saga_id_from_event("order", "a\\x00\\xff")


@pytest.mark.parametrize("given", ["nonsense", "00-trace-01", b"a\x00", b"\xff"])
def test_a_trace_that_is_none_is_left_out(given: bytes | str) -> None:
    assert _read(traceparent=given).traceparent is None


def test_a_subject_has_a_length_that_can_be_indexed() -> None:
    assert _read(subject="ä" * KEY_CHARACTERS_MAX).key == "ä" * KEY_CHARACTERS_MAX
    assert _complaint(subject="k" * 10_000) == (
        f"field 'subject' has 10,000 characters, and a key may have {KEY_CHARACTERS_MAX}"
    )


@pytest.mark.parametrize(
    "entry_id", ["", "-", "x-0", "1.5-0", "-1-0", "²-0", "1", "1-", "1-0\n", "1-0-0", "9" * 5_000 + "-0"]
)
def test_an_entry_id_that_no_stream_gives_is_said_to_be_so(entry_id: str) -> None:
    for read in (read_event, read_trigger):
        with pytest.raises(Malformed, match=r"(?s)^the entry's id is '.{0,100}', which no stream gives$"):
            read(Entry("orders", entry_id, {b"type": b"order"}), CATALOG)


def _trigger(fields: dict[bytes | str, bytes | str], entry_id: str = "1700-0", stream: str = "orders") -> Started:
    return read_trigger(entry(fields, stream, entry_id), CATALOG)


def test_flat_fields_are_the_input_as_the_schema_reads_them() -> None:
    event = _trigger({"amount": "5", "area": "Zone Ä"})
    assert event.input == {"amount": 5, "area": "Zone Ä"}
    assert (event.saga, event.version, event.key, event.traceparent) == ("order", "v1", None, None)
    assert event.saga_id == saga_id_from_entry("order", "orders", "1700-0")


def test_flat_fields_may_have_the_names_of_the_envelope() -> None:
    event = _trigger({"type": "big", "id": "17", "saga_id": "no uuid", "data": "{"})
    assert event.input == {"type": "big", "id": "17", "saga_id": "no uuid", "data": "{"}
    assert event.saga_id == saga_id_from_entry("order", "orders", "1700-0")


def test_a_business_key_in_the_flat_fields_names_the_saga() -> None:
    first, second = _trigger({"order_no": "7"}, "1-0"), _trigger({"order_no": "7", "area": "x"}, "2-0")
    assert first.saga_id == second.saga_id == saga_id_from_key("order", "7")
    assert first.key == "7"


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({}, "the entry has no fields"),
        ({"amount": "five"}, "the fields do not fit the input of saga 'order': must be a whole number"),
        ({"area": b"\xff"}, "field 'area' is not valid UTF-8: invalid start byte at byte 0"),
        ({b"\xff": "x"}, "field '(a name)' is not valid UTF-8: invalid start byte at byte 0"),
        ({b"\xff": b"\xff"}, "field '(a name)' is not valid UTF-8: invalid start byte at byte 0"),
        ({"area": b"a\x00"}, "field 'area' holds a NUL character, which cannot be stored"),
        ({b"a\x00": "x"}, "field '(a name)' holds a NUL character, which cannot be stored"),
    ],
)
def test_flat_fields_that_cannot_be_read_say_why(fields: dict[bytes | str, bytes | str], complaint: str) -> None:
    with pytest.raises(Malformed) as raised:
        _trigger(fields)
    assert str(raised.value) == complaint


def test_a_stream_that_triggers_nothing_says_so() -> None:
    with pytest.raises(Malformed, match=r"^no saga is triggered by the stream 'elsewhere'$"):
        _trigger({"a": "b"}, stream="elsewhere")
