"""Server-sent events as text, and what each of them means.

An event is written once and told to any number of viewers, so it is bytes from the beginning.
"""

from __future__ import annotations

import json
from enum import StrEnum

MEDIA_TYPE = "text/event-stream"


class EventName(StrEnum):
    """The name of an event."""

    HISTORY = "history"
    SAGA = "saga"
    READY = "ready"
    GONE = "gone"
    RELOAD = "reload"
    REMOVED = "removed"
    UNREACHABLE = "unreachable"
    REACHABLE = "reachable"
    BEHIND = "behind"
    DENIED = "denied"
    CLOSING = "closing"


OF_EVERY_STREAM = {
    EventName.UNREACHABLE: "Postgres cannot be reached. The stream stays open, and misses nothing.",
    EventName.REACHABLE: "Postgres can be reached again.",
    EventName.BEHIND: "More was told than you have read. The stream ends; open it again with `Last-Event-ID`.",
    EventName.DENIED: "Your token or session has ended, or your role is lower than it was. The stream ends.",
    EventName.CLOSING: "This process stops. The stream ends; open it again with `Last-Event-ID`.",
}
OF_A_SAGA = {
    EventName.HISTORY: "A line of the history, as in `/history`. Its id is the revision.",
    EventName.SAGA: "The saga as it is now, without its input: at the beginning, and whenever it has changed.",
    EventName.REMOVED: "The saga was removed after its end. The stream ends.",
    EventName.RELOAD: "The saga is at an earlier revision than `Last-Event-ID`. Read it again.",
} | OF_EVERY_STREAM
OF_A_LIST = {
    EventName.READY: "Whatever changes from now on is told. Read the list now.",
    EventName.SAGA: "A saga that fits, as it is now, without its input: it began to fit, or has changed.",
    EventName.GONE: "`ids` of sagas that fit no longer, or were removed. Some of them may never have fitted.",
    EventName.RELOAD: "More has changed than is told one by one, or longer ago. Read the list again.",
} | OF_EVERY_STREAM


def event(name: EventName, data: bytes, event_id: object = None) -> bytes:
    """An event. `data` is JSON in one line."""
    if event_id is None:
        return b"event: %b\ndata: %b\n\n" % (name.encode(), data)
    return b"event: %b\nid: %b\ndata: %b\n\n" % (name.encode(), str(event_id).encode(), data)


def notice(name: EventName, meanings: dict[EventName, str], event_id: object = None) -> bytes:
    """An event that says what it means."""
    return event(name, json.dumps({"detail": meanings[name]}).encode(), event_id)


def place(event_id: object) -> bytes:
    """No event, but the id by which a stream that is cut here goes on."""
    return b"id: %b\n\n" % str(event_id).encode()


def comment(text: str = "") -> bytes:
    """What no program sees. Proxies see that the stream is alive."""
    return b": %b\n\n" % text.encode()


def reconnect_after(milliseconds: int) -> bytes:
    """How long a browser waits before it opens a stream again that was cut."""
    return b"retry: %d\n\n" % milliseconds


UNREACHABLE, REACHABLE, BEHIND, DENIED, CLOSING = (
    notice(name, OF_EVERY_STREAM)
    for name in (
        EventName.UNREACHABLE,
        EventName.REACHABLE,
        EventName.BEHIND,
        EventName.DENIED,
        EventName.CLOSING,
    )
)
