"""Entries that start sagas: the common stream with its envelope, and other people's streams with flat fields.

The envelope's names are those of CloudEvents, so that a CloudEvents producer maps one to one.
"""

from __future__ import annotations

import re

from saga_service.core.events import Started
from saga_service.core.ids import SagaId, parse_saga_id, saga_id_from_entry, saga_id_from_event, saga_id_from_key
from saga_service.core.state import JsonObject
from saga_service.wire.blueprint import KEY_CHARACTERS_MAX, Blueprint, Catalog, InvalidInput
from saga_service.wire.entries import WIRE_VERSION, Entry, Malformed, Message, as_text, required_text, text
from saga_service.wire.json import read_object, write

_ENTRY_ID = re.compile("[0-9]{1,20}-[0-9]{1,20}")


def read_event(entry: Entry, catalog: Catalog) -> Started:
    """An entry of the common events stream. Raises Malformed."""
    event_type = required_text(entry.fields, "type")
    blueprint = catalog.by_event_type(event_type)
    if blueprint is None:
        known = ", ".join(catalog.event_types())
        raise Malformed(f"no saga is started by an event of type '{event_type}'; known types: {known}")
    data = read_object(entry.fields.get(b"data") or b"{}", "data")
    try:
        saga_input = blueprint.read_input(data)
        key = _subject(entry) or blueprint.business_key(saga_input)
    except InvalidInput as error:
        raise Malformed(f"the data does not fit the input of saga '{blueprint.definition.name}': {error}") from None
    saga_id = _given_id(entry) or _derived_id(blueprint, entry, key, text(entry.fields, "id"))
    return _started(blueprint, saga_id, key, saga_input, text(entry.fields, "traceparent"))


def read_trigger(entry: Entry, catalog: Catalog) -> Started:
    """An entry of somebody else's stream: its flat fields are the saga's input as they are. Raises Malformed."""
    blueprint = catalog.by_stream(entry.stream)
    if blueprint is None:
        raise Malformed(f"no saga is triggered by the stream '{entry.stream}'")
    fields = {as_text(name, "(a name)"): as_text(value, name.decode()) for name, value in entry.fields.items()}
    if not fields:
        raise Malformed("the entry has no fields")
    try:
        saga_input = blueprint.read_fields(fields)
        key = blueprint.business_key(saga_input)
    except InvalidInput as error:
        raise Malformed(f"the fields do not fit the input of saga '{blueprint.definition.name}': {error}") from None
    return _started(blueprint, _derived_id(blueprint, entry, key, None), key, saga_input, None)


def write_event(
    stream: str, event_type: str, data: JsonObject, *, event_id: str | None = None, key: str | None = None
) -> Message:
    """The entry that starts a saga, as any client may add it."""
    fields = ["v", WIRE_VERSION, "type", event_type, "data", write(data)]
    if event_id is not None:
        fields += ["id", event_id]
    if key is not None:
        fields += ["subject", key]
    return Message(stream, tuple(fields))


def _started(
    blueprint: Blueprint, saga_id: SagaId, key: str | None, saga_input: JsonObject, traceparent: str | None
) -> Started:
    definition = blueprint.definition
    return Started(saga_id, definition.name, definition.version, key, saga_input, traceparent)


def _subject(entry: Entry) -> str | None:
    subject = text(entry.fields, "subject")
    if subject is not None and len(subject) > KEY_CHARACTERS_MAX:
        raise Malformed(f"field 'subject' has {len(subject):,} characters, and a key may have {KEY_CHARACTERS_MAX}")
    return subject


def _given_id(entry: Entry) -> SagaId | None:
    given = text(entry.fields, "saga_id")
    if given is None:
        return None
    saga_id = parse_saga_id(given)
    if saga_id is None:
        raise Malformed(f"field 'saga_id' must be a UUID, but is '{given[:100]}'")
    return saga_id


def _derived_id(blueprint: Blueprint, entry: Entry, key: str | None, event_id: str | None) -> SagaId:
    name = blueprint.definition.name
    if key is not None:
        return saga_id_from_key(name, key)
    if event_id is not None:
        return saga_id_from_event(name, event_id)
    if not _ENTRY_ID.fullmatch(entry.id):
        raise Malformed(f"the entry's id is '{entry.id[:100]}', which no stream gives")
    return saga_id_from_entry(name, entry.stream, entry.id)
