"""JSON text to values and back, within limits that keep one bad message from harming others."""

from __future__ import annotations

from typing import Any

import orjson

from saga_service.wire.entries import Malformed

NESTING_MAX = 100
"""The deepest nesting, in levels. The encoder gives up at 254, and data is wrapped in some levels of the service."""


def read_object(raw: bytes, name: str, *, nesting_max: int = NESTING_MAX) -> dict[str, Any]:
    """The JSON object in the field `name`.

    Raises Malformed where it is not JSON, not an object, nested too deeply, or holds a NUL.
    """
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise Malformed(f"field '{name}' is not valid JSON: {error}") from None
    if not isinstance(value, dict):
        raise Malformed(f"field '{name}' must be a JSON object, but is {_kind(value)}")
    # Counting is cheap and settles nearly every message; only a suspicious one is looked at closely.
    if raw.count(b"[") + raw.count(b"{") > nesting_max and _is_deeper(value, nesting_max):
        raise Malformed(f"field '{name}' is nested more than {nesting_max} levels deep")
    if b"\\u0000" in raw and _holds_nul(value):
        raise Malformed(f"field '{name}' holds a NUL character (\\u0000), which cannot be stored")
    return value


def write(value: object) -> str:
    return orjson.dumps(value).decode()


def _is_deeper(value: dict[str, Any], levels: int) -> bool:
    level: list[dict[str, Any] | list[Any]] = [value]
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
