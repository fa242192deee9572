"""Checks of the saga as a whole: the description of its input, its key, and what starts it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any

from saga_service.definitions.outline import Outline
from saga_service.definitions.problems import Violation, shown
from saga_service.definitions.schema.json_schema import types_of
from saga_service.definitions.sources.saga_source import mappings


def check_input(outline: Outline) -> Iterator[Violation]:
    """The input's description is one that can be used."""
    for path, text in outline.input_violations:
        yield ("input", *path), text


def check_triggers(outline: Outline) -> Iterator[Violation]:
    """No trigger starts the saga a second time."""
    seen: set[tuple[str, str]] = {("event_type", str(outline.content.get("name")))}
    for position, trigger in enumerate(mappings(outline.content.get("triggers"))):
        for keyword in ("event_type", "stream"):
            value = trigger.get(keyword)
            if not isinstance(value, str):
                continue
            if (keyword, value) in seen:
                text = f"is {shown(value)}, which starts this saga already; leave this trigger out"
                yield ("triggers", position, keyword), text
            seen.add((keyword, value))


def check_key(outline: Outline) -> Iterator[Violation]:
    """The key is a property of the input, and text or a whole number."""
    key, reader = outline.content.get("key"), outline.reader
    properties = _named_properties(outline.content) if reader is None else reader.stored
    if not isinstance(key, str) or properties is None:
        return
    if key not in properties:
        yield ("key",), f"must be a property of the input, but is {shown(key)}; {_likely(key, properties)}"
        return
    if reader is None:
        return
    allowed = types_of(reader.stored[key], reader.schema)
    if allowed and not allowed & {"string", "integer"}:
        yield ("key",), f"must be a property with text or a whole number, but {shown(key)} is {', '.join(allowed)}"


def _named_properties(content: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The properties of a schema that cannot be used; None where others may come from elsewhere in it."""
    schema = content.get("input")
    if not isinstance(schema, Mapping) or not schema.keys().isdisjoint(("$ref", "allOf", "anyOf", "oneOf")):
        return None
    properties = schema.get("properties")
    return properties if isinstance(properties, Mapping) else None


def _likely(key: str, properties: Mapping[str, Any]) -> str:
    # In Python a property's name may be anything; the check of the schema reports that.
    names = [str(name) for name in properties]
    close = get_close_matches(key, names, n=1)
    return f"did you mean '{close[0]}'?" if close else f"the input's properties: {', '.join(names) or 'none'}"
