"""Which saga an entry speaks of."""

from __future__ import annotations

from saga_service.core.events import BusinessKey
from saga_service.core.ids import SagaId, parse_saga_id, saga_id_from_key
from saga_service.wire.entries import Entry, Malformed, text
from saga_service.wire.saga_spec import KEY_CHARACTERS_MAX


def given_saga_id(entry: Entry) -> SagaId | None:
    """Raises Malformed where the field is there and is no id."""
    given = text(entry.fields, "saga_id")
    if given is None:
        return None
    saga_id = parse_saga_id(given)
    if saga_id is None:
        raise Malformed(f"field 'saga_id' must be a UUID, but is '{given[:100]}'")
    return saga_id


def given_key(entry: Entry) -> str | None:
    """A business key. Raises Malformed where it is too long."""
    given = text(entry.fields, "subject")
    if given is not None and len(given) > KEY_CHARACTERS_MAX:
        raise Malformed(f"field 'subject' has {len(given):,} characters, and a key may have {KEY_CHARACTERS_MAX}")
    return given


def addressed(entry: Entry) -> tuple[SagaId, BusinessKey | None]:
    """By its id, or by its name and its business key. Raises Malformed."""
    saga_id = given_saga_id(entry)
    if saga_id is not None:
        return saga_id, None
    saga, key = text(entry.fields, "saga"), given_key(entry)
    if saga is None or key is None:
        raise Malformed("the entry names no saga: write its id in field 'saga_id', or 'saga' and its key in 'subject'")
    return saga_id_from_key(saga, key), BusinessKey(saga, key)
