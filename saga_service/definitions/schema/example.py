"""One example of what a JSON Schema describes, as small as the schema allows.

`samples` has values for every type that an expression may meet. An example is one value that fits, bounds and formats
included, for whoever needs some answer and has none: the test kit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import floor
from typing import Any

from saga_service.definitions.schema.json_schema import (
    always_needed,
    item_schemas,
    properties_of,
    referred,
    types_of,
    values_of,
)

_DEEPEST = 12
_TEXTS = {
    "date-time": "2020-02-02T02:02:02Z",
    "date": "2020-02-02",
    "time": "02:02:02Z",
    "duration": "PT1H",
    "email": "someone@example.com",
    "hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uri": "https://example.com/",
    "uuid": "00000000-0000-4000-8000-000000000000",
}
_PREFERRED_TYPES = ("object", "string", "integer", "number", "boolean", "array", "null")


def example_of(schema: Mapping[str, Any]) -> Any:
    """A value for the schema: its own default or example, or the smallest one with all that it requires.

    A value for a pattern, or for conditions between properties, is a guess: validate it before it is used.
    """
    return _example(schema, schema, 0)


def _example(schema: Any, root: Mapping[str, Any], level: int) -> Any:
    whole = _joined(schema, root, level)
    given = _given(whole)
    if given is not None:
        return given[0]
    allowed = values_of(whole, root)
    if allowed:
        return allowed[0]
    types = types_of(whole, root)
    kind = next((name for name in _PREFERRED_TYPES if name in types), "string")
    return _OF_TYPE[kind](whole, root, level)


def _given(schema: Mapping[str, Any]) -> list[Any] | None:
    """The author's own example, or the default, as a list of one; None where there is neither."""
    examples = schema.get("examples")
    if isinstance(examples, list) and examples:
        return examples[:1]
    return [schema["default"]] if "default" in schema else None


def _joined(schema: Any, root: Mapping[str, Any], level: int) -> dict[str, Any]:
    """The keywords of a schema, with those that it refers to, that must hold too, and of its first choice."""
    if not isinstance(schema, Mapping) or level > _DEEPEST:
        return {}
    parts = [_joined(part, root, level + 1) for part in schema.get("allOf") or ()]
    reference = schema.get("$ref")
    if isinstance(reference, str):
        parts.append(_joined(referred(reference, root), root, level + 1))
    for word in ("anyOf", "oneOf"):
        parts += [_joined(branch, root, level + 1) for branch in (schema.get(word) or ())[:1]]
    own = {word: value for word, value in schema.items() if word not in ("allOf", "anyOf", "oneOf", "$ref")}
    joined: dict[str, Any] = {}
    for part in [*parts, own]:
        required = [*joined.get("required", ()), *part.get("required", ())]
        properties = {**joined.get("properties", {}), **part.get("properties", {})}
        joined |= part
        joined |= {"required": required} if required else {}
        joined |= {"properties": properties} if properties else {}
    return joined


def _object(schema: Any, root: Mapping[str, Any], level: int) -> dict[str, Any]:
    if level > _DEEPEST:
        return {}
    properties = properties_of(schema, root)
    needed = sorted(always_needed(schema, root), key=lambda name: (name not in properties, name))
    return {name: _example(properties.get(name), root, level + 1) for name in needed}


def _array(schema: Any, root: Mapping[str, Any], level: int) -> list[Any]:
    if level > _DEEPEST:
        return []
    places = schema.get("prefixItems") or []
    items = (item_schemas(schema, root) or [schema.get("items")])[0]
    count = schema.get("minItems", 0)
    return [_example(places[place] if place < len(places) else items, root, level + 1) for place in range(count)]


def _text(schema: Any, *_: Any) -> str:
    text = _TEXTS.get(schema.get("format"), "some text").ljust(schema.get("minLength", 0), "x")
    return text[: schema.get("maxLength", len(text))]


def _number(schema: Any, *_: Any) -> float:
    low = schema.get("exclusiveMinimum", schema.get("minimum"))
    high = schema.get("exclusiveMaximum", schema.get("maximum"))
    if low is not None and high is not None:
        return float(low + high) / 2
    return float(_integer(schema))


def _integer(schema: Any, *_: Any) -> int:
    step = schema.get("multipleOf", 1)
    low, high = schema.get("minimum"), schema.get("maximum")
    if "exclusiveMinimum" in schema:
        low = floor(schema["exclusiveMinimum"]) + 1
    if "exclusiveMaximum" in schema:
        high = -floor(-schema["exclusiveMaximum"]) - 1
    wanted = 1 if low is None and (high is None or high >= 1) else low if low is not None else high
    above = -(-wanted // step) * step
    return int(above if high is None or above <= high else wanted // step * step)


_OF_TYPE: dict[str, Callable[..., Any]] = {
    "object": _object,
    "array": _array,
    "string": _text,
    "integer": _integer,
    "number": _number,
    "boolean": lambda *_: True,
    "null": lambda *_: None,
}
