"""Any bytes in any field: an entry is read, or it is malformed. Nothing else ever comes of it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saga_service.core.ids import SagaId, parse_command_id, parse_saga_id, saga_id_from_key
from saga_service.wire.commands import read_command
from saga_service.wire.dead_letters import dead_letter, raw_pairs, read_dead_letter, write_dead_letter
from saga_service.wire.entries import Entry, Malformed
from saga_service.wire.events import read_event, read_trigger
from saga_service.wire.json import read_object, write
from saga_service.wire.replies import read_reply
from saga_service.wire.transport import StreamNames
from tests.support.builders import PlainBlueprint, PlainCatalog, definition, delivered

SAGA_ID = SagaId("0192f0c1-2345-8abc-9def-0123456789ab")
COMMAND_ID = f"{SAGA_ID}:charge:action:2"
CATALOG = PlainCatalog(PlainBlueprint(definition("reserve"), integers=["amount"], key_field="order_no"))
NAMES = StreamNames()

Read = Callable[[Entry], object]
READERS: dict[str, Read] = {
    "event": lambda entry: read_event(entry, CATALOG),
    "trigger": lambda entry: read_trigger(entry, CATALOG),
    "reply": read_reply,
    "command": read_command,
    "dead letter": read_dead_letter,
}

known_names = st.sampled_from(
    b"v type data id subject saga_id saga traceparent command_id outcome error step direction attempt idempotency_key "
    b"deadline reply_to stream entry_id reason time fields raw amount order_no".split()
)
awkward_values = st.sampled_from(
    [
        b"",
        b"\x00",
        b"\xff",
        b"\xed\xa0\x80",
        b"order",
        b"succeeded",
        b"failed",
        b"progress",
        b"5",
        b"-5",
        "²".encode(),
        b"9" * 20,
        b"9" * 5_000,
        SAGA_ID.encode(),
        SAGA_ID.upper().encode(),
        COMMAND_ID.encode(),
        COMMAND_ID.encode() + b"9" * 5_000,
        b"{}",
        b"[]",
        b"null",
        b'{"amount": 18446744073709551616}',
        b'{"amount": 1e400}',
        b'{"amount": true}',
        b'{"a": "\\u0000"}',
        b'{"a": "\\ud800"}',
        b'{"order_no": []}',
        b'{"code": [], "message": {}, "retry_after_ms": 1}',
        b'{"retry_after_ms": 1e999}',
        b'{"retry_after_ms": NaN}',
        b'{"a":' * 150 + b"1" + b"}" * 150,
        b"[" * 300 + b"]" * 300,
        b'{"a":' * 2_000,
        b'[["YQ==", "YQ=="]]',
        b'[["YQ==", 1]]',
        b'[["YQ==", null, 1]]',
        b'{"YQ==": "YQ=="}',
    ]
)
fields = st.dictionaries(
    known_names | st.binary(max_size=6), awkward_values | st.binary(max_size=30) | st.text(max_size=30).map(str.encode)
)
entry_ids = st.sampled_from(["1700-0", "0-1", "", "x-1", "18446744073709551615-0"]) | st.text(max_size=12)
streams = st.sampled_from(["saga:events", "orders"])


def _complaint(reader: str, entry: Entry) -> str | None:
    """None where the entry could be read."""
    try:
        READERS[reader](entry)
    except Malformed as error:
        return str(error)
    return None


@given(reader=st.sampled_from(sorted(READERS)), fields=fields, entry_id=entry_ids, stream=streams)
def test_an_entry_of_any_bytes_is_read_or_malformed_and_kept(
    reader: str, fields: dict[bytes, bytes], entry_id: str, stream: str
) -> None:
    entry = Entry(stream, entry_id, fields)
    complaint = _complaint(reader, entry)
    if complaint is not None:
        assert complaint
        assert dict(raw_pairs(dead_letter(entry, complaint, 1).raw)) == fields


def _almost(good: dict[bytes, bytes]) -> st.SearchStrategy[dict[bytes, bytes]]:
    """A good entry with one field put wrong: it gets further than pure noise does."""
    return st.tuples(st.sampled_from(sorted(good)) | known_names, awkward_values | st.binary(max_size=30)).map(
        lambda changed: good | {changed[0]: changed[1]}
    )


ALMOST_GOOD: dict[str, dict[bytes, bytes]] = {
    "event": {
        b"type": b"order",
        b"data": b'{"amount": 5}',
        b"subject": b"7",
        b"id": b"e-1",
        b"saga_id": saga_id_from_key("order", "7").encode(),
    },
    "trigger": {b"amount": b"5", b"order_no": b"7"},
    "reply": {
        b"command_id": COMMAND_ID.encode(),
        b"saga_id": SAGA_ID.encode(),
        b"outcome": b"failed",
        b"error": b'{"code": "a"}',
    },
    "command": {
        b"id": COMMAND_ID.encode(),
        b"type": b"payment.charge",
        b"saga": b"order",
        b"idempotency_key": b"k",
        b"deadline": b"1700",
        b"reply_to": b"saga:replies",
        b"data": b"{}",
    },
    "dead letter": {
        b"stream": b"orders",
        b"entry_id": b"1-0",
        b"reason": b"because",
        b"time": b"1700",
        b"fields": b"{}",
        b"raw": b"[]",
    },
}


@pytest.mark.parametrize("reader", READERS)
@given(data=st.data())
def test_a_good_entry_with_one_field_put_wrong_is_read_or_malformed(reader: str, data: st.DataObject) -> None:
    good = ALMOST_GOOD[reader]
    stream = "orders" if reader == "trigger" else "saga:events"
    assert _complaint(reader, Entry(stream, "1700-0", good)) is None
    assert _complaint(reader, Entry(stream, "1700-0", data.draw(_almost(good)))) != ""


@given(raw=st.binary(max_size=60) | st.text(alphabet='{}[]",:\\u0d8-1e.ax ', max_size=60).map(str.encode))
def test_data_of_any_bytes_is_an_object_or_malformed(raw: bytes) -> None:
    try:
        value = read_object(raw, "data")
    except Malformed:
        return
    assert read_object(write(value).encode(), "data") == value


@given(raw=st.text(max_size=60) | st.text(alphabet='[]",{}:=QYWJj0 ', max_size=60))
def test_raw_fields_of_any_text_are_fields_or_malformed(raw: str) -> None:
    try:
        pairs = raw_pairs(raw)
    except Malformed:
        return
    assert all(isinstance(part, bytes) for pair in pairs for part in pair)


@given(text=st.text(max_size=60) | st.from_regex(r"[0-9a-f-]{30,40}(:[a-z]*){0,4}[0-9]{0,3}", fullmatch=True))
def test_ids_of_any_text_are_ids_or_none(text: str) -> None:
    saga_id, command = parse_saga_id(text), parse_command_id(text)
    assert saga_id is None or saga_id == text.lower()
    assert command is None or text.startswith(command.saga_id)


@given(fields=st.dictionaries(st.binary(max_size=20), st.binary(max_size=40)), reason=st.text(min_size=1, max_size=40))
def test_a_dead_letter_of_any_bytes_is_read_as_it_was_written(fields: dict[bytes, bytes], reason: str) -> None:
    letter = dead_letter(Entry("orders", "1-0", fields), reason, 1_700)
    assert read_dead_letter(delivered(write_dead_letter(letter, NAMES))) == letter
    assert dict(raw_pairs(letter.raw)) == fields
    assert "\x00" not in letter.preview + letter.reason + letter.raw
