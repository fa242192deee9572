"""An entry that could not be used is stored exactly as it came, and shown so that a person can read it."""

from __future__ import annotations

import json
from base64 import b64encode
from datetime import UTC, datetime

import pytest

from saga_service.wire.dead_letters import (
    PREVIEW_BYTES_MAX,
    PREVIEW_FIELDS_MAX,
    REASON_CHARACTERS_MAX,
    DeadLetter,
    announce_dead_letter,
    dead_letter,
    is_announcement,
    raw_pairs,
    read_dead_letter,
    write_dead_letter,
)
from saga_service.wire.entries import Entry, Malformed, entry_of
from saga_service.wire.transport import StreamNames
from tests.support.builders import delivered

NAMES = StreamNames("test:")
AWKWARD: dict[bytes, bytes] = {
    b"type": b"order",
    b"empty": b"",
    b"": b"no name",
    b"\xff\xfe": b"\x00\x01\xff",
    "größe".encode(): "\N{PILE OF POO}".encode(),
    b"lone": b"\xed\xa0\x80",
    b"quote": b'"\\\n',
}


def _letter(fields: dict[bytes, bytes], reason: str = "because") -> DeadLetter:
    return dead_letter(Entry("saga:events", "1700-0", fields), reason, 1_700_000_000_000)


def _shown(value: bytes) -> str:
    shown = json.loads(_letter({b"a": value}).preview)["a"]
    assert isinstance(shown, str)
    return shown


def test_the_fields_can_be_had_back_exactly_as_they_came() -> None:
    letter = _letter(AWKWARD)
    assert raw_pairs(letter.raw) == list(AWKWARD.items())
    assert (letter.stream, letter.entry_id, letter.reason, letter.at_ms) == (
        "saga:events",
        "1700-0",
        "because",
        1_700_000_000_000,
    )


def test_an_entry_without_fields_makes_an_empty_letter() -> None:
    letter = _letter({})
    assert raw_pairs(letter.raw) == []
    assert json.loads(letter.preview) == {}


def test_a_person_sees_text_and_whatever_is_not_text_escaped() -> None:
    assert json.loads(_letter(AWKWARD).preview) == {
        "type": "order",
        "empty": "",
        "": "no name",
        "\\xff\\xfe": "\\x00\x01\\xff",
        "größe": "\N{PILE OF POO}",
        "lone": "\\xed\\xa0\\x80",
        "quote": '"\\\n',
    }


def test_nothing_in_a_letter_is_what_postgres_cannot_store() -> None:
    letter = _letter({b"\x00": b"\x00\xff\xed\xa0\x80"}, reason="has \x00 in it")
    for text in (letter.reason, letter.preview, letter.raw):
        assert "\x00" not in text
        assert "\\u0000" not in text
        assert text.encode("utf-8")
    assert letter.reason == "has \\x00 in it"


def test_a_long_value_is_cut_and_says_how_much_is_left_out() -> None:
    assert _shown(b"x" * PREVIEW_BYTES_MAX) == "x" * PREVIEW_BYTES_MAX
    assert _shown(b"x" * (PREVIEW_BYTES_MAX + 1)) == "x" * PREVIEW_BYTES_MAX + "… (1 bytes more)"


def test_a_long_value_of_long_characters_says_how_much_is_left_out_too() -> None:
    """2,000 characters of four bytes each were once shown as if they were all there is."""
    value = "\N{PILE OF POO}" * 3_000
    shown = _shown(value.encode())
    kept = PREVIEW_BYTES_MAX // 4
    assert shown == "\N{PILE OF POO}" * kept + f"… ({12_000 - PREVIEW_BYTES_MAX} bytes more)"


def test_a_value_of_two_megabytes_is_kept_whole_and_shown_in_part() -> None:
    value = b"\xff" * 2_000_000
    letter = _letter({b"data": value})
    assert raw_pairs(letter.raw) == [(b"data", value)]
    assert len(letter.preview) < 20_000


def test_a_name_that_comes_more_than_once_is_kept_each_time() -> None:
    flat = [b"a", b"1", b"b", b"2", b"a", b"3"]
    letter = dead_letter(entry_of("orders", "1-0", flat), "because", 1)
    assert raw_pairs(letter.raw) == [(b"a", b"1"), (b"b", b"2"), (b"a", b"3")]


@pytest.mark.parametrize(("more", "last"), [(0, None), (1, "(1 fields more)"), (200_000, "(200000 fields more)")])
def test_of_very_many_fields_some_are_shown_and_all_are_kept(more: int, last: str | None) -> None:
    fields = {str(number).encode(): b"x" for number in range(PREVIEW_FIELDS_MAX + more)}
    letter = _letter(fields)
    shown = json.loads(letter.preview)
    assert shown.pop("…", None) == last
    assert list(shown) == [str(number) for number in range(PREVIEW_FIELDS_MAX)]
    assert dict(raw_pairs(letter.raw)) == fields


def test_a_long_reason_is_cut() -> None:
    assert len(_letter({}, reason="x" * 10_000).reason) == REASON_CHARACTERS_MAX


def test_a_letter_is_read_as_it_was_written() -> None:
    letter = _letter(AWKWARD)
    message = write_dead_letter(letter, NAMES)
    assert message.stream == "test:dead-letter"
    assert read_dead_letter(delivered(message)) == letter


def test_an_announcement_leaves_out_only_the_raw_entry() -> None:
    letter = _letter({b"data": b"x" * 100_000})
    message = announce_dead_letter(letter, NAMES)
    told = dict(zip(message.fields[::2], message.fields[1::2], strict=True))
    assert message.stream == "test:dead-letter"
    assert told == {
        "v": "1",
        "stream": "saga:events",
        "entry_id": "1700-0",
        "reason": "because",
        "time": "1700000000000",
        "fields": letter.preview,
        "stored_in": "saga.dead_letters",
    }
    assert delivered(message).size_bytes < PREVIEW_BYTES_MAX + 300


def test_only_an_announcement_is_taken_for_one() -> None:
    letter = _letter({b"a": b"b"})
    announced, written = delivered(announce_dead_letter(letter, NAMES)), delivered(write_dead_letter(letter, NAMES))
    assert is_announcement(announced)
    assert not is_announcement(written)


@pytest.mark.parametrize(
    "changed",
    [
        {b"stored_in": b""},
        {b"stored_in": b"elsewhere"},
        {b"stored_in": b"\xff"},
        {b"raw": b""},
        {b"raw": b"[]"},
    ],
)
def test_a_letter_that_may_not_be_stored_yet_is_no_announcement(changed: dict[bytes, bytes]) -> None:
    announced = delivered(announce_dead_letter(_letter({b"a": b"b"}), NAMES))
    assert not is_announcement(Entry("test:dead-letter", "9-0", {**announced.fields, **changed}))


def _written(**changed: bytes) -> Entry:
    fields = dict(delivered(write_dead_letter(_letter({b"a": b"b"}), NAMES)).fields)
    return Entry("test:dead-letter", "9-0", fields | {name.encode(): value for name, value in changed.items()})


@pytest.mark.parametrize("reason", [b"", b"a\x00\xff"])
def test_a_letter_is_kept_whatever_its_reason_is(reason: bytes) -> None:
    assert read_dead_letter(_written(reason=reason)).reason in ("the sender gave no reason", "a\\x00\\xff")


@pytest.mark.parametrize("name", ["stream", "entry_id", "time", "fields", "raw"])
def test_what_is_missing_is_named(name: str) -> None:
    with pytest.raises(Malformed, match=rf"^field '{name}' is missing or empty$"):
        read_dead_letter(_written(**{name: b""}))


LAST_MOMENT_MS = 253_402_300_799_999


@pytest.mark.parametrize(
    "time", [b"now", b"-1", b"1.5", "²".encode(), b"9" * 30, b"9" * 5_000, str(LAST_MOMENT_MS + 1).encode()]
)
def test_a_moment_that_is_none_says_so(time: bytes) -> None:
    with pytest.raises(Malformed, match=r"^field 'time' must be whole milliseconds since 1970, but is '"):
        read_dead_letter(_written(time=time))


def test_the_last_moment_is_the_last_that_a_date_can_name() -> None:
    letter = read_dead_letter(_written(time=str(LAST_MOMENT_MS).encode()))
    assert datetime.fromtimestamp(letter.at_ms / 1000, UTC).year == 9999


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        (b"{", "field 'fields' is not valid JSON"),
        (b"[]", "field 'fields' must be a JSON object"),
        (b'{"a": "\\u0000"}', "field 'fields' holds a NUL character"),
        (b'{"a":' * 300 + b"1" + b"}" * 300, "field 'fields' is nested"),
        (b'{"a":' * 10_000, "depth limit exceeded"),
        (b'{"a": "\xff"}', "field 'fields' is not valid"),
    ],
)
def test_a_preview_that_cannot_be_stored_says_why(fields: bytes, complaint: str) -> None:
    with pytest.raises(Malformed) as raised:
        read_dead_letter(_written(fields=fields))
    assert complaint in str(raised.value)


@pytest.mark.parametrize(
    "raw",
    [
        b"{",
        b"1",
        b"null",
        b'"YQ=="',
        b"[1]",
        b"[null]",
        b'[["YQ=="]]',
        b'[["YQ==", "YQ==", "YQ=="]]',
        b'[["YQ==", 1]]',
        b'[["YQ==", null]]',
        b'[["YQ==", ["YQ=="]]]',
        b'[["YQ", "YQ=="]]',
        b'[["Y Q==", "YQ=="]]',
        b'[["YQ==", "\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4"]]',
        b'[["YQ==", "\\u0000\\u0000\\u0000\\u0000"]]',
        b'{"YQ==": "YQ=="}',
        b'{"ab": 1}',
        b"[" * 10_000,
        b"[" * 500 + b"]" * 500,
    ],
)
def test_raw_fields_that_are_none_say_so(raw: bytes) -> None:
    with pytest.raises(Malformed, match=r"^field 'raw' is not JSON of base64 pairs"):
        read_dead_letter(_written(raw=raw))


def test_raw_fields_are_kept_in_any_spelling_of_the_same_json() -> None:
    pair = b64encode(b"a").decode()
    assert raw_pairs(f' [ ["{pair}", ""] ] ') == [(b"a", b"")]
