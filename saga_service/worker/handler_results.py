"""What a handler returns, as the JSON object that is sent.

A result is written as JSON text, and the text is read again as the service will read it. So nothing is lost on the way:
a number that is not finite, a number that would lose digits, and two keys that become one are refused.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import fields, is_dataclass
from math import isfinite
from typing import Any

from pydantic import BaseModel
from pydantic_core import to_json

from saga_service.wire.entries import Malformed
from saga_service.wire.json import NotJson, read_object

_NOT_FINITE = "the result cannot be written as JSON: a number is not finite"


class InvalidResult(Exception):
    """A handler's result cannot be sent; the text says why."""


def json_object(result: object) -> dict[str, Any]:
    """Return the JSON object that a result becomes. Raises InvalidResult. `Any`: values of JSON."""
    if result is None:
        return {}
    if not isinstance(result, (BaseModel, Mapping)):
        raise InvalidResult(f"a result is a pydantic model, a mapping, or None, but is of type {type(result).__name__}")
    try:
        text = _json_text(result)
        # A model writes a number that is not finite as null.
        is_finite = b"null" not in text or _is_finite(result)
    except Exception as error:  # noqa: BLE001  # the model's serializers are the author's
        raise InvalidResult(f"the result cannot be written as JSON: {_text_of(error)}") from None
    if not is_finite:
        raise InvalidResult(_NOT_FINITE)
    if not text.startswith(b"{"):
        raise InvalidResult(f"a result must be a JSON object, but {type(result).__name__} becomes another value")
    try:
        return read_object(text, "result")
    except NotJson:
        raise InvalidResult(_NOT_FINITE) from None
    except Malformed as error:
        raise InvalidResult(f"the result cannot be sent: {error}") from None


def _json_text(result: BaseModel | Mapping[Any, Any]) -> bytes:
    # By alias, as a declared output is described, and as models inside a mapping are written.
    if isinstance(result, BaseModel):
        return result.model_dump_json(by_alias=True).encode()
    return to_json(result, inf_nan_mode="constants")


def _is_finite(value: object) -> bool:
    match value:
        case float():
            return isfinite(value)
        case BaseModel():
            return _is_finite(value.model_dump())
        case Mapping():
            return _are_finite(value.values())
        case str():
            return True
        case Collection():
            return _are_finite(value)
        case _ if is_dataclass(value) and not isinstance(value, type):
            return _are_finite(getattr(value, field.name) for field in fields(value))
        case _:
            return True


def _are_finite(values: Iterable[object]) -> bool:
    return all(_is_finite(value) for value in values)


def _text_of(error: Exception) -> str:
    return str(error) or type(error).__name__
