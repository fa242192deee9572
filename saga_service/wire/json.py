"""JSON text to values and back, within limits that keep one bad message from harming the rest."""

from __future__ import annotations

from typing import Any

import orjson

from saga_service.wire.entries import Malformed

NESTING_MAX = 100
"""Levels. The encoder gives up at 254, and an author's data is wrapped in some levels of ours."""


def read_object(raw: bytes, name: str) -> dict[str, Any]:
    """The JSON object in the field `name`.

    Raises Malformed where it is not JSON, not an object, nested too deeply, or holds a NUL.
    """
    _check_nesting(raw, name)
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise Malformed(f"field '{name}' is not valid JSON: {error}") from None
    if not isinstance(value, dict):
        raise Malformed(f"field '{name}' must be a JSON object, but is {_kind(value)}")
    if b"\\u0000" in raw and _holds_nul(value):
        raise Malformed(f"field '{name}' holds a NUL character (\\u0000), which cannot be stored")
    return value


def write(value: object) -> str:
    return orjson.dumps(value).decode()


def _check_nesting(raw: bytes, name: str) -> None:
    # Counting is cheap and settles nearly every message; only a suspicious one is looked at bracket by bracket.
    if raw.count(b"[") + raw.count(b"{") <= NESTING_MAX:
        return
    depth, in_string, escaped = 0, False, False
    for byte in raw:
        if in_string:
            if escaped:
                escaped = False
            elif byte == 0x5C:
                escaped = True
            elif byte == 0x22:
                in_string = False
        elif byte == 0x22:
            in_string = True
        elif byte in b"[{":
            depth += 1
            if depth > NESTING_MAX:
                raise Malformed(f"field '{name}' is nested more than {NESTING_MAX} levels deep")
        elif byte in b"]}":
            depth -= 1


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
