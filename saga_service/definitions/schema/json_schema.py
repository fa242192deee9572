"""JSON Schemas: as validators, and as plain data.

The plain data is asked for a schema's references, for the types that a property may have, and for a form that can be
compared with that of another schema.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from jsonschema_rs import FancyRegexOptions, Validator, validator_for

JSON_TYPES = ("integer", "number", "boolean", "null", "array", "object", "string")

PATTERN_BACKTRACKS_MAX = 20_000
"""Steps back that the match of one pattern with one text may take, less than a millisecond; then it does not match."""

_NO_MEANING = frozenset({"title", "description", "examples", "$comment", "$schema", "deprecated"})
_HOLDS_SCHEMA = frozenset(
    {"items", "additionalProperties", "not", "if", "then", "else", "contains", "propertyNames"}
    | {"unevaluatedItems", "unevaluatedProperties"}
)
_HOLDS_SCHEMAS = frozenset({"allOf", "anyOf", "oneOf", "prefixItems"})
_HOLDS_NAMED_SCHEMAS = frozenset({"properties", "patternProperties", "dependentSchemas", "$defs", "definitions"})
_DEFINITIONS = ("$defs", "definitions")
_EXACT_MAX = 2**53
"""Below it every whole number has a float of its own."""
_CONDITIONS = frozenset(
    {"if", "not", "minProperties", "dependentRequired", "dependentSchemas", "dependencies", "$dynamicRef"}
)
"""Keywords by which one property may have to be there because of another."""


def validator_of(schema: dict[str, Any]) -> Validator:
    """A validator with bounded patterns. Raises ValidationError or ReferencingError where the schema cannot be used."""
    bounded = FancyRegexOptions(backtrack_limit=PATTERN_BACKTRACKS_MAX)
    return validator_for(schema, offline=True, pattern_options=bounded)


def properties_of(schema: Any, root: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The named properties of an object, those of the schemas that it refers to or is composed of included.

    `root` is what the references are looked up in; the schema itself by default.
    """
    found: dict[str, Any] = {}
    for part in _parts(schema, schema if root is None else root, frozenset()):
        for name, inner in (part.get("properties") or {}).items():
            found[name] = {"anyOf": [found[name], inner]} if name in found else inner
    return found


def may_lack(schema: Any, name: str, root: Mapping[str, Any]) -> bool:
    """True if an object that fits may lack this property. Where that depends on other properties, it counts as no."""
    parts = list(_parts(schema, root, frozenset()))
    return not any(name in (part.get("required") or ()) or not _CONDITIONS.isdisjoint(part) for part in parts)


def always_needed(schema: Any, root: Mapping[str, Any]) -> frozenset[str]:
    """The properties without which no object fits."""
    return frozenset(name for part in _all_held(schema, root) for name in part.get("required") or ())


def is_closed(schema: Any, root: Mapping[str, Any]) -> bool:
    """True if an object can have no properties but the named ones."""
    keywords = ("additionalProperties", "unevaluatedProperties")
    parts = list(_all_held(schema, root))
    is_any_pattern = any("patternProperties" in part for part in _parts(schema, root, frozenset()))
    return not is_any_pattern and any(part.get(keyword) is False for part in parts for keyword in keywords)


def alternatives(schema: Any, root: Mapping[str, Any], seen: frozenset[str] = frozenset()) -> list[Any] | None:
    """The schemas of which a value fits one, none of them a choice itself.

    None where other keywords stand beside the choice, which cannot be joined with each branch.
    """
    if not isinstance(schema, Mapping):
        return [schema]
    beside = schema.keys() - _NO_MEANING - {"$ref", "anyOf", "oneOf", "default", "discriminator", *_DEFINITIONS}
    reference = schema.get("$ref")
    if isinstance(reference, str) and not beside:
        return [] if reference in seen else alternatives(referred(reference, root), root, seen | {reference})
    branches = [*(schema.get("anyOf") or ()), *(schema.get("oneOf") or ())]
    if branches and beside <= {"type"}:
        of_type = {word: schema[word] for word in beside}
        of_branches = ({**of_type, **branch} for branch in branches if isinstance(branch, Mapping))
        expanded = [alternatives(branch, root, seen) for branch in of_branches]
        return None if None in expanded else [leaf for leaves in expanded for leaf in leaves or ()]
    return None if any(properties_of(branch, root) for branch in branches) else [schema]


def is_open(schema: Any, root: Mapping[str, Any]) -> bool:
    """True if a schema describes properties without naming them."""
    keywords = ("additionalProperties", "unevaluatedProperties")
    return any(
        "patternProperties" in part or any(isinstance(part.get(keyword), Mapping) for keyword in keywords)
        for part in _parts(schema, root, frozenset())
    )


def schemas_of_others(schema: Any, root: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The schemas of an object's properties that it does not name."""
    given = (part.get("additionalProperties") for part in _parts(schema, root, frozenset()))
    return [others for others in given if isinstance(others, Mapping)]


def item_schemas(schema: Any, root: Mapping[str, Any]) -> list[Any] | None:
    """The schemas of an array's items; None where there is none, or where they differ by place."""
    parts = list(_parts(schema, root, frozenset()))
    if any("prefixItems" in part for part in parts):
        return None
    return [part["items"] for part in parts if isinstance(part.get("items"), Mapping)] or None


def _all_held(schema: Any, root: Mapping[str, Any], seen: frozenset[str] = frozenset()) -> Iterator[Mapping[str, Any]]:
    """The schema, and every one that must hold with it by `$ref` and `allOf`."""
    if not isinstance(schema, Mapping):
        return
    yield schema
    reference = schema.get("$ref")
    if isinstance(reference, str) and reference not in seen:
        yield from _all_held(referred(reference, root), root, seen | {reference})
    for part in schema.get("allOf") or ():
        yield from _all_held(part, root, seen)


def _parts(schema: Any, root: Mapping[str, Any], seen: frozenset[str]) -> Iterator[Mapping[str, Any]]:
    """The schema, and every one that it stands for by `$ref`, `allOf`, `anyOf` or `oneOf`."""
    if not isinstance(schema, Mapping):
        return
    yield schema
    reference = schema.get("$ref")
    if isinstance(reference, str) and reference not in seen:
        yield from _parts(referred(reference, root), root, seen | {reference})
    for word in ("allOf", "anyOf", "oneOf"):
        for part in schema.get(word) or ():
            yield from _parts(part, root, seen)


def referred(reference: str, root: Mapping[str, Any]) -> Any:
    """The schema at a local reference such as `#/$defs/Item`; None where there is none."""
    found: Any = root
    for part in reference.removeprefix("#").split("/")[1:]:
        if not isinstance(found, Mapping):
            return None
        found = found.get(part.replace("~1", "/").replace("~0", "~"))
    return found if reference.startswith("#") else None


def types_of(schema: Any, root: Mapping[str, Any]) -> frozenset[str]:
    """The JSON types that a value may have; empty where the schema does not say."""
    found: set[str] = set()
    for part in _parts(schema, root, frozenset()):
        named = part.get("type")
        found.update([named] if isinstance(named, str) else named or ())
        found.update(type_of(value) for value in values_of(part, root, deep=False))
    return frozenset(found)


def values_of(schema: Any, root: Mapping[str, Any], *, deep: bool = True) -> list[Any]:
    """The values that `enum` and `const` allow."""
    parts = _parts(schema, root, frozenset()) if deep else iter([schema])
    found: list[Any] = []
    for part in parts:
        found += part.get("enum") or ()
        if "const" in part:
            found.append(part["const"])
    return found


def type_of(value: object) -> str:
    """The JSON type of a value as Python holds it."""
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int():
            return "integer"
        case float():
            return "number"
        case str():
            return "string"
        case list():
            return "array"
        case _:
            return "object"


def fits_types(value: Any, schema: Any, root: Mapping[str, Any]) -> bool:
    """True if the value, and all that is in it, has a type that the schema allows, as far as the schema says which."""
    allowed = types_of(schema, root)
    if allowed and not _types_like(value) & allowed:
        return False
    if isinstance(value, Mapping):
        properties = properties_of(schema, root)
        return all(fits_types(inner, properties.get(name), root) for name, inner in value.items())
    if isinstance(value, list):
        items = item_schemas(schema, root) or [None]
        return all(any(fits_types(inner, item, root) for item in items) for inner in value)
    return True


def _types_like(value: Any) -> set[str]:
    """The types that the value counts as: a whole number is a number, however it is written."""
    kind = type_of(value)
    is_whole = kind == "integer" or (kind == "number" and float(value).is_integer())
    return {kind} | ({"integer", "number"} if is_whole else set())


def canonical_numbers(value: Any) -> Any:
    """The value with `2` for `2.0`: JSON does not tell them apart."""
    match value:
        case float() if value.is_integer() and abs(value) < _EXACT_MAX:
            return int(value)
        case dict():
            return {name: canonical_numbers(inner) for name, inner in value.items()}
        case list() | tuple():
            return [canonical_numbers(inner) for inner in value]
        case _:
            return value


def comparable(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema without what only people read, its references put in place and its sets in order.

    So a pydantic model's schema and one written by hand come out equal where they mean the same. Only a schema that
    refers to itself stays a reference.
    """
    plain: dict[str, Any] = _comparable(schema, schema)
    definitions = {word: plain.pop(word) for word in _DEFINITIONS if word in plain}
    needed = _reachable(plain, definitions)
    for word, named in definitions.items():
        kept = {name: inner for name, inner in named.items() if f"#/{word}/{name}" in needed}
        plain |= {word: kept} if kept else {}
    return plain


def _comparable(schema: Any, root: Mapping[str, Any]) -> Any:
    if not isinstance(schema, Mapping):
        return schema
    beside = {word for word in schema if word not in _NO_MEANING} - {"$ref", "default"}
    reference = schema.get("$ref")
    if isinstance(reference, str) and not beside:
        target = referred(reference, root)
        if isinstance(target, Mapping) and reference not in _reachable(target, root):
            default = {"default": schema["default"]} if "default" in schema else {}
            return {**_comparable(target, root), **default}
    return {
        word: _comparable_value(word, value, root)
        for word, value in sorted(schema.items())
        if word not in _NO_MEANING and not _says_nothing(word, value)
    }


def _comparable_value(word: str, value: Any, root: Mapping[str, Any]) -> Any:
    if word in _HOLDS_SCHEMA:
        return _comparable(value, root)
    if word in _HOLDS_SCHEMAS and isinstance(value, list):
        return [_comparable(part, root) for part in value]
    if word in _HOLDS_NAMED_SCHEMAS and isinstance(value, Mapping):
        return {name: _comparable(part, root) for name, part in sorted(value.items())}
    if word in ("required", "type") and isinstance(value, list):
        return sorted(value)
    return value


def _says_nothing(word: str, value: Any) -> bool:
    return (word == "additionalProperties" and value is True) or (word == "required" and value == [])


def _reachable(schema: Any, root: Mapping[str, Any]) -> set[str]:
    """Every reference in the schema, or in a schema that one of them refers to."""
    found: set[str] = set()
    left = list(_references(schema))
    while left:
        reference = left.pop()
        if reference not in found:
            found.add(reference)
            left += _references(referred(reference, root))
    return found


def _references(schema: Any) -> Iterator[str]:
    if isinstance(schema, Mapping):
        if isinstance(schema.get("$ref"), str):
            yield schema["$ref"]
        for inner in schema.values():
            yield from _references(inner)
    elif isinstance(schema, list):
        for inner in schema:
            yield from _references(inner)
