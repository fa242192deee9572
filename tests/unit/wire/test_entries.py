"""An entry as Redis tells it, and its fields as text: what is no text is said to be so."""

from __future__ import annotations

import pytest

from saga_service.wire.entries import Entry, Malformed, as_text, entry_of, required_text, text


def test_an_entry_has_its_fields_and_the_bytes_of_all_names_and_values() -> None:
    entry = entry_of("orders", "1-0", [b"a", b"12345", "größe".encode(), b"", b"", b"\xff"])
    assert entry == Entry("orders", "1-0", {b"a": b"12345", "größe".encode(): b"", b"": b"\xff"})
    assert list(entry.pairs()) == [(b"a", b"12345"), ("größe".encode(), b""), (b"", b"\xff")]
    assert entry.size_bytes == 6 + 7 + 1


def test_a_name_that_comes_twice_is_read_as_its_last_value_and_loses_none() -> None:
    entry = entry_of("orders", "1-0", [b"a", b"1", b"b", b"2", b"a", b"345"])
    assert entry.fields == {b"a": b"345", b"b": b"2"}
    assert list(entry.pairs()) == [(b"a", b"1"), (b"b", b"2"), (b"a", b"345")]
    assert entry.size_bytes == 2 + 2 + 4


def test_a_field_is_read_as_utf_8() -> None:
    assert text({b"name": "Grüße 日本 \N{PILE OF POO}".encode()}, "name") == "Grüße 日本 \N{PILE OF POO}"


@pytest.mark.parametrize("fields", [{}, {b"name": b""}, {b"Name": b"x"}, {b"name ": b"x"}])
def test_a_field_that_is_absent_or_empty_is_none_or_missing(fields: dict[bytes, bytes]) -> None:
    assert text(fields, "name") is None
    with pytest.raises(Malformed, match=r"^field 'name' is missing or empty$"):
        required_text(fields, "name")


@pytest.mark.parametrize(
    ("value", "byte"),
    [
        (b"\xff", 0),
        (b"abc\xc3", 3),
        (b"a\xed\xa0\x80", 1),  # a lone surrogate
        (b"\xc0\x80", 0),  # NUL in too many bytes
        (b"\xf4\x90\x80\x80", 0),  # beyond the last character there is
    ],
)
def test_what_is_not_utf_8_says_where(value: bytes, byte: int) -> None:
    for read in (text, required_text):
        with pytest.raises(Malformed, match=rf"^field 'name' is not valid UTF-8: .* at byte {byte}$"):
            read({b"name": value}, "name")


@pytest.mark.parametrize("value", [b"\x00", b"a\x00b"])
def test_a_nul_cannot_be_stored(value: bytes) -> None:
    with pytest.raises(Malformed, match=r"^field 'name' holds a NUL character, which cannot be stored$"):
        as_text(value, "name")


def test_other_control_characters_are_text() -> None:
    assert as_text(b"\x01\t\r\n\x7f", "name") == "\x01\t\r\n\x7f"
