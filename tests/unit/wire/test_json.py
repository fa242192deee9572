"""JSON within limits: one bad message says what is wrong with it and harms nobody else."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass

import orjson
import pytest

from saga_service.wire.entries import Malformed
from saga_service.wire.json import NESTING_MAX, read_json, read_object, write, write_object


@dataclass
class Point:
    x: float


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


_LOSSY = [
    "18446744073709551616",
    "-9223372036854775809",
    "9" * 400,
    "9" * 5_000,
    "1e400",
    "-1e400",
    "1E+400",
    "1e999999999999999999999",
    "1e-400",
    "1e-99999999999999999999",
    "4e-324",
    f"0.{'0' * 330}1",
    "123456789012345678.9",
    "9007199254740993.0",
    "9007199254740993e0",
    "3.14159265358979323846",
    "0.1000000000000000055",
]
_KEPT = [
    ("18446744073709551615", 2**64 - 1),
    ("-9223372036854775808", -(2**63)),
    ("-0", 0),
    ("0e-999", 0.0),
    (f"0.{'0' * 40}", 0.0),
    ("0.1", 0.1),
    ("0.10000000000000001", 0.1),
    ("0.30000000000000004", 0.30000000000000004),
    (f"1.1{'0' * 40}", 1.1),
    ("1e25", 1e25),
    (f"1{'0' * 25}", 1e25),
    ("1E-7", 1e-7),
    ("5e-324", 5e-324),
    ("5.960464477539063e-08", 5.960464477539063e-08),
    ("1.7976931348623157e308", 1.7976931348623157e308),
]


@pytest.mark.parametrize("beside", ["1", "x"])
@pytest.mark.parametrize("number", _LOSSY)
def test_a_number_that_would_lose_digits_is_refused_and_its_place_is_named(number: str, beside: str) -> None:
    raw = '{"text": "' + beside * 30 + '", "list": [{"n": ' + number + "}]}"
    with pytest.raises(Malformed, match=r"would lose digits, at byte 58: .*64 bits.*17 digits.*send it as text$"):
        read_object(raw.encode(), "data")


@pytest.mark.parametrize(
    "around", ["{0}", " {0} ", '{{"n":{0}}}', "[{0}]", "[0,{0},0]", '["{0}", {0}]', "[\r\n{0}\n]", '[".",\t{0}]']
)
def test_a_number_is_exact_or_refused_wherever_it_stands(around: str) -> None:
    for lossy in _LOSSY:
        with pytest.raises(Malformed, match="would lose digits"):
            read_json(around.format(lossy).encode(), "data")
    for kept, _ in _KEPT:
        read_json(around.format(kept).encode(), "data")


@pytest.mark.parametrize(("number", "value"), _KEPT)
def test_a_number_whose_digits_come_back_is_kept(number: str, value: float) -> None:
    held = read_object(b'{"n": ' + number.encode() + b"}", "data")["n"]
    assert (type(held), held) == (type(value), value)


@pytest.mark.parametrize("value", [1e25, 0.1, 2.5e-310, 123456789.12345679, 1e16, -1.5, 2**53 + 1, 1e300 / 3])
def test_every_number_that_is_written_can_be_read(value: float) -> None:
    assert read_object(write({"n": value}).encode(), "data") == {"n": value}


def test_digits_in_a_text_are_no_number() -> None:
    value = {"card": "4" * 30, 'a "quoted" name': "1e400, 1e-400", "b": '"', "c": 1}
    assert read_object(orjson.dumps(value), "data") == value


@pytest.mark.parametrize(
    ("raw", "byte"),
    [
        (b'{"a": 1, "a": 2}', 9),
        (b'{"a": 1, "a": 1}', 9),
        (b'{"a": {"b": 1, "c": [{"d": 1, "d": 2}]}}', 30),
        (b'{"a": 1, "\\u0061": "\\u003a"}', 9),
        (b'{"a:b": ":", "a:b" : {}}', 13),
    ],
)
def test_an_object_with_one_name_twice_is_refused(raw: bytes, byte: int) -> None:
    with pytest.raises(Malformed, match=rf"^field 'data' holds an object with the same name twice, at byte {byte}$"):
        read_object(raw, "data")


def test_one_name_in_several_objects_is_fine() -> None:
    value = {"a": {"a": {"a": ":"}}, "b": [{"a": "x\\"}, {"a": '"a": '}], "c": "\N{COLON}"}
    assert read_object(orjson.dumps(value), "data") == value
    assert read_object(json.dumps(value, indent=4).replace(":", " : ").encode(), "data") is not None


@pytest.mark.parametrize("raw", [b'{"pin": 18446744073709551616, "n": 1}', b'{"secret": 1, "secret": 2}', b"{nope}"])
def test_no_reason_repeats_the_text(raw: bytes) -> None:
    with pytest.raises(Malformed) as refused:
        read_object(raw, "data")
    assert not any(part in str(refused.value) for part in ("pin", "secret", "1844", "nope"))


@pytest.mark.parametrize(
    "value",
    [{"a": [float("nan")]}, {"a": {"b": float("inf")}, "c": None}, {"a": -float("inf")}, {"a": Point(math.nan)}],
)
def test_a_number_that_is_not_finite_is_not_written(value: object) -> None:
    with pytest.raises(Malformed, match=r"^field 'data' cannot be written as JSON: a number is not finite$"):
        write_object(value, "data")


@pytest.mark.parametrize("value", [{"a": 2**64}, {1: "a"}, {"a": object()}, {"a": "\ud800"}, [1], {"a": "\0"}])
def test_what_could_not_be_read_again_is_not_written(value: object) -> None:
    with pytest.raises(Malformed, match=r"^field 'data' "):
        write_object(value, "data")


def test_null_is_written() -> None:
    assert write_object({"a": None, "b": [1.5]}, "data") == '{"a":null,"b":[1.5]}'
