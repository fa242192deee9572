"""The numbers of a value in the types that its schema names.

JSON has one kind of number: `5` and `5.0` are the same, and an encoder writes whichever it likes. Expressions have two
kinds, which they do not mix. So a number is taken in the type that its schema asks for at that place, however it was
written. A place where both types are allowed, or that the schema does not name, keeps the number as it came.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from saga_service.definitions.problems import Path, shown
from saga_service.definitions.schema.coercion import is_written_by_python_alone
from saga_service.definitions.schema.json_schema import item_schemas, properties_of, schemas_of_others, types_of
from saga_service.wire.json import NUMBER, keeps_value

_EXACT_MAX = 2**53
"""Below it every whole number has a float of its own."""
_GROWTH_MAX = 2
"""Parts of a schema are put together where several describe one property. A schema that refers to itself in several
ways grows without end by that: what is so many times as long as the whole is not looked into."""


@dataclass(slots=True)
class DeclaredNumbers:
    """The reader of one part of a schema: its own number, and those of its properties and items."""

    is_whole: bool = False
    is_double: bool = False
    takes_no_text: bool = False
    """True where a number is asked for, and a text is none of the choices."""
    properties: dict[str, DeclaredNumbers] = field(default_factory=dict)
    items: DeclaredNumbers | None = None
    others: DeclaredNumbers | None = None
    """The reader of properties without a name in the schema. `read` keeps their numbers as they came."""

    def read(self, value: Any) -> Any:
        """The value with its numbers in the declared types; the given one itself where all have them already."""
        kind = type(value)
        if kind is float:
            return int(value) if self.is_whole and value.is_integer() and abs(value) < _EXACT_MAX else value
        if kind is int:
            return float(value) if self.is_double and abs(value) <= _EXACT_MAX else value
        if kind is list and self.items is not None:
            return self._items(value, self.items)
        return self._properties(value) if isinstance(value, Mapping) and self.properties else value

    def misread(self, value: Any) -> tuple[Path, str] | None:
        """The first value that a model would read as another number than JSON does: its path, and why; or None."""
        kind = type(value)
        if kind is dict:
            for name, inner in value.items():
                numbers = self.properties.get(name, self.others)
                if numbers is not None and (found := numbers.misread(inner)) is not None:
                    return (name, *found[0]), found[1]
        elif kind is list:
            if self.items is not None:
                for place, inner in enumerate(value):
                    if (found := self.items.misread(inner)) is not None:
                        return (place, *found[0]), found[1]
        elif (kind is str and self.takes_no_text) or (kind is int and self.is_double):
            reason = misreading(value, is_double=self.is_double)
            return None if reason is None else ((), reason)
        return None

    def _items(self, value: list[Any], items: DeclaredNumbers) -> list[Any]:
        read = [items.read(each) for each in value]
        return read if any(new is not old for new, old in zip(read, value, strict=True)) else value

    def _properties(self, value: Mapping[str, Any]) -> Mapping[str, Any]:
        changed = {
            name: read
            for name, numbers in self.properties.items()
            if name in value and (read := numbers.read(value[name])) is not value[name]
        }
        return {**value, **changed} if changed else value


def misreading(value: Any, *, is_double: bool) -> str | None:
    """The reason why a model would read a value as another number than JSON does; None where it would not.

    `is_double` is true where the model asks for a float. `Any`: a value of JSON.
    """
    if isinstance(value, str):
        if is_written_by_python_alone(value):
            return f"should be a number as JSON writes it, but is {shown(value)}"
        is_lost = is_double and NUMBER.fullmatch(value) is not None and _loses_digits(value)
    else:
        is_lost = is_double and type(value) is int and float(value) != value
    return f"{shown(value)} would lose digits as a double; ask for a Decimal or an int" if is_lost else None


def _loses_digits(number: str) -> bool:
    if not keeps_value(number):
        return True
    # What is kept as a whole number of 64 bits need be no double.
    return number.lstrip("-").isdigit() and float(number) != int(number)


def declared_numbers(schema: Mapping[str, Any]) -> DeclaredNumbers:
    """The reader of values that this schema describes."""
    return _part(schema, schema, {}, _GROWTH_MAX * len(orjson.dumps(schema)))


def _part(
    schema: Any, root: Mapping[str, Any], known: dict[bytes, DeclaredNumbers], octets_max: int
) -> DeclaredNumbers:
    text = orjson.dumps(schema, option=orjson.OPT_SORT_KEYS)
    if text in known:
        return known[text]
    part = known[text] = DeclaredNumbers()
    if len(text) > octets_max:
        return part
    types = types_of(schema, root)
    part.is_whole = "integer" in types and "number" not in types
    part.is_double = "number" in types and "integer" not in types
    part.takes_no_text = "string" not in types and not types.isdisjoint({"integer", "number"})
    inner = properties_of(schema, root)
    part.properties = {name: _part(each, root, known, octets_max) for name, each in inner.items()}
    items = item_schemas(schema, root)
    part.items = _part(items[0] if len(items) == 1 else {"anyOf": items}, root, known, octets_max) if items else None
    others = schemas_of_others(schema, root)
    part.others = _part({"anyOf": others}, root, known, octets_max) if others else None
    return part
