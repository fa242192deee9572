"""The description of a worker's handlers: which commands they carry out, what these take, and what they return.

A schema says no more than is certain. A model may accept more than its fields show (by validators of its own, by
several names for a field), and its author's serializers may write anything; such a part is described as any value.
"""

from __future__ import annotations

from typing import Any, Never, NoReturn

import orjson
from pydantic import BaseModel, PydanticUserError, TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode, JsonSchemaValue
from pydantic_core import core_schema

from saga_service.core.state import JsonObject
from saga_service.wire.commands import OUTPUTS_FIELD
from saga_service.wire.worker_description import HandlerDescription, WorkerDescription
from saga_service.worker.registration import Handler, options_of
from saga_service.worker.worker import Worker

SCHEMA_BYTES_MAX = 16_384
"""A larger schema is left out: descriptions of all workers that are alive are kept in Redis and in Postgres."""

_NAMING = frozenset({"properties", "$ref", "anyOf", "oneOf", "allOf"})
_NOTHING: JsonObject = {"type": "object", "properties": {}, "additionalProperties": False}


def describe(worker: Worker) -> WorkerDescription:
    """Describe the worker's handlers, in the order of their types."""
    return WorkerDescription(
        worker.service, tuple(_described(worker.handlers[name]) for name in sorted(worker.handlers))
    )


def _described(handler: Handler) -> HandlerDescription:
    if handler.answers_probes:
        return HandlerDescription(handler.command_type, undoes=handler.undoes, answers_probes=True)
    return HandlerDescription(
        handler.command_type,
        takes=_taken(handler),
        returns=_returned(handler.result),
        is_transactional=handler.takes_connection,
        undoes=handler.undoes,
        heartbeat_s=handler.heartbeat_s,
    )


def _taken(handler: Handler) -> JsonObject | None:
    if handler.model is None:
        return None
    schema = _schema_of(handler.model, "validation")
    if schema is None or not handler.forbids_outputs:
        return schema
    # The worker leaves the outputs out for a model that has no place for them.
    return {**schema, "properties": {**schema.get("properties", {}), OUTPUTS_FIELD: {}}}


def _returned(result: Any) -> JsonObject | None:
    """The schema of what the handler's annotation says; None where that says nothing."""
    described = [_returned_option(option) for option in options_of(result) if option not in (Never, NoReturn)]
    known = [schema for schema in described if schema is not None]
    if not known or len(known) < len(described):
        return None
    # References are looked up in the whole schema, so a choice of several has to be made of one that has none.
    if len(known) > 1 and any("$defs" in schema for schema in known):
        return None
    return known[0] if len(known) == 1 else {"anyOf": known}


def _returned_option(option: Any) -> JsonObject | None:
    if option is type(None):
        return _NOTHING
    schema = _schema_of(option, "serialization")
    # A mapping's annotation names no properties.
    return None if schema is None or _NAMING.isdisjoint(schema) else schema


def _schema_of(annotation: Any, mode: JsonSchemaMode) -> JsonObject | None:
    try:
        schema = TypeAdapter(annotation).json_schema(mode=mode, schema_generator=_CertainSchema)
        written = orjson.dumps(schema)
    except (PydanticUserError, TypeError, ValueError, NameError):
        # A type that no schema describes may work all the same.
        return None
    return orjson.loads(written) if len(written) <= SCHEMA_BYTES_MAX else None


class _CertainSchema(GenerateJsonSchema):
    """The schema of a type, with any value where the author's own code has a say."""

    def field_title_should_be_set(self, *_: Any) -> bool:
        return False

    def handle_invalid_for_json_schema(self, *_: Any) -> JsonSchemaValue:
        return {}

    def function_before_schema(self, schema: core_schema.BeforeValidatorFunctionSchema) -> JsonSchemaValue:
        return {} if self.mode == "validation" else super().function_before_schema(schema)

    def function_wrap_schema(self, schema: core_schema.WrapValidatorFunctionSchema) -> JsonSchemaValue:
        return {} if self.mode == "validation" else super().function_wrap_schema(schema)

    def function_plain_schema(self, schema: core_schema.PlainValidatorFunctionSchema) -> JsonSchemaValue:
        return {}

    def ser_schema(self, schema: Any) -> JsonSchemaValue | None:
        is_own = schema["type"] in ("function-plain", "function-wrap")
        return {} if is_own and schema.get("return_schema") is None else super().ser_schema(schema)

    def field_is_required(self, field: Any, total: bool) -> bool:
        if self.mode == "serialization" and field["type"] == "model-field":
            return field.get("serialization_exclude_if") is None
        return bool(super().field_is_required(field, total))

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        described, model = super().model_schema(schema), schema["cls"]
        if self.mode == "serialization":
            is_closed = "properties" in described and model.model_config.get("extra") != "allow"
            return {**described, "additionalProperties": False} if is_closed else described
        if model.model_config.get("coerce_numbers_to_str"):
            return {}
        several = _fields_of_several_names(model)
        if several:
            required = [name for name in described.get("required", ()) if name not in several]
            described = {**described, "required": required, "additionalProperties": True}
        return described


def _fields_of_several_names(model: type[BaseModel]) -> set[str]:
    """The names, as the schema has them, of fields that may be sent under another name as well."""
    by_name = any(model.model_config.get(option) for option in ("populate_by_name", "validate_by_name"))
    found: set[str] = set()
    for name, described in model.model_fields.items():
        alias = described.validation_alias
        if alias is None or (isinstance(alias, str) and not by_name):
            continue
        choices = getattr(alias, "choices", [alias])
        found |= {name, *(str(getattr(choice, "path", [choice])[0]) for choice in choices)}
    return found
