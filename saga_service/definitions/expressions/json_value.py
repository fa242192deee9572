"""A value of CEL as JSON has it.

A timestamp is text as RFC 3339 has it, a duration is text in seconds (`"5400s"`), as protobuf's JSON has both. A value
that has no place in JSON, or none in Postgres, is an error: bytes, a number that is not finite, a whole number beyond
64 bits, a key that is not text, a NUL.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from math import isfinite
from typing import Any

from saga_service.core.definition import ExpressionFailed
from saga_service.definitions.problems import shown
from saga_service.wire.json import NESTING_MAX

_INTEGER_MIN, _INTEGER_MAX = -(2**63), 2**64 - 1


def json_value(value: Any, levels: int) -> Any:
    """The value as JSON has it, its mappings in the order of their keys. Raises ExpressionFailed.

    `levels` is the number of lists and mappings that may stand within one another below the value.
    """
    match value:
        case list() | dict() if levels < 0:
            raise ExpressionFailed(f"the value is nested more than {NESTING_MAX} levels deep")
        case None | bool():
            return value
        case int():
            return _whole(value)
        case float():
            return _finite(value)
        case str():
            return _text(value)
        case list():
            return [json_value(inner, levels - 1) for inner in value]
        case dict():
            return {name: json_value(value[name], levels - 1) for name in sorted(value, key=_key)}
        case datetime():
            return _moment(value)
        case timedelta():
            return _seconds(value)
        case bytes():
            raise ExpressionFailed("the value is bytes, which JSON has no place for; write string(...)")
        case _:
            raise ExpressionFailed(f"the value is no JSON: {shown(value)}")


def _whole(value: int) -> int:
    if not _INTEGER_MIN <= value <= _INTEGER_MAX:
        raise ExpressionFailed("the value is a whole number beyond 64 bits")
    return value


def _finite(value: float) -> float:
    if not isfinite(value):
        raise ExpressionFailed(f"the value is no number that JSON has: {value}")
    return value


def _text(value: str) -> str:
    if "\x00" in value:
        raise ExpressionFailed("the value holds a NUL character (\\u0000), which cannot be stored")
    return value


def _moment(value: datetime) -> str:
    try:
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    except OverflowError as error:
        raise ExpressionFailed("the value is a moment before the year 1, or after 9999, in UTC") from error


def _key(name: object) -> str:
    if not isinstance(name, str):
        raise ExpressionFailed(
            f"the value has the key {shown(name)}, and JSON has text alone for keys; write string(...)"
        )
    return _text(name)


def _seconds(value: timedelta) -> str:
    microseconds = value // timedelta(microseconds=1)
    sign, whole, part = "-" if microseconds < 0 else "", *divmod(abs(microseconds), 1_000_000)
    return f"{sign}{whole}.{part:06}".rstrip("0").rstrip(".") + "s" if part else f"{sign}{whole}s"
