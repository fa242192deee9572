"""JSON within limits: one bad message says what is wrong with it and harms nobody else."""

from __future__ import annotations

import json

import orjson
import pytest

from saga_service.wire.entries import Malformed
from saga_service.wire.json import NESTING_MAX, read_object, write


def _nested(levels: int, opening: bytes = b'{"a":', closing: bytes = b"}", core: bytes = b"1") -> bytes:
    """An object of so many levels."""
    return b'{"a":' + opening * (levels - 1) + core + closing * (levels - 1) + b"}"


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (b"{}", {}),
        (b' \n{"a": [1, 2.5, null, true, "x"]}\t', {"a": [1, 2.5, None, True, "x"]}),
        ('{"ключ": "значение \N{PILE OF POO}"}'.encode(), {"ключ": "значение \N{PILE OF POO}"}),
        (b'{"a": "\\ud83d\\ude00"}', {"a": "\N{GRINNING FACE}"}),
        (b'{"a": 1, "a": 2}', {"a": 2}),
        (b'{"": 0}', {"": 0}),
        (b'{"a": "[[[{{{"}', {"a": "[[[{{{"}),
    ],
)
def test_an_object_is_read(raw: bytes, value: object) -> None:
    assert read_object(raw, "data") == value


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b" ",
        b"{",
        b"{'a': 1}",
        b'{"a": 1,}',
        b'{"a": 1}}',
        b'{"a": 1} {"b": 2}',
        b"{a: 1}",
        b'{"a": 01}',
        b'{"a": +1}',
        b'{"a": .5}',
        b'{"a": 0x10}',
        b'{"a": NaN}',
        b'{"a": Infinity}',
        b'{"a": -Infinity}',
        b'{"a": undefined}',
        b'{"a": "\x01"}',
        b'{"a": "\\x41"}',
        b"\xef\xbb\xbf{}",
        "{}".encode("utf-16"),
        b"\x80\x04\x95",
    ],
)
def test_what_is_not_json_says_where(raw: bytes) -> None:
    with pytest.raises(Malformed, match=r"^field 'data' is not valid JSON: .*char \d+"):
        read_object(raw, "data")


@pytest.mark.parametrize("raw", [b'{"a": "\x00"}', b'{"a": 1}\x00', b"\x00{}", b'{"\x00": 1}'])
def test_a_raw_nul_is_not_json(raw: bytes) -> None:
    with pytest.raises(Malformed, match="not valid JSON"):
        read_object(raw, "data")


@pytest.mark.parametrize(
    "raw",
    [
        b'{"a": "\\u0000"}',
        b'{"a": "x\\u0000y"}',
        b'{"\\u0000": 1}',
        b'{"a": [[{"b": ["c", "\\u0000"]}]]}',
        b'{"a": [{"b\\u0000": 1}]}',
        b'{"a": "\\\\\\u0000"}',
    ],
)
def test_an_escaped_nul_cannot_be_stored(raw: bytes) -> None:
    with pytest.raises(Malformed, match=r"^field 'data' holds a NUL character \(\\u0000\), which cannot be stored$"):
        read_object(raw, "data")


def test_what_only_looks_like_an_escaped_nul_is_text() -> None:
    assert read_object(b'{"a": "\\\\u0000"}', "data") == {"a": "\\u0000"}


@pytest.mark.parametrize("raw", [b'{"a": "\xff"}', b'{"\xff": 1}', b'{"a": "\xed\xa0\x80"}', b"\xff"])
def test_invalid_utf_8_is_not_json(raw: bytes) -> None:
    with pytest.raises(Malformed, match="not valid JSON"):
        read_object(raw, "data")


@pytest.mark.parametrize("raw", [b'{"a": "\\ud800"}', b'{"a": "\\udc00"}', b'{"\\ud800": 1}', b'{"a": "\\ud800x"}'])
def test_a_lone_surrogate_is_not_json(raw: bytes) -> None:
    with pytest.raises(Malformed, match="not valid JSON"):
        read_object(raw, "data")


@pytest.mark.parametrize(
    ("raw", "kind"),
    [
        (b"[]", "an array"),
        (b'[{"a": 1}]', "an array"),
        (b'"x"', "a string"),
        (b"1", "a number"),
        (b"1.5", "a number"),
        (b"true", "a boolean"),
        (b"null", "null"),
    ],
)
def test_what_is_no_object_says_what_it_is(raw: bytes, kind: str) -> None:
    with pytest.raises(Malformed, match=rf"^field 'data' must be a JSON object, but is {kind}$"):
        read_object(raw, "data")


def test_an_object_may_be_as_deep_as_the_limit_and_no_deeper() -> None:
    assert read_object(_nested(NESTING_MAX), "data")
    with pytest.raises(Malformed, match=rf"^field 'data' is nested more than {NESTING_MAX} levels deep$"):
        read_object(_nested(NESTING_MAX + 1), "data")


@pytest.mark.parametrize("levels", [NESTING_MAX + 1, 254, 255, 1_000, 10_000, 1_000_000])
@pytest.mark.parametrize(("opening", "closing"), [(b'{"a":', b"}"), (b"[", b"]")])
def test_what_is_far_too_deep_is_said_to_be_so(levels: int, opening: bytes, closing: bytes) -> None:
    with pytest.raises(Malformed, match=r"levels deep|depth limit exceeded"):
        read_object(_nested(levels, opening, closing), "data")


@pytest.mark.parametrize("raw", [b"[" * 10_000, b'{"a":' * 10_000, b'{"a":' + b"[{" * 5_000])
def test_what_is_too_deep_and_never_closed_harms_nobody(raw: bytes) -> None:
    with pytest.raises(Malformed):
        read_object(raw, "data")


def test_many_shallow_values_are_not_deep() -> None:
    wide = {"rows": [{"cells": [1, 2, 3]} for _ in range(1_000)]}
    assert read_object(write(wide).encode(), "data") == wide


def test_brackets_inside_strings_are_not_depth() -> None:
    value = {"a": "[{" * 5_000 + '"' + "\\" + "}" * 50, "b": ["\\", "[" * 200]}
    assert read_object(orjson.dumps(value), "data") == value


@pytest.mark.parametrize("number", [0, -1, 2**53 + 1, 2**63 - 1, -(2**63), 2**64 - 1])
def test_a_whole_number_of_64_bits_is_read_and_written_exactly(number: int) -> None:
    assert read_object(b'{"a": %d}' % number, "data") == {"a": number}
    assert json.loads(write({"a": number})) == {"a": number}


@pytest.mark.parametrize("number", [2**64, -(2**63) - 1, 10**30])
def test_a_whole_number_beyond_64_bits_loses_its_last_digits(number: int) -> None:
    value = read_object(b'{"a": %d}' % number, "data")["a"]
    assert isinstance(value, float)
    assert value == pytest.approx(number)


@pytest.mark.parametrize("number", [b"1e400", b"-1e400", b"9" * 400, b"9" * 5_000, b"1e999999999999"])
def test_a_number_beyond_every_measure_is_not_json(number: bytes) -> None:
    with pytest.raises(Malformed, match=r"not valid JSON: .*infinity"):
        read_object(b'{"a": ' + number + b"}", "data")


def test_a_number_too_small_to_tell_from_nothing_is_nothing() -> None:
    assert read_object(b'{"a": 1e-400}', "data") == {"a": 0.0}
