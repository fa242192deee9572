"""An author's `input`, a pydantic model or a JSON Schema, to what reads a saga's input."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from saga_service.definitions.inputs import Input, ModelInput, SchemaInput
from saga_service.definitions.schema_source import ANY_OBJECT, Wrong, read_schema_source
from saga_service.wire.commands import OUTPUTS_FIELD


def read_input_source(written: object) -> tuple[Input | None, list[Wrong]]:
    """What reads the input, or all that is wrong with its description."""
    if written is None:
        return SchemaInput(ANY_OBJECT), []
    read, wrong = read_schema_source(written, "an input", _of_model, _of_schema)
    if read is not None and OUTPUTS_FIELD in read.stored:
        path = ("properties", OUTPUTS_FIELD)
        return read, [(path, "is reserved for the results of earlier steps; give the property another name")]
    if isinstance(read, SchemaInput):
        wrong += [(path, f"does not fit its own property: {text}") for path, text in read.misfit_defaults()]
    return read, wrong


def _of_model(model: type[BaseModel]) -> tuple[Input, Mapping[str, Any]]:
    read = ModelInput(model)
    return read, read.schema


def _of_schema(schema: dict[str, Any]) -> Input:
    return SchemaInput(schema)
