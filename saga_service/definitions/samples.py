"""Values that a JSON Schema allows: enough of them to see whether an expression fits the types."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import islice, product
from typing import Any

from saga_service.definitions.schema import is_open, item_schemas, properties_of, type_of, types_of, values_of

SAMPLES_MAX = 64
"""Of one input. Of more properties with more types than that not all combinations are tried."""
TEXT = "some text"
"""Unlike any name, so that what is looked up by it is told from what is looked up by a name that is not there."""
_DEEPEST = 6


def input_samples(schema: Mapping[str, Any], names: set[str]) -> list[dict[str, Any]] | None:
    """Inputs with these properties, of every type that each may have; None where the types of one are not known."""
    properties = properties_of(schema)
    by_name: dict[str, list[Any]] = {}
    for name in sorted(names):
        found = _samples(properties.get(name), schema, 0)
        if not found:
            return None
        by_name[name] = found
    combinations = islice(product(*by_name.values()), SAMPLES_MAX)
    return [dict(zip(by_name, values, strict=True)) for values in combinations]


def _samples(schema: Any, root: Mapping[str, Any], depth: int) -> list[Any]:
    """Nothing where a type is not known."""
    types = types_of(schema, root)
    values = values_of(schema, root)
    if not types or depth > _DEEPEST:
        return []
    seen = {type_of(value) for value in values}
    found = list(values)
    for kind in sorted(types - seen - ({"number"} if "integer" in seen else set())):
        samples = _OF_TYPE[kind](schema, root, depth)
        if not samples:
            return []
        found += samples
    return found


def _numbers(schema: Any, root: Mapping[str, Any], depth: int) -> list[Any]:
    # Reading an input makes `1.0` of a `1` where a number is asked for, but not deeper than in its own properties.
    is_read = depth == 0 and "string" not in types_of(schema, root)
    return [1.5] if is_read else [1.5, 1]


def _texts(schema: Any, root: Mapping[str, Any], depth: int) -> list[Any]:
    return ["2020-02-02T02:02:02Z" if isinstance(schema, Mapping) and schema.get("format") == "date-time" else TEXT]


def _arrays(schema: Any, root: Mapping[str, Any], depth: int) -> list[Any]:
    found: list[Any] = []
    for items in item_schemas(schema, root) or ():
        samples = _samples(items, root, depth + 1)
        if not samples:
            return []
        found += ([sample] for sample in samples)
    return found


def _objects(schema: Any, root: Mapping[str, Any], depth: int) -> list[Any]:
    properties = {name: _samples(inner, root, depth + 1) for name, inner in properties_of(schema, root).items()}
    if not properties or not all(properties.values()) or is_open(schema, root):
        return []
    # Every sample of every property once, and not all of them with all others.
    most = max(len(samples) for samples in properties.values())
    return [{name: samples[place % len(samples)] for name, samples in properties.items()} for place in range(most)]


_OF_TYPE: dict[str, Callable[[Any, Mapping[str, Any], int], list[Any]]] = {
    "integer": lambda schema, root, depth: [1],
    "number": _numbers,
    "boolean": lambda schema, root, depth: [True, False],
    "null": lambda schema, root, depth: [None],
    "string": _texts,
    "array": _arrays,
    "object": _objects,
}
