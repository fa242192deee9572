"""Fields as text, words of a fixed set and ids: a value that is none of these is refused with its field's name."""

from __future__ import annotations

import re

import pytest

from saga_service.core.ids import CommandName, command_id
from saga_service.core.vocabulary import Direction
from saga_service.wire.entries import Malformed
from saga_service.wire.fields import (
    as_text,
    optional_text,
    parent_command,
    required_choice,
    required_command,
    required_text,
    traceparent,
)
from tests.support.builders import SAGA_ID

CHARGE = CommandName(SAGA_ID, "charge", Direction.ACTION, 2)


def test_a_field_is_read_as_utf_8() -> None:
    assert optional_text({b"name": "Grüße 日本 \N{PILE OF POO}".encode()}, "name") == "Grüße 日本 \N{PILE OF POO}"


@pytest.mark.parametrize("fields", [{}, {b"name": b""}, {b"Name": b"x"}, {b"name ": b"x"}])
def test_a_field_that_is_absent_or_empty_is_none_or_missing(fields: dict[bytes, bytes]) -> None:
    assert optional_text(fields, "name") is None
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
    for read in (optional_text, required_text):
        with pytest.raises(Malformed, match=rf"^field 'name' is not valid UTF-8: .* at byte {byte}$"):
            read({b"name": value}, "name")


@pytest.mark.parametrize("value", [b"\x00", b"a\x00b"])
def test_a_nul_cannot_be_stored(value: bytes) -> None:
    with pytest.raises(Malformed, match=r"^field 'name' holds a NUL character, which cannot be stored$"):
        as_text(value, "name")


def test_other_control_characters_are_text() -> None:
    assert as_text(b"\x01\t\r\n\x7f", "name") == "\x01\t\r\n\x7f"


def test_a_choice_is_one_of_its_words() -> None:
    assert required_choice({b"size": b"big"}, "size", {"small": 1, "big": 2}) == 2


@pytest.mark.parametrize("given", ["Big", "bigger", "big "])
def test_a_wrong_choice_is_told_with_all_right_ones(given: str) -> None:
    with pytest.raises(Malformed, match=rf"^field 'size' must be one of small, big, but is '{given}'$"):
        required_choice({b"size": given.encode()}, "size", {"small": 1, "big": 2})


def test_a_command_is_read_by_its_id() -> None:
    given = {b"id": command_id(*CHARGE).encode()}
    assert required_command(given, "id") == CHARGE


@pytest.mark.parametrize("given", ["charge", f"{SAGA_ID}:charge", f"{SAGA_ID}:charge:action:0x1"])
def test_a_wrong_id_of_a_command_names_the_field(given: str) -> None:
    with pytest.raises(Malformed, match=re.escape(f"field 'command_id' is not the id of a command: '{given}'")):
        required_command({b"command_id": given.encode()}, "command_id")


@pytest.mark.parametrize("fields", [{}, {b"command_id": b""}])
def test_an_entry_without_a_command_comes_from_no_parent(fields: dict[bytes, bytes]) -> None:
    assert parent_command(fields) is None


@pytest.mark.parametrize(
    "given",
    [
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00-00000000000000000000000000000001-0000000000000001-00",
        "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-what-comes-later",
    ],
)
def test_a_trace_of_the_standards_form_is_read(given: str) -> None:
    assert traceparent({b"traceparent": given.encode()}) == given


@pytest.mark.parametrize(
    "given",
    [
        b"",
        b"nonsense",
        b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
        b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\n",
        b" 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        b"00-0AF7651916CD43DD8448EB211C80319C-B7AD6B7169203331-01",
        b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0",
        b"ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        b"00-00000000000000000000000000000000-b7ad6b7169203331-01",
        b"00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
        b"\xff",
        b"\x00",
        b"01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-" + b"x" * 10_000,
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0\N{ARABIC-INDIC DIGIT ONE}".encode(),
    ],
)
def test_a_trace_of_another_form_is_left_out(given: bytes) -> None:
    assert traceparent({b"traceparent": given}) is None
