"""Entries of the common stream, by their `type`, and entries of other people's streams with flat fields.

The envelope has the names of CloudEvents, so that a CloudEvents producer maps one to one. A type starts a saga, or
names a signal that sagas wait for, or is one of the service's own, which begin with `saga.`.

The service's own events, a timer that is due or commands to be sent again, come by no stream of Redis. Postgres makes
a request of commands to be sent again (`saga_private.continue_recovery`). A timer that cannot be carried out is written
as an entry, so that it can be shown among the dead letters, and replayed like any other entry.

The end of a saga is announced as an event on the stream of outcomes.
"""

from __future__ import annotations

import re

from saga_service.core.effects import Ended
from saga_service.core.events import BusinessKey, Event, Signalled, Started, TimerDue, TransportLost
from saga_service.core.ids import SagaId, saga_id_from_entry, saga_id_from_event, saga_id_from_key
from saga_service.core.state import Fault, JsonObject
from saga_service.wire.children import read_child_start
from saga_service.wire.encryption import EVENT, OUTCOME, Cipher, came_encrypted, read_data, write_data
from saga_service.wire.entries import Entry, Malformed, Message, message_of
from saga_service.wire.fields import (
    as_text,
    optional_readable_text,
    optional_text,
    required_text,
    saga_id,
    short_text,
    subject,
    traceparent,
)
from saga_service.wire.json import write
from saga_service.wire.operations import read_operation
from saga_service.wire.saga_spec import Catalog, InvalidInput, NotDeployedHere, SagaSpec, written_key
from saga_service.wire.transport import (
    CHILD_START,
    EVERYTHING,
    NO_STREAMS,
    OWN_TYPES_PREFIX,
    REQUESTS,
    TIMERS,
    StreamNames,
)

SIGNAL_ID_CHARACTERS_MAX = 500
"""The longest id of a signal. A saga keeps the ids of all its signals, to know a repeat."""

_ENTRY_ID = re.compile("[0-9]{1,20}-[0-9]{1,20}")


def read_event(entry: Entry, catalog: Catalog, cipher: Cipher | None = None) -> Event:
    """The event in an entry of the common stream. Raises Malformed, NotDeployedHere and DecryptionFailed."""
    event_type = required_text(entry.fields, "type")
    if event_type.startswith(OWN_TYPES_PREFIX):
        if event_type == CHILD_START:
            return read_child_start(entry, catalog, cipher)
        return read_operation(entry, event_type, catalog, cipher)
    spec = catalog.by_event_type(event_type)
    if spec is None:
        return _signal(entry, event_type, catalog, cipher)
    return _start(entry, event_type, spec, cipher)


def _start(entry: Entry, event_type: str, spec: SagaSpec, cipher: Cipher | None) -> Started:
    given = subject(entry.fields)
    data = read_data(entry.fields.get(b"data"), cipher, EVENT, event_type, given or "")
    try:
        saga_input = spec.read_input(data)
        key = spec.written_key(given) if given else spec.business_key(data, saga_input)
    except InvalidInput as error:
        misfit = error.without_values if came_encrypted(entry) else str(error)
        raise Malformed(f"the data does not fit the input of saga '{spec.definition.name}': {misfit}") from None
    started_id = _given_id(spec, entry, key) or derived_saga_id(
        spec, entry, key, optional_readable_text(entry.fields, "id")
    )
    return _started(spec, started_id, key, saga_input, traceparent(entry.fields), short_text(entry.fields, "actor"))


def _given_id(spec: SagaSpec, entry: Entry, key: str | None) -> SagaId | None:
    # A key has one saga, whose id follows from it. A caller by SQL has been given the id already.
    given = saga_id(entry.fields)
    if given is None or key is None:
        return given
    name = spec.definition.name
    its_own = saga_id_from_key(name, key)
    if given != its_own:
        what_to_do = "start it again" if entry.stream == REQUESTS else "leave 'saga_id' out"
        raise Malformed(
            f"field 'saga_id' is {given}, and the saga '{name}' with the key '{key[:100]}' has the id {its_own}; "
            f"{what_to_do}"
        )
    return given


def _signal(entry: Entry, name: str, catalog: Catalog, cipher: Cipher | None) -> Signalled:
    """A signal is addressed by the saga's id, or by its business key.

    The saga's name is needed beside the key where several sagas wait for a signal of this name.
    """
    addressed_id, by_key = saga_id(entry.fields), None
    if addressed_id is None:
        by_key = _signalled_key(entry, name, catalog)
        addressed_id = saga_id_from_key(*by_key)
    data = read_data(entry.fields.get(b"data"), cipher, EVENT, name, subject(entry.fields) or addressed_id)
    signal_id = _signal_id(entry) or f"{entry.stream} {entry.id}"
    step, data_bytes = optional_text(entry.fields, "step"), len(entry.fields.get(b"data", b""))
    return Signalled(addressed_id, name, signal_id, data, by_key, step, data_bytes, short_text(entry.fields, "actor"))


def _signal_id(entry: Entry) -> str | None:
    given = optional_readable_text(entry.fields, "id")
    if given is not None and len(given) > SIGNAL_ID_CHARACTERS_MAX:
        limit = f"a signal's id may have {SIGNAL_ID_CHARACTERS_MAX}, because its saga keeps it"
        raise Malformed(f"field 'id' has {len(given):,} characters, and {limit}")
    return given


def _signalled_key(entry: Entry, name: str, catalog: Catalog) -> BusinessKey:
    waiting = catalog.waiting_for(name)
    saga = optional_text(entry.fields, "saga") or (waiting[0] if len(waiting) == 1 else None)
    key = subject(entry.fields)
    if not waiting and (saga is None or key is None):
        known = ", ".join(catalog.event_types())
        raise NotDeployedHere(
            f"no saga is started by an event of type '{name}', and none waits for a signal of that name; "
            f"known types: {known}",
            event_type=name,
        )
    if key is None:
        raise Malformed(f"the signal '{name}' names no saga: write its id in field 'saga_id', or its key in 'subject'")
    if saga is None:
        raise Malformed(
            f"several sagas wait for the signal '{name}': write which in field 'saga' ({', '.join(waiting)})"
        )
    return BusinessKey(saga, written_key(catalog, saga, key))


def read_trigger(entry: Entry, catalog: Catalog) -> Started:
    """The start in an entry of another owner's stream, whose flat fields are the saga's input. Raises Malformed."""
    spec = catalog.by_stream(entry.stream)
    if spec is None:
        raise Malformed(f"no saga is triggered by the stream '{entry.stream}'")
    fields = {as_text(name, "(a name)"): as_text(value, name.decode()) for name, value in entry.fields.items()}
    if not fields:
        raise Malformed("the entry has no fields")
    try:
        saga_input = spec.read_fields(fields)
        key = spec.business_key(fields, saga_input)
    except InvalidInput as error:
        raise Malformed(f"the fields do not fit the input of saga '{spec.definition.name}': {error}") from None
    return _started(spec, derived_saga_id(spec, entry, key, None), key, saga_input)


def write_event(
    stream: str,
    event_type: str,
    data: JsonObject,
    *,
    event_id: str | None = None,
    key: str | None = None,
    started_by: str | None = None,
    cipher: Cipher | None = None,
) -> Message:
    """The entry that starts a saga, as any client may add it."""
    return message_of(
        stream,
        type=event_type,
        data=write_data(data, cipher, EVENT, event_type, key or ""),
        id=event_id,
        subject=key,
        actor=started_by,
    )


def _started(
    spec: SagaSpec,
    started_id: SagaId,
    key: str | None,
    saga_input: JsonObject,
    trace: str | None = None,
    started_by: str | None = None,
) -> Started:
    definition = spec.definition
    return Started(started_id, definition.name, definition.version, key, saga_input, trace, actor=started_by)


def derived_saga_id(spec: SagaSpec, entry: Entry, key: str | None, event_id: str | None) -> SagaId:
    """The id of the saga that an entry starts, from its key, its event or its own id. Raises Malformed."""
    name = spec.definition.name
    if key is not None:
        return saga_id_from_key(name, key)
    if event_id is not None:
        return saga_id_from_event(name, event_id)
    if not _ENTRY_ID.fullmatch(entry.id):
        raise Malformed(f"the entry's id is '{entry.id[:100]}', which no stream gives")
    return saga_id_from_entry(name, entry.stream, entry.id)


OwnEvent = TimerDue | TransportLost

WAKE, RESEND = f"{OWN_TYPES_PREFIX}wake", f"{OWN_TYPES_PREFIX}resend"


def write_timer(timer: TimerDue, entry_id: str) -> Entry:
    """The timer as an entry of a stream that does not exist in Redis."""
    return Entry(TIMERS, entry_id, {b"type": WAKE.encode(), b"saga_id": timer.saga_id.encode()})


def read_own_event(entry: Entry) -> OwnEvent | None:
    """The event of an entry of a timer or of a recovery; None for any other entry.

    No one outside can send such an entry, because no stream of Redis has these names. Raises Malformed.
    """
    if entry.stream not in NO_STREAMS:
        return None
    event_type = optional_text(entry.fields, "type")
    if event_type not in (WAKE, RESEND):
        return None
    own_saga = saga_id(entry.fields)
    if own_saga is None:
        raise Malformed("field 'saga_id' is missing")
    return TimerDue(own_saga) if event_type == WAKE else TransportLost(own_saga, _lost(entry))


def _lost(entry: Entry) -> frozenset[str] | None:
    lost = frozenset((optional_text(entry.fields, "lost") or EVERYTHING).split(","))
    return None if EVERYTHING in lost else lost


def write_outcome(
    ended: Ended, names: StreamNames, cipher: Cipher | None = None, data_left_out: str | None = None
) -> Message:
    """The entry of the outcomes stream. Its `id` names the saga and the revision, by which a reader tells a repeat.

    With `data_left_out`, the reason why, the entry has this text in the place of the outputs.
    """
    outcome_id = f"{ended.saga_id}:{ended.revision}"
    return message_of(
        names.outcomes,
        id=outcome_id,
        type=f"{ended.saga}.{ended.status.value}",
        saga_id=ended.saga_id,
        saga=ended.saga,
        status=ended.status.value,
        time=str(ended.at_ms),
        data=None if data_left_out else write_data(ended.outputs, cipher, OUTCOME, outcome_id),
        data_left_out=data_left_out,
        subject=ended.key,
        error=None if ended.fault is None else _error(ended.fault),
        traceparent=ended.traceparent,
    )


def _error(fault: Fault) -> str:
    return write({"code": fault.code, "message": fault.message, "step": fault.step})
