"""The key of a saga, as the schema of its input describes it: its form, its default, and if the schema alters it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from saga_service.core.state import JsonObject
from saga_service.definitions.schema.inputs import Input
from saga_service.definitions.schema.json_schema import alternatives, properties_of, types_of
from saga_service.wire.business_keys import KeyForm, key_text

_KEY_SAMPLE = "Key-1"
"""A text that a schema which alters the case of its key makes another one of."""


def key_form(schema: JsonObject, key: str | None) -> KeyForm:
    """The form of the keys that this property of an input holds."""
    described = None if key is None else properties_of(schema).get(key)
    allowed = types_of(described, schema)
    if "integer" in allowed and "string" not in allowed:
        return KeyForm.INTEGER
    texts = [leaf for leaf in alternatives(described, schema) or () if "string" in types_of(leaf, schema)]
    are_uuids = bool(texts) and all(isinstance(leaf, Mapping) and leaf.get("format") == "uuid" for leaf in texts)
    return KeyForm.UUID if are_uuids else KeyForm.TEXT


def key_to_document(schema: JsonObject, key: str | None) -> dict[str, Any]:
    """What Postgres has to know to make the key of a start's data, beside the name of the key's field."""
    form, described = key_form(schema, key), (schema.get("properties") or {}).get(key)
    default = described.get("default") if isinstance(described, Mapping) else None
    return {"key_form": form.value, "key_default": key_text(form, default)}


def altered_key(reader: Input, key: str) -> tuple[str, str] | None:
    """A key as it may be sent, and the other key that its schema makes of it; None where no such key is known."""
    form = key_form(reader.schema, key)
    read = key_text(form, reader.read_property(key, _KEY_SAMPLE))
    return None if read in (None, _KEY_SAMPLE) else (_KEY_SAMPLE, str(read))
