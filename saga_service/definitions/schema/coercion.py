"""Coercion of text to values by a JSON Schema: a stream's flat fields have no types of their own.

The schema says what a text may be. A value of an enumeration becomes that value. Where any text is allowed, it stays
text; otherwise it becomes the first of integer, number, boolean, null, array and object that it can be read as. A text
that can be read as none of them stays as it is, and validation then says what is wrong with it. Numbers are written as
in JSON: `1_000`, `+5`, `007` and `inf` are texts. Booleans are read as pydantic reads them in its lax mode, so that an
input is accepted or refused alike whether it is described by a pydantic model or by a JSON Schema.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import orjson
from pydantic import AllowInfNan, Field, TypeAdapter, ValidationError

from saga_service.definitions.schema.json_schema import properties_of, type_of, types_of, values_of
from saga_service.wire.json import INTEGER_MAX, INTEGER_MIN, NUMBER, NotJson, read_json

_UNREADABLE = object()

_NUMBERS: dict[str, TypeAdapter[Any]] = {
    "integer": TypeAdapter(Annotated[int, Field(ge=INTEGER_MIN, le=INTEGER_MAX)]),
    "number": TypeAdapter(Annotated[float, AllowInfNan(False)]),
    "boolean": TypeAdapter(bool),
}
_ORDER = ("integer", "number", "boolean", "null", "array", "object")


@dataclass(frozen=True, slots=True)
class Coercion:
    """The reading of one property's value. A property that may be any text, or anything, has none."""

    types: tuple[str, ...]
    texts: Mapping[str, Any]
    """The values of an enumeration, by their text."""

    def from_text(self, name: str, text: str) -> Any:
        """The value that a flat field's text stands for, or the text itself.

        Raises Malformed where a part of the value would be lost.
        """
        if text in self.texts:
            return self.texts[text]
        for kind in self.types:
            value = _FROM_TEXT[kind](name, text)
            if value is not _UNREADABLE:
                return value
        return text

    def from_json(self, name: str, value: Any) -> Any:
        """The value in a type that the schema allows, such as 2 for `"2"`; the value itself where there is none.

        Raises Malformed where a part of the value would be lost.
        """
        if type_of(value) in self.types:
            return value
        for wanted in self.types:
            if wanted in _NUMBERS:
                converted = _number(name, wanted, value)
                if converted is not _UNREADABLE:
                    return converted
        return value


def coercions(schema: Mapping[str, Any]) -> dict[str, Coercion]:
    """The coercion of every property that cannot be any text, by name."""
    found: dict[str, Coercion] = {}
    for name, inner in properties_of(schema).items():
        allowed = types_of(inner, schema)
        values = values_of(inner, schema)
        if "string" not in allowed:
            types = tuple(kind for kind in _ORDER if kind in allowed)
        elif any(not isinstance(value, str) for value in values):
            types = ()
        else:
            continue
        if types or values:
            found[name] = Coercion(types, _texts(values))
    return found


def _texts(values: list[Any]) -> dict[str, Any]:
    """Each value by its text. A text goes before another value that is written in the same way."""
    written = {orjson.dumps(value).decode(): value for value in values}
    return written | {value: value for value in values if isinstance(value, str)}


def is_written_by_python_alone(text: str) -> bool:
    """True if Python reads the text as a number, and JSON could not hold it: `1_000`, ` 5`, `+5`, `007`, `inf`."""
    if NUMBER.fullmatch(text):
        return False
    try:
        float(text)
    except ValueError:
        return False
    return True


def _number(name: str, kind: str, value: Any) -> Any:
    if isinstance(value, str) and kind != "boolean":
        if not NUMBER.fullmatch(value):
            return _UNREADABLE
        value = read_json(value.encode(), name)
    try:
        converted = _NUMBERS[kind].validate_python(value)
    except ValidationError:
        return _UNREADABLE
    # A whole number that no double holds stays as it is, for it is a number as well.
    return value if kind == "number" and converted != value else converted


def _null(_: str, text: str) -> Any:
    return None if text in ("", "null") else _UNREADABLE


def _json(opening: str) -> Callable[[str, str], Any]:
    def read(name: str, text: str) -> Any:
        if not text.lstrip().startswith(opening):
            return _UNREADABLE
        try:
            return read_json(text.encode(), name)
        except NotJson:
            return _UNREADABLE

    return read


_FROM_TEXT: dict[str, Callable[[str, str], Any]] = {
    "integer": lambda name, text: _number(name, "integer", text),
    "number": lambda name, text: _number(name, "number", text),
    "boolean": lambda name, text: _number(name, "boolean", text),
    "null": _null,
    "array": _json("["),
    "object": _json("{"),
}
