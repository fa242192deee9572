"""The description of an object that an author writes, a pydantic model or a JSON Schema, to what the service uses.

An `input` becomes a reader of inputs (`inputs.Input`), an `output` a schema of outputs (`outputs.OutputSchema`). Both
come from the same two kinds of description, and are checked in the same way first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from typing import Any, TypeVar

import orjson
from jsonschema_rs import Draft202012Validator, ReferencingError, ValidationError
from pydantic import BaseModel
from pydantic.errors import PydanticUserError
from pydantic.json_schema import JsonSchemaMode

from saga_service.definitions.problems import Violation, shown
from saga_service.definitions.schema.inputs import Input, ModelInput, SchemaInput
from saga_service.definitions.schema.json_schema import JSON_TYPES, types_of
from saga_service.definitions.schema.outputs import OutputSchema, output_schema
from saga_service.wire.commands import OUTPUTS_FIELD

_DRAFT_DEFAULT = "https://json-schema.org/draft/2020-12/schema"
_ANY_OBJECT: dict[str, Any] = {"type": "object"}


_Use = TypeVar("_Use", Input, OutputSchema)


def read_input_source(description: object) -> tuple[Input | None, list[Violation]]:
    """The reader of the input, and all that is wrong with its description. Without a description any object fits."""
    if description is None:
        return SchemaInput(_ANY_OBJECT), []
    of_model: Callable[[type[BaseModel]], Input] = ModelInput
    reader, violations = _read(description, "an input", "validation", of_model, SchemaInput)
    return (None, violations) if reader is None else (reader, list(_input_violations(reader)))


def read_output_source(description: object) -> tuple[OutputSchema | None, list[Violation]]:
    """The schema that outputs must fit, or all that is wrong with its description."""
    # A model is described as it goes over the wire. A field with a default may be left out there: a worker need not be
    # written in Python.
    schema, violations = _read(description, "an output", "serialization", _output_of_model, output_schema)
    return (None, violations) if schema is None else (schema, list(schema.misfit_defaults()))


def _output_of_model(model: type[BaseModel]) -> OutputSchema:
    return output_schema(model.model_json_schema(mode="serialization"))


def _input_violations(reader: Input) -> Iterator[Violation]:
    if OUTPUTS_FIELD in reader.stored:
        path = ("properties", OUTPUTS_FIELD)
        yield path, "is reserved for the results of earlier steps; give the property another name"
    elif isinstance(reader, SchemaInput):
        yield from ((path, f"does not fit its own property: {text}") for path, text in reader.misfit_defaults())


def _read(
    description: object,
    called: str,
    mode: JsonSchemaMode,
    of_model: Callable[[type[BaseModel]], _Use],
    of_schema: Callable[[dict[str, Any]], _Use],
) -> tuple[_Use | None, list[Violation]]:
    if isinstance(description, type) and issubclass(description, BaseModel):
        return _read_model(description, mode, of_model)
    if isinstance(description, Mapping):
        return _read_schema(description, called, of_schema)
    return None, [((), f"must be a JSON Schema or a pydantic model class, but is {shown(description)}")]


def _read_model(
    model: type[BaseModel], mode: JsonSchemaMode, of_model: Callable[[type[BaseModel]], _Use]
) -> tuple[_Use | None, list[Violation]]:
    try:
        schema = model.model_json_schema(mode=mode)
        if types_of(schema, schema) - {"object"}:
            return None, [((), f"must be a model with named fields, but {model.__name__} is none")]
        return of_model(model), []
    except PydanticUserError as error:
        return None, [((), f"the model {model.__name__} cannot be described as a JSON Schema: {error.message}")]


def _read_schema(
    description: Mapping[str, Any], called: str, of_schema: Callable[[dict[str, Any]], _Use]
) -> tuple[_Use | None, list[Violation]]:
    try:
        schema = orjson.loads(orjson.dumps(dict(description)))
    except TypeError as error:
        return None, [((), f"must be plain JSON: {error}")]
    violations = list(_schema_violations(schema, called))
    if violations:
        return None, violations
    try:
        return of_schema({**_ANY_OBJECT, **schema}), []
    except (ValidationError, ReferencingError) as error:
        return None, [((), f"is a JSON Schema that cannot be used: {error.message}")]


def _schema_violations(schema: dict[str, Any], called: str) -> Iterator[Violation]:
    if schema.get("type", "object") != "object":
        yield ("type",), f"must be 'object', since {called} has named properties, but is {shown(schema['type'])}"
        return
    try:
        meta = Draft202012Validator({"$ref": schema.get("$schema", _DRAFT_DEFAULT)}, offline=True)
        yield from ((tuple(error.instance_path), _text(error)) for error in meta.iter_errors(schema))
    except (ValidationError, ReferencingError) as error:
        yield ("$schema",), f"names no draft of JSON Schema that is known here: {error.message}"


def _text(error: ValidationError) -> str:
    at_type = error.instance_path[-1:] == ["type"]
    if at_type and isinstance(error.instance, str):
        close = get_close_matches(error.instance, JSON_TYPES, n=1)
        hint = f"did you mean '{close[0]}'?" if close else f"known: {', '.join(JSON_TYPES)}"
        return f"is no type of JSON Schema: {shown(error.instance)}; {hint}"
    return error.message
