"""What waits in Postgres, as rows and back: requests by SQL, and entries that came before their saga."""

from __future__ import annotations

from collections.abc import Sequence

import orjson

from saga_service.engine.ports import Early
from saga_service.wire.dead_letters import raw_pairs, shown, write_raw
from saga_service.wire.entries import Entry, Kept, entry_of
from saga_service.wire.keys import REQUESTS, WANTS_ANSWER

_READABLE = ("type", "saga_id", "saga", "subject")


def waiting(early: Sequence[Early], now_ms: int) -> tuple[object, ...]:
    """The parameters of `saga_private.let_wait`: those that wait already, and those that come to wait."""
    there = sorted((each.entry.kept.number, each.due_at_ms) for each in early if each.entry.kept is not None)
    # In one order on all replicas, so that none waits for another in a circle.
    coming = sorted((each for each in early if each.entry.kept is None), key=_place)
    return (
        [number for number, _ in there],
        [due_at_ms for _, due_at_ms in there],
        [each.entry.stream for each in coming],
        [each.entry.id for each in coming],
        [_readable(each.entry) for each in coming],
        [write_raw(each.entry) for each in coming],
        [each.due_at_ms for each in coming],
        now_ms,
    )


def _place(early: Early) -> tuple[str, str]:
    return early.entry.stream, early.entry.id


def _readable(entry: Entry) -> str:
    """For people, and without the data. The entry itself is kept beside it, byte by byte."""
    told = {name: entry.fields.get(name.encode(), b"") for name in _READABLE}
    return orjson.dumps({name: shown(value) for name, value in told.items() if value}).decode()


def read_request(
    number: int,
    fields: str,
    is_awaited: bool,
    since_ms: int,
    looks: int,
    stream: str | None,
    entry_id: str | None,
    raw: str | None,
) -> Entry:
    """A row as the entry that a stream would deliver."""
    kept = Kept(number, since_ms, looks)
    if stream is None or entry_id is None or raw is None:
        return Entry(REQUESTS, str(number), _fields(fields, is_awaited), kept=kept)
    flat = [part for pair in raw_pairs(raw) for part in pair]
    return entry_of(stream, entry_id, flat, kept)


def _fields(text: str, is_awaited: bool) -> dict[bytes, bytes]:
    """Those that are null are not there."""
    fields = {name.encode(): value.encode() for name, value in orjson.loads(text).items() if value is not None}
    fields.pop(WANTS_ANSWER, None)
    return fields | {WANTS_ANSWER: b"true"} if is_awaited else fields
