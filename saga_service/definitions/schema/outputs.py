"""The schema of a step's output: what its action returns, or the data of the signal that it waits for.

Every output is read by it while sagas run. It is kept with the defaults of the properties that were left out, and with
numbers in the declared types. Texts are no numbers: a worker, or who signals, knows the types of what it sends.

The text of a misfit ends up in dead letters and logs, and the answer may have come encrypted. So the text has names
that the schema has, and what the schema asks for there, and nothing of the answer itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import orjson
from jsonschema_rs import ValidationError, ValidationErrorKind, Validator

from saga_service.core.definition import OutputMisfit
from saga_service.core.state import JsonObject
from saga_service.definitions.problems import SHOWN_CHARACTERS_MAX, Path, path_text
from saga_service.definitions.schema.json_schema import canonical_numbers, comparable, validator_of
from saga_service.definitions.schema.numbers import DeclaredNumbers, declared_numbers

PROBLEMS_SHOWN_MAX = 5


@dataclass(frozen=True, slots=True)
class OutputSchema:
    """A JSON Schema of outputs. Fulfils `core.definition.Shape`. Two are equal when their schemas are."""

    canonical: bytes
    schema: JsonObject = field(compare=False, repr=False)
    """The schema in the form that can be compared, which is also the one that is stored."""
    validator: Validator = field(compare=False, repr=False)
    numbers: DeclaredNumbers = field(compare=False, repr=False)
    defaults: JsonObject = field(compare=False, repr=False)
    """The values that are filled in for properties that are left out."""

    @property
    def kept_schema(self) -> JsonObject:
        """The schema of an output as it is kept: a property with a default is always there."""
        return {**self.schema, "required": sorted({*self.schema.get("required", ()), *self.defaults})}

    def read(self, output: Mapping[str, Any]) -> Mapping[str, Any]:
        filled = {**self.defaults, **output} if self.defaults else output
        read: Mapping[str, Any] = self.numbers.read(filled)
        # Looking for all errors takes longer, and nearly every answer has none.
        if not self.validator.is_valid(read):
            errors = islice(self.validator.iter_errors(read), PROBLEMS_SHOWN_MAX)
            raise OutputMisfit("; ".join(dict.fromkeys(_problem(error, self.schema) for error in errors)))
        return read

    def misfit_defaults(self) -> Iterator[tuple[Path, str]]:
        """The defaults that do not fit their own properties: the path of each, and why."""
        for error in self.validator.iter_errors(self.numbers.read(self.defaults)):
            if error.instance_path:
                name = str(error.instance_path[0])
                yield ("properties", name, "default"), f"does not fit its own property: {_problem(error, self.schema)}"


def output_schema(schema: Mapping[str, Any]) -> OutputSchema:
    """Raises ValueError where the schema cannot be used."""
    plain: dict[str, Any] = canonical_numbers(comparable(schema))
    validator = validator_of(plain)
    defaults = {
        name: inner["default"]
        for name, inner in plain.get("properties", {}).items()
        if isinstance(inner, Mapping) and "default" in inner
    }
    canonical = orjson.dumps(plain, option=orjson.OPT_SORT_KEYS)
    return OutputSchema(canonical, plain, validator, declared_numbers(plain), defaults)


def _problem(error: ValidationError, schema: JsonObject) -> str:
    kind, path = error.kind, tuple(error.instance_path)
    if isinstance(kind, ValidationErrorKind.Required):
        return f"{_declared((*path, kind.property), schema)} is missing"
    return f"{_declared(path, schema) if path else 'it'} {_asked_for(tuple(error.schema_path), schema)}"


def _declared(path: Path, schema: JsonObject) -> str:
    """The path in the schema's own names. Any other name may be part of the data, and is left out."""
    names = set(_property_names(schema))
    return path_text(tuple(part if isinstance(part, int) or part in names else "…" for part in path))


def _property_names(schema: object) -> Iterator[str]:
    if isinstance(schema, Mapping):
        yield from schema.get("properties") or ()
        for inner in schema.values():
            yield from _property_names(inner)
    elif isinstance(schema, list):
        for inner in schema:
            yield from _property_names(inner)


def _asked_for(way: Path, schema: JsonObject) -> str:
    """The text about what the schema asks for at the end of this way through it."""
    keyword, value = (way[-1] if way else "schema"), _at(way, schema)
    match keyword, value:
        case "type", str():
            return f"must be {value}"
        case "type", list():
            return f"must be {' or '.join(value)}"
        case "additionalProperties" | "unevaluatedProperties", False:
            return "has a property that the schema does not name"
        case _:
            text = orjson.dumps(value).decode()
            shortened = text if len(text) <= SHOWN_CHARACTERS_MAX else f"{text[:SHOWN_CHARACTERS_MAX]}…"
            return f"must fit '{keyword}': {shortened}"


def _at(way: Path, schema: JsonObject) -> Any:
    found: Any = schema
    for part in way:
        try:
            found = found[part]
        except (KeyError, IndexError, TypeError):
            return None
    return found
