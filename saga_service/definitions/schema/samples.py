"""Sample values that a JSON Schema allows: enough of them to see whether an expression fits the types.

`UNKNOWN` stands for a value of which nothing is known. A property that may be missing is missing in some samples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any, Final, NamedTuple

from saga_service.definitions.schema.json_schema import (
    alternatives,
    is_open,
    item_schemas,
    may_lack,
    properties_of,
    type_of,
    types_of,
    values_of,
)

SAMPLES_MAX = 64
"""Samples of one object. Beyond that, not all combinations of its properties' types are tried."""
TEXT = "some text"
"""The sample of a text. It is unlike any name, so that a look-up by it is told from one by a name that is missing."""
UNKNOWN: Final = object()
_MISSING: Final = object()
_DEEPEST = 6

Paths = Sequence[tuple[str | None, ...]]
"""The paths to the parts of a value that are used. An empty path uses all of it, one that ends with None only tests
whether the part is there."""


class Samples(NamedTuple):
    """Samples of one value."""

    values: list[Any]
    are_all: bool
    """True if every type of each part occurs together with every type of each other part."""


@dataclass(slots=True)
class _Drawing:
    schema: Mapping[str, Any]
    is_thinned: bool = False


def samples_of(schema: Mapping[str, Any], paths: Paths) -> Samples:
    """Samples of a value that fits the schema, with every type that the parts at these paths may have."""
    drawing = _Drawing(schema)
    values = _samples(schema, drawing, 0, paths)
    return Samples(values, not drawing.is_thinned)


def input_samples(schema: Mapping[str, Any], names: Iterable[str]) -> list[dict[str, Any]]:
    """Inputs with all of these properties; none where the types of one are not known."""
    wanted = set(names)
    if not wanted:
        return [{}]
    found = samples_of(schema, [(name,) for name in wanted]).values
    return [sample for sample in found if not is_unknown(sample) and wanted <= sample.keys()]


def is_unknown(value: Any) -> bool:
    """True if nothing is known of the value, or of something in it."""
    match value:
        case Mapping():
            return any(is_unknown(inner) for inner in value.values())
        case list():
            return any(is_unknown(inner) for inner in value)
        case _:
            return value is UNKNOWN


def _samples(schema: Any, drawing: _Drawing, level: int, paths: Paths) -> list[Any]:
    used = [path for path in paths if path != (None,)]
    leaves = alternatives(schema, drawing.schema)
    if leaves is None or not used or level > _DEEPEST:
        return [UNKNOWN]
    return [sample for leaf in leaves for sample in _of_leaf(leaf, drawing, level, used)] or [UNKNOWN]


def _of_leaf(schema: Any, drawing: _Drawing, level: int, paths: Paths) -> list[Any]:
    types = types_of(schema, drawing.schema)
    found = list(values_of(schema, drawing.schema))
    seen = {type_of(value) for value in found}
    for kind in sorted(types - seen - ({"number"} if "integer" in seen else set())):
        found += _OF_TYPE[kind](schema, drawing, level, paths)
    return found or [UNKNOWN]


def _texts(schema: Any, *_: Any) -> list[Any]:
    return ["2020-02-02T02:02:02Z" if isinstance(schema, Mapping) and schema.get("format") == "date-time" else TEXT]


def _arrays(schema: Any, drawing: _Drawing, level: int, _: Paths) -> list[Any]:
    items = item_schemas(schema, drawing.schema) or [None]
    found = [sample for inner in items for sample in _samples(inner, drawing, level + 1, [()])]
    return [UNKNOWN] if any(is_unknown(sample) for sample in found) else [[sample] for sample in found]


def _objects(schema: Any, drawing: _Drawing, level: int, paths: Paths) -> list[Any]:
    if all(paths):
        return _partial(schema, drawing, level, paths)
    properties = properties_of(schema, drawing.schema)
    if not properties or is_open(schema, drawing.schema):
        return [UNKNOWN]
    by_name: dict[str, list[Any]] = {}
    for name, inner in properties.items():
        by_name[name] = _samples(inner, drawing, level + 1, [()])
        if is_unknown(by_name[name]):
            return [UNKNOWN]
    whole = _each_once(by_name)
    lacked = (name for name in by_name if may_lack(schema, name, drawing.schema))
    return whole + [{name: whole[0][name] for name in by_name if name != lacking} for lacking in lacked]


def _partial(schema: Any, drawing: _Drawing, level: int, paths: Paths) -> list[Any]:
    """Objects with no more than what is used of them, in all combinations where these are not too many."""
    properties = properties_of(schema, drawing.schema)
    names = {path[0] for path in paths}
    if not names <= properties.keys():
        return [UNKNOWN]
    by_name: dict[str, list[Any]] = {}
    for name in sorted(properties.keys() & names):
        further = [path[1:] for path in paths if path[0] == name]
        by_name[name] = _samples(properties[name], drawing, level + 1, further)
        if may_lack(schema, name, drawing.schema):
            by_name[name].append(_MISSING)
    if prod(map(len, by_name.values())) > SAMPLES_MAX:
        drawing.is_thinned = True
        return [_without_missing(sample) for sample in _each_once(by_name)]
    combinations = (dict(zip(by_name, values, strict=True)) for values in product(*by_name.values()))
    return [_without_missing(sample) for sample in combinations]


def _each_once(by_name: Mapping[str, list[Any]]) -> list[dict[str, Any]]:
    """Objects in which every sample of every property occurs, but not together with every other."""
    most = max(len(samples) for samples in by_name.values())
    return [{name: samples[place % len(samples)] for name, samples in by_name.items()} for place in range(most)]


def _without_missing(sample: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in sample.items() if value is not _MISSING}


_OF_TYPE: dict[str, Callable[[Any, _Drawing, int, Paths], list[Any]]] = {
    "integer": lambda schema, drawing, level, paths: [1],
    "number": lambda schema, drawing, level, paths: [1.5],
    "boolean": lambda schema, drawing, level, paths: [True, False],
    "null": lambda schema, drawing, level, paths: [None],
    "string": _texts,
    "array": _arrays,
    "object": _objects,
}
