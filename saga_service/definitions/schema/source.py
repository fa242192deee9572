"""An author's schema of an object, a pydantic model or a JSON Schema, to what is made of it, or to what is wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from typing import Any, TypeVar

import orjson
from jsonschema_rs import Draft202012Validator, ReferencingError, ValidationError
from pydantic import BaseModel
from pydantic.errors import PydanticUserError

from saga_service.definitions.problems import Path, shown
from saga_service.definitions.schema.inputs import Input, ModelInput, SchemaInput
from saga_service.definitions.schema.json_schema import JSON_TYPES, types_of
from saga_service.definitions.schema.outputs import SchemaShape, schema_shape
from saga_service.wire.commands import OUTPUTS_FIELD

_DRAFT_DEFAULT = "https://json-schema.org/draft/2020-12/schema"
ANY_OBJECT: dict[str, Any] = {"type": "object"}

Wrong = tuple[Path, str]
Read = TypeVar("Read")


def read_schema_source(
    written: object,
    called: str,
    of_model: Callable[[type[BaseModel]], tuple[Read, Mapping[str, Any]]],
    of_schema: Callable[[dict[str, Any]], Read],
) -> tuple[Read | None, list[Wrong]]:
    """What is made of it. `of_model` gives the model's schema as well."""
    if isinstance(written, type) and issubclass(written, BaseModel):
        return _of_model(written, of_model)
    if isinstance(written, Mapping):
        return _of_schema(written, called, of_schema)
    return None, [((), f"must be a JSON Schema or a pydantic model class, but is {shown(written)}")]


def _of_model(
    model: type[BaseModel], read: Callable[[type[BaseModel]], tuple[Read, Mapping[str, Any]]]
) -> tuple[Read | None, list[Wrong]]:
    try:
        found, schema = read(model)
    except PydanticUserError as error:
        return None, [((), f"the model {model.__name__} cannot be described as a JSON Schema: {error.message}")]
    if types_of(schema, schema) - {"object"}:
        return None, [((), f"must be a model with named fields, but {model.__name__} is none")]
    return found, []


def _of_schema(
    written: Mapping[str, Any], called: str, read: Callable[[dict[str, Any]], Read]
) -> tuple[Read | None, list[Wrong]]:
    try:
        schema = orjson.loads(orjson.dumps(dict(written)))
    except TypeError as error:
        return None, [((), f"must be plain JSON: {error}")]
    wrong = list(_wrong_schema(schema, called))
    if wrong:
        return None, wrong
    try:
        return read({**ANY_OBJECT, **schema}), []
    except (ValidationError, ReferencingError) as error:
        return None, [((), f"is a JSON Schema that cannot be used: {error.message}")]


def _wrong_schema(schema: dict[str, Any], called: str) -> Iterator[Wrong]:
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


# MERGED from definitions.input_source:
# An author's `input`, a pydantic model or a JSON Schema, to what reads a saga's input.


def read_input_source(written: object) -> tuple[Input | None, list[Wrong]]:
    """What reads the input, or all that is wrong with its description."""
    if written is None:
        return SchemaInput(ANY_OBJECT), []
    read, wrong = read_schema_source(written, "an input", _input_of_model, _input_of_schema)
    if read is not None and OUTPUTS_FIELD in read.stored:
        path = ("properties", OUTPUTS_FIELD)
        return read, [(path, "is reserved for the results of earlier steps; give the property another name")]
    if isinstance(read, SchemaInput):
        wrong += [(path, f"does not fit its own property: {text}") for path, text in read.misfit_defaults()]
    return read, wrong


def _input_of_model(model: type[BaseModel]) -> tuple[Input, Mapping[str, Any]]:
    read = ModelInput(model)
    return read, read.schema


def _input_of_schema(schema: dict[str, Any]) -> Input:
    return SchemaInput(schema)


# MERGED from definitions.output_source:
# A step's `output`, a pydantic model or a JSON Schema, to what is asked of the answers to its action.


def read_output_source(written: object) -> tuple[SchemaShape | None, list[Wrong]]:
    """What the output must fit, or all that is wrong with its description."""
    return read_schema_source(written, "an output", _output_of_model, schema_shape)


def _output_of_model(model: type[BaseModel]) -> tuple[SchemaShape, Mapping[str, Any]]:
    # As it goes over the wire. A field with a default may be left out: workers need not be written in Python.
    schema = model.model_json_schema(mode="serialization")
    return schema_shape(schema), schema
