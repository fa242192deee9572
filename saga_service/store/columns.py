"""The rows that one batch writes, each declared once: name of a column, SQL type, source of its value.

`commit` makes its arguments by these tables as they stand. What else follows from them is checked in as text, and a
test holds it to them: the parameters and the column lists of `saga_private.commit_batch` in `schema.sql`, and its call
in `queries`.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import Any, Generic, NamedTuple, TypeVar

from saga_service.core.effects import HistoryEntry
from saga_service.core.ids import SagaId
from saga_service.core.state import SagaState
from saga_service.engine.ports import Asked, Deferred, RequestResult, Write
from saga_service.store.rows import write_detail, write_extra, write_fault, write_json, write_readable, write_steps
from saga_service.wire.dead_letters import DeadLetter, write_raw

Row = TypeVar("Row")


class Column(NamedTuple, Generic[Row]):
    """One column of a table, sent as one array of values."""

    name: str
    type: str
    value: Callable[[Row], Any]
    """`Any`: as many types as there are columns. Raises Unwritable or orjson.JSONEncodeError."""
    is_text_of_others: bool = False
    """Text of others may hold control characters, and is sent as a binary array. Numbers, ids, words of ours and JSON
    texts are sent as the text of an array."""


STARTED: tuple[Column[SagaState], ...] = (
    Column("id", "uuid", attrgetter("id")),
    Column("created_at_ms", "bigint", attrgetter("created_at_ms")),
    Column("saga", "text", attrgetter("saga"), is_text_of_others=True),
    Column("version", "text", attrgetter("version"), is_text_of_others=True),
    Column("key", "text", attrgetter("key"), is_text_of_others=True),
    Column("traceparent", "text", attrgetter("traceparent"), is_text_of_others=True),
    Column("input", "json", lambda state: write_json(state.input)),
    Column("status", "text", attrgetter("status._value_")),
    Column("revision", "integer", attrgetter("revision")),
    Column("updated_at_ms", "bigint", attrgetter("updated_at_ms")),
    Column("ended_at_ms", "bigint", attrgetter("ended_at_ms")),
    Column("wake_at_ms", "bigint", attrgetter("wake_at_ms")),
    Column("fault", "json", lambda state: write_fault(state.fault)),
    Column("steps", "json", lambda state: write_steps(state.steps)),
    Column("parent_id", "uuid", lambda state: None if state.parent is None else state.parent.saga_id),
    Column("extra", "json", write_extra),
)
"""Sagas that start."""

ADVANCED: tuple[Column[Write], ...] = (
    Column("id", "uuid", attrgetter("state.id")),
    Column("expected_revision", "integer", attrgetter("expected_revision")),
    Column("status", "text", attrgetter("state.status._value_")),
    Column("revision", "integer", attrgetter("state.revision")),
    Column("updated_at_ms", "bigint", attrgetter("state.updated_at_ms")),
    Column("ended_at_ms", "bigint", attrgetter("state.ended_at_ms")),
    Column("wake_at_ms", "bigint", attrgetter("state.wake_at_ms")),
    Column("fault", "json", lambda write: write_fault(write.state.fault)),
    Column("steps", "json", lambda write: write_steps(write.state.steps)),
    Column("extra", "json", lambda write: write_extra(write.state)),
)
"""Sagas that went on: what a transition may change."""

PARKED: tuple[Column[SagaId], ...] = (Column("id", "uuid", str),)
"""Sagas whose timer became a dead letter."""

HISTORY: tuple[Column[HistoryEntry], ...] = (
    Column("saga_id", "uuid", attrgetter("saga_id")),
    Column("revision", "integer", attrgetter("revision")),
    Column("attempt", "integer", attrgetter("attempt")),
    Column("at_ms", "bigint", attrgetter("at_ms")),
    Column("event", "text", attrgetter("event"), is_text_of_others=True),
    Column("status", "text", attrgetter("status._value_")),
    Column("step", "text", attrgetter("step"), is_text_of_others=True),
    Column("direction", "text", lambda entry: None if entry.direction is None else entry.direction._value_),
    Column("detail", "json", write_detail),
)

DEAD_LETTERS: tuple[Column[DeadLetter], ...] = (
    Column("at_ms", "bigint", attrgetter("at_ms")),
    Column("stream", "text", attrgetter("stream"), is_text_of_others=True),
    Column("entry_id", "text", attrgetter("entry_id"), is_text_of_others=True),
    Column("reason", "text", attrgetter("reason"), is_text_of_others=True),
    Column("preview", "jsonb", attrgetter("preview"), is_text_of_others=True),
    Column("raw", "text", attrgetter("raw"), is_text_of_others=True),
    Column("saga_id", "uuid", attrgetter("saga_id")),
    Column("key", "text", attrgetter("key"), is_text_of_others=True),
)

RESULTS: tuple[Column[RequestResult], ...] = (
    Column("id", "bigint", attrgetter("request_id")),
    Column("verdict", "text", attrgetter("verdict")),
    Column("reason", "text", attrgetter("reason"), is_text_of_others=True),
    Column("saga_id", "uuid", attrgetter("saga_id")),
)
"""Requests that are answered."""

ASKED: tuple[Column[Asked], ...] = (
    Column("id", "uuid", attrgetter("saga_id")),
    Column("key", "text", attrgetter("key"), is_text_of_others=True),
)
"""Sagas of which entries of streams ask something."""

WAITING: tuple[Column[Deferred], ...] = (
    Column("id", "bigint", attrgetter("entry.request.number")),
    Column("due_at_ms", "bigint", attrgetter("due_at_ms")),
)
"""Deferred entries that are rows already."""

DEFERRED: tuple[Column[Deferred], ...] = (
    Column("due_at_ms", "bigint", attrgetter("due_at_ms")),
    Column("stream", "text", attrgetter("entry.stream"), is_text_of_others=True),
    Column("entry_id", "text", attrgetter("entry.id"), is_text_of_others=True),
    Column("fields", "json", lambda deferred: write_readable(deferred.entry, deferred.named)),
    Column("raw", "text", lambda deferred: write_raw(deferred.entry)),
    Column("addressed_id", "uuid", lambda deferred: None if deferred.asked is None else deferred.asked.saga_id),
    Column(
        "addressed_key",
        "text",
        lambda deferred: None if deferred.asked is None else deferred.asked.key,
        is_text_of_others=True,
    ),
)
"""Deferred entries that become rows."""

STEP_PLACES = (
    "name",
    "status",
    "attempts",
    "compensation_attempts",
    "effect_revision",
    "due",
    "due_at_ms",
    "unanswered",
    "output",
    "fault",
    "started_at_ms",
    "ended_at_ms",
    "deadline_ms",
    "probes",
    "series_after",
    "series_since_ms",
    "called_off_at_ms",
)
"""The places in one step's JSON array, in the words of `core.state.StepState`. `rows` writes and reads them in this
order, `saga_private.steps_of` names them for the views."""
