"""The saga that an unusable entry is about: the one that it names, or the one that it would have started.

A dead letter has that saga's id, so that a caller who was given the id hears what became of the start. Everything here
is told as far as the entry allows, and nothing raises.
"""

from __future__ import annotations

from contextlib import suppress

from saga_service.core.ids import SagaId, parse_command_id, saga_id_from_key
from saga_service.core.state import JsonObject
from saga_service.wire.dead_letters import NamedSaga
from saga_service.wire.encryption import EVENT, Cipher, DecryptionFailed, read_data
from saga_service.wire.entries import Entry, Malformed
from saga_service.wire.events import derived_saga_id
from saga_service.wire.fields import as_text, optional_text, saga_id, subject
from saga_service.wire.saga_spec import Catalog, SagaSpec, written_key
from saga_service.wire.transport import REQUESTS


def named_saga(entry: Entry, catalog: Catalog, cipher: Cipher | None = None) -> NamedSaga:
    """The saga of an entry of any stream that the service reads."""
    flat = catalog.by_stream(entry.stream)
    if flat is not None:
        return _would_start(flat, entry, _sent_key(flat, _flat_fields(entry)), None)
    event_type, given_id, key = _text(entry, "type"), _given_id(entry), _subject(entry)
    started = catalog.by_event_type(event_type) if event_type else None
    if started is not None:
        key = started.written_key(key) if key else _sent_key(started, _data(entry, cipher)) or _key_by_sql(entry)
        return NamedSaga(given_id, key) if given_id else _would_start(started, entry, key, _text(entry, "id"))
    if given_id is None and (command := parse_command_id(_text(entry, "command_id") or "")) is not None:
        given_id = command.saga_id
    return NamedSaga(given_id, key) if given_id or key is None else _by_key(entry, key, event_type, catalog)


def _sent_key(spec: SagaSpec, data: JsonObject | None) -> str | None:
    # Data that cannot be read need not lack the key: the default is not its key.
    return None if data is None else spec.sent_key(data)


def _key_by_sql(entry: Entry) -> str | None:
    """The key by which `saga.start` has made the saga's id; None for any other entry."""
    return _text(entry, "key") if entry.stream == REQUESTS else None


def _would_start(spec: SagaSpec, entry: Entry, key: str | None, event_id: str | None) -> NamedSaga:
    try:
        return NamedSaga(derived_saga_id(spec, entry, key, event_id), key)
    except Malformed:
        return NamedSaga(None, key)


def _by_key(entry: Entry, key: str, event_type: str | None, catalog: Catalog) -> NamedSaga:
    waiting = catalog.waiting_for(event_type) if event_type else ()
    saga = _text(entry, "saga") or (waiting[0] if len(waiting) == 1 else None)
    if saga is None:
        return NamedSaga(None, key)
    own_key = written_key(catalog, saga, key)
    return NamedSaga(saga_id_from_key(saga, own_key), own_key)


def _flat_fields(entry: Entry) -> JsonObject | None:
    with suppress(Malformed, UnicodeDecodeError):
        return {name.decode(): as_text(value, name.decode()) for name, value in entry.fields.items()}
    return None


def _data(entry: Entry, cipher: Cipher | None) -> JsonObject | None:
    with suppress(Malformed, DecryptionFailed):
        event_type, key = _text(entry, "type") or "", _subject(entry) or ""
        return read_data(entry.fields.get(b"data"), cipher, EVENT, event_type, key)
    return None


def _text(entry: Entry, name: str) -> str | None:
    with suppress(Malformed):
        return optional_text(entry.fields, name)
    return None


def _given_id(entry: Entry) -> SagaId | None:
    with suppress(Malformed):
        return saga_id(entry.fields)
    return None


def _subject(entry: Entry) -> str | None:
    with suppress(Malformed):
        return subject(entry.fields)
    return None
