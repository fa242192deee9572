"""A step's `output`, a pydantic model or a JSON Schema, to what is asked of the answers to its action."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from saga_service.definitions.schema_source import Wrong, read_schema_source
from saga_service.definitions.shapes import SchemaShape, schema_shape


def read_output_source(written: object) -> tuple[SchemaShape | None, list[Wrong]]:
    """What the output must fit, or all that is wrong with its description."""
    return read_schema_source(written, "an output", _of_model, schema_shape)


def _of_model(model: type[BaseModel]) -> tuple[SchemaShape, Mapping[str, Any]]:
    # As it goes over the wire. A field with a default may be left out: workers need not be written in Python.
    schema = model.model_json_schema(mode="serialization")
    return schema_shape(schema), schema
