"""The service's own events as entries: a timer that is due, commands to be sent again.

These events come by no stream. One that cannot be carried out is written as an entry, so that it can be deferred, shown
among the dead letters, and replayed like any other entry.
"""

from __future__ import annotations

from saga_service.core.events import TimerDue, TransportLost
from saga_service.wire.entries import Entry, Malformed
from saga_service.wire.fields import optional_text, saga_id
from saga_service.wire.stream_names import NO_STREAMS, OWN_TYPES_PREFIX, RECOVERY, TIMERS

OwnEvent = TimerDue | TransportLost

WAKE, RESEND = f"{OWN_TYPES_PREFIX}wake", f"{OWN_TYPES_PREFIX}resend"


def write_own_event(event: OwnEvent, entry_id: str) -> Entry:
    """The event as an entry of a stream that does not exist in Redis."""
    stream, event_type = (TIMERS, WAKE) if isinstance(event, TimerDue) else (RECOVERY, RESEND)
    return Entry(stream, entry_id, {b"type": event_type.encode(), b"saga_id": event.saga_id.encode()})


def read_own_event(entry: Entry) -> OwnEvent | None:
    """The event of an entry that `write_own_event` has written; None for any other entry.

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
    return TimerDue(own_saga) if event_type == WAKE else TransportLost(own_saga)
