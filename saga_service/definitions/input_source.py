"""An author's `input`, a pydantic model or a JSON Schema, to what reads a saga's input."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any

import orjson
from jsonschema_rs import Draft202012Validator, ReferencingError, ValidationError
from pydantic import BaseModel
from pydantic.errors import PydanticUserError

from saga_service.definitions.inputs import Input, ModelInput, SchemaInput
from saga_service.definitions.problems import Path, shown
from saga_service.definitions.schema import JSON_TYPES, types_of
from saga_service.wire.commands import OUTPUTS_FIELD

_DRAFT_DEFAULT = "https://json-schema.org/draft/2020-12/schema"
_ANY_OBJECT: dict[str, Any] = {"type": "object"}

Wrong = tuple[Path, str]


def read_input_source(written: object) -> tuple[Input | None, list[Wrong]]:
    """What reads the input, or all that is wrong with its description."""
    if written is None:
        return SchemaInput(_ANY_OBJECT), []
    if isinstance(written, type) and issubclass(written, BaseModel):
        read, wrong = _of_model(written)
    elif isinstance(written, Mapping):
        read, wrong = _of_schema(written)
    else:
        return None, [((), f"must be a JSON Schema or a pydantic model class, but is {shown(written)}")]
    if read is not None and OUTPUTS_FIELD in read.stored:
        path = ("properties", OUTPUTS_FIELD)
        return read, [(path, "is reserved for the results of earlier steps; give the property another name")]
    return read, wrong


def _of_model(model: type[BaseModel]) -> tuple[Input | None, list[Wrong]]:
    try:
        read = ModelInput(model)
    except PydanticUserError as error:
        return None, [((), f"the model {model.__name__} cannot be described as a JSON Schema: {error.message}")]
    if types_of(read.schema, read.schema) - {"object"}:
        return None, [((), f"must be a model with named fields, but {model.__name__} is none")]
    return read, []


def _of_schema(written: Mapping[str, Any]) -> tuple[Input | None, list[Wrong]]:
    try:
        schema = orjson.loads(orjson.dumps(dict(written)))
    except TypeError as error:
        return None, [((), f"must be plain JSON: {error}")]
    wrong = list(_wrong_schema(schema))
    if wrong:
        return None, wrong
    try:
        read = SchemaInput({**_ANY_OBJECT, **schema})
    except (ValidationError, ReferencingError) as error:
        return None, [((), f"is a JSON Schema that cannot be used: {error.message}")]
    return read, [(path, f"does not fit its own property: {text}") for path, text in read.misfit_defaults()]


def _wrong_schema(schema: dict[str, Any]) -> Iterator[Wrong]:
    if schema.get("type", "object") != "object":
        yield ("type",), f"must be 'object', since an input has named properties, but is {shown(schema['type'])}"
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
