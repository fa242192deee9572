"""JSON text to values and back, within limits that keep one bad message from harming others.

Nothing is lost when a text is read. A whole number of 64 bits is kept exactly. Any other number is kept as a double,
where the double gives its digits back: up to 17 of them, which is as many as a double has. A number that would lose
digits is refused, and so is an object with one name twice, of which only the last value would be left.
"""

from __future__ import annotations

import re
from dataclasses import fields, is_dataclass
from math import isfinite
from typing import Any

import orjson

from saga_service.wire.entries import Malformed

NESTING_MAX = 100
"""The deepest nesting, in levels. The encoder gives up at 254, and data is wrapped in some levels of the service."""
INTEGER_MIN, INTEGER_MAX = -(2**63), 2**64 - 1
"""The whole numbers that are kept exactly, whatever their digits."""
DOUBLE_DIGITS_MAX = 17
"""The most significant digits of a number that is kept as a double."""

NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
"""A number as JSON writes one."""

# Every digit, and the point, as `0`. Fifteen digits are never lost, so a number with fewer than sixteen in a row is
# kept, unless its exponent is far below zero. (Far above, the parser itself refuses it.)
_SHAPES = bytes.maketrans(b"123456789.E", b"0000000000e")
_MANY_DIGITS, _SMALL_EXPONENT = b"0" * 16, b"0e-000"
# Such numbers, after what may stand before a number. Within a text there may be one too.
_SUSPICIOUS = re.compile(rb"[,:\[ \t\r\n](-?[0-9](?:[0-9.]{15,}[0-9.eE+-]*|[0-9.]*[eE]-[0-9]{3,}))")
_STRING = rb'"[^"\\]*(?:\\.[^"\\]*)*"'
_NUMBERS = re.compile(_STRING + rb"|(-?[0-9][0-9.eE+-]*)", re.DOTALL)
_NAMES = re.compile(rb"(" + _STRING + rb")([ \t\r\n]*:)?|([{}])", re.DOTALL)


class NotJson(Malformed):
    """A text is not JSON at all."""


def read_object(raw: bytes, name: str, *, nesting_max: int = NESTING_MAX) -> dict[str, Any]:
    """The JSON object in the field `name`.

    Raises Malformed where it is no object, and where `read_json` does. The reason contains nothing of the text.
    """
    value = read_json(raw, name, nesting_max=nesting_max)
    if not isinstance(value, dict):
        raise Malformed(f"field '{name}' must be a JSON object, but is {_kind(value)}")
    return value


def read_json(raw: bytes, name: str, *, nesting_max: int = NESTING_MAX) -> Any:
    """The JSON value in the field `name`.

    Raises NotJson; and Malformed where something would be lost, where it is nested too deeply, or holds a NUL. The
    reason contains nothing of the text. `Any`: a value of JSON.
    """
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        _refuse_lossy_numbers(raw, name)
        raise NotJson(f"field '{name}' is not valid JSON: {error}") from None
    # Counting and searching are cheap and settle nearly every message; only a suspicious one is looked at closely.
    shapes = raw.translate(_SHAPES)
    if (_MANY_DIGITS in shapes or _SMALL_EXPONENT in shapes) and _may_hold_a_lossy_number(raw):
        _refuse_lossy_numbers(raw, name)
    if raw.count(b"[") + raw.count(b"{") > nesting_max and _is_deeper(value, nesting_max):
        raise Malformed(f"field '{name}' is nested more than {nesting_max} levels deep")
    if _may_repeat_a_name(raw, value):
        _refuse_repeated_names(raw, name)
    if b"\\u0000" in raw and _holds_nul(value):
        raise Malformed(f"field '{name}' holds a NUL character (\\u0000), which cannot be stored")
    return value


def read_leniently(raw: bytes) -> Any:
    """The JSON value as far as it can be read, without any limit and with other bytes replaced; None for no JSON.

    It serves texts that are for people alone. `Any`: a value of JSON.
    """
    try:
        return orjson.loads(raw.decode("utf-8", "replace"))
    except orjson.JSONDecodeError:
        return None


def write(value: object) -> str:
    """The JSON text of what was read, or is the service's own. `write_object` is for everybody else's values."""
    return orjson.dumps(value).decode()


def write_object(value: Any, name: str) -> str:
    """The JSON text of an object of which nothing has been checked yet.

    Raises Malformed where the value is no object, has no place in JSON, or could not be read again.
    """
    try:
        raw = orjson.dumps(value)
    except orjson.JSONEncodeError as error:
        raise Malformed(f"field '{name}' cannot be written as JSON: {error}") from None
    # The encoder writes a number that is not finite as null.
    if b"null" in raw and not is_finite(value):
        raise Malformed(f"field '{name}' cannot be written as JSON: a number is not finite")
    read_object(raw, name)
    return raw.decode()


def is_finite(value: Any) -> bool:
    """True if every number is finite in a value that the encoder takes."""
    match value:
        case float():
            return isfinite(value)
        case dict():
            return all(is_finite(inner) for inner in value.values())
        case list() | tuple():
            return all(is_finite(inner) for inner in value)
        case _ if is_dataclass(value) and not isinstance(value, type):
            return all(is_finite(getattr(value, field.name)) for field in fields(value))
        case _:
            return True


def keeps_value(number: str) -> bool:
    """True if a number, as JSON writes it, is kept exactly: as a whole number of 64 bits, or as a double."""
    is_whole = number.lstrip("-").isdigit()
    # No more digits than the largest has, for Python refuses to read thousands of them.
    if is_whole and len(number) <= len(str(INTEGER_MIN)) and INTEGER_MIN <= int(number) <= INTEGER_MAX:
        return True
    held = float(number)
    if repr(held) == number:
        return True
    digits = _digits(number)
    if not digits or not isfinite(held):
        return not digits
    # The shortest text of a double may end in another digit than the text of as many digits that is nearest to it.
    given_back = (repr(held), f"{held:.{len(digits) - 1}e}")
    return len(digits) <= DOUBLE_DIGITS_MAX and digits in map(_digits, given_back)


def _digits(number: str) -> str:
    """The significant digits of a number, as JSON writes it."""
    return number.lower().partition("e")[0].lstrip("-").replace(".", "").strip("0")


def _may_hold_a_lossy_number(raw: bytes) -> bool:
    """False if every number of the JSON text is kept exactly."""
    return any(_is_lossy(number.decode()) for number in _SUSPICIOUS.findall(b"," + raw))


def _is_lossy(number: str) -> bool:
    return NUMBER.fullmatch(number) is not None and not keeps_value(number)


def _refuse_lossy_numbers(raw: bytes, name: str) -> None:
    for found in _NUMBERS.finditer(raw):
        if found[1] and _is_lossy(found[1].decode()):
            raise Malformed(
                f"field '{name}' holds a number that would lose digits, at byte {found.start()}: kept are whole numbers"
                f" of 64 bits, and others with up to {DOUBLE_DIGITS_MAX} digits, as a double has them; send it as text"
            )


def _may_repeat_a_name(raw: bytes, value: Any) -> bool:
    """False if every name of the text is in the value. Each name has a colon, and so may texts."""
    colons = raw.count(b":")
    if colons == len(value) if isinstance(value, dict) else not colons:
        return False
    return orjson.dumps(value).count(b":") < colons or b"\\u003" in raw


def _refuse_repeated_names(raw: bytes, name: str) -> None:
    outer: list[set[str]] = []
    for found in _NAMES.finditer(raw):
        text, colon, brace = found.groups()
        if brace == b"{":
            outer.append(set())
        elif brace == b"}":
            outer.pop()
        elif colon:
            own_name = orjson.loads(text)
            if own_name in outer[-1]:
                raise Malformed(f"field '{name}' holds an object with the same name twice, at byte {found.start()}")
            outer[-1].add(own_name)


def _is_deeper(value: Any, levels: int) -> bool:
    level = [value]
    for _ in range(levels):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return False
    return True


def _holds_nul(value: object) -> bool:
    if isinstance(value, str):
        return "\x00" in value
    if isinstance(value, dict):
        return any(_holds_nul(key) or _holds_nul(inner) for key, inner in value.items())
    if isinstance(value, list):
        return any(_holds_nul(inner) for inner in value)
    return False


def _kind(value: object) -> str:
    names = {list: "an array", str: "a string", bool: "a boolean", int: "a number", float: "a number"}
    return names.get(type(value), "null")
