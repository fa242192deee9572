"""A saga as a row, and back; a request's row as an entry.

The steps are one JSON array of arrays: the shortest text, and the quickest to write and read. `columns.STEP_PLACES` has
the places within one step's array, and `saga_private.steps_of` names them for the views. What few steps have stands at
the end, and is left out where a step has none of it. What few sagas have is one JSON object, `extra`, and mostly null.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from saga_service.core.effects import HistoryEntry
from saga_service.core.ids import SagaId, command_id, parse_command_id
from saga_service.core.state import Fault, JsonObject, SagaState, Signal, StepState
from saga_service.core.vocabulary import Course, Due, SagaStatus, StepStatus
from saga_service.store.pool import Unwritable
from saga_service.wire.dead_letters import NamedSaga, preview_text, raw_pairs
from saga_service.wire.entries import Entry, RequestRow, entry_of
from saga_service.wire.transport import REQUESTS, WANTS_RESULT

# An enum's own lookups run Python code at each call; a table does not.
_SAGA_STATUSES = {status.value: status for status in SagaStatus}
_STEP_STATUSES = {status.value: status for status in StepStatus}
_DUES: Mapping[str | None, Due | None] = {None: None, **{due.value: due for due in Due}}
_STEP_STATUS_TEXTS = {status: status.value for status in StepStatus}
_DUE_TEXTS: Mapping[Due | None, str | None] = {None: None, **{due: due.value for due in Due}}

_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")


_COURSES: Mapping[SagaStatus, Course] = {
    SagaStatus.RUNNING: Course.FORWARD,
    SagaStatus.COMPLETED: Course.FORWARD,
    SagaStatus.COMPENSATING: Course.BACKWARD,
    SagaStatus.COMPENSATED: Course.BACKWARD,
}
"""A saga that is paused or stuck may have either course, and has it in `extra`."""


def write_steps(steps: tuple[StepState, ...]) -> str:
    """The column `steps`. Raises Unwritable or orjson.JSONEncodeError where an output cannot be stored."""
    return write_json([_write_step(step) for step in steps])


def _write_step(step: StepState) -> tuple[object, ...]:
    places = (
        step.name,
        _STEP_STATUS_TEXTS[step.status],
        step.attempts,
        step.compensation_attempts,
        step.effect_revision,
        _DUE_TEXTS[step.due],
        step.due_at_ms,
        step.unanswered,
        step.output,
        _fault_places(step.fault),
        step.started_at_ms,
        step.ended_at_ms,
    )
    seldom = (step.deadline_ms, step.probes, step.series_after, step.series_since_ms, step.called_off_at_ms)
    return places if seldom == _NOTHING_SELDOM else places + seldom


_NOTHING_SELDOM = (None, 0, 0, None, None)


def read_steps(text: str) -> tuple[StepState, ...]:
    return tuple([read_step(*places) for places in orjson.loads(text)])


def read_step(
    name: str,
    status: str,
    attempts: int,
    compensation_attempts: int,
    effect_revision: int | None,
    due: str | None,
    due_at_ms: int | None,
    unanswered: list[int],
    output: JsonObject | None,
    fault: list[str] | None,
    started_at_ms: int | None,
    ended_at_ms: int | None,
    deadline_ms: int | None = None,
    probes: int = 0,
    series_after: int = 0,
    series_since_ms: int | None = None,
    called_off_at_ms: int | None = None,
) -> StepState:
    return StepState(
        name,
        _STEP_STATUSES[status],
        attempts,
        compensation_attempts,
        effect_revision,
        due_at_ms,
        _DUES[due],
        tuple(unanswered),
        output,
        None if fault is None else Fault(*fault),
        started_at_ms,
        ended_at_ms,
        deadline_ms,
        probes,
        series_after,
        series_since_ms,
        called_off_at_ms,
    )


def write_extra(state: SagaState) -> str | None:
    """The column `extra`, or None. Raises Unwritable or orjson.JSONEncodeError where a value cannot be stored."""
    if state.status in _COURSES and state.deadline_ms is None and not state.signals and state.parent is None:
        return None
    extra: dict[str, object] = {}
    if state.status not in _COURSES:
        extra["course"] = state.course.value
    if state.deadline_ms is not None:
        extra["deadline_ms"] = state.deadline_ms
    if state.signals:
        extra["signals"] = [_signal_places(signal) for signal in state.signals]
    if state.parent is not None:
        extra["parent"] = command_id(*state.parent)
    return write_json(extra)


def read_saga(row: Iterable[Any]) -> SagaState:
    """The saga of a row of `queries.LOAD`. `Any`: its columns have as many types."""
    (
        saga_id,
        saga,
        version,
        key,
        status,
        revision,
        saga_input,
        steps,
        created_at_ms,
        updated_at_ms,
        ended_at_ms,
        wake_at_ms,
        fault,
        traceparent,
        extra,
    ) = row
    known = _SAGA_STATUSES[status]
    seldom: dict[str, Any] = {} if extra is None else orjson.loads(extra)
    return SagaState(
        SagaId(saga_id),
        saga,
        version,
        key,
        known,
        revision,
        orjson.loads(saga_input),
        read_steps(steps),
        created_at_ms,
        updated_at_ms,
        ended_at_ms,
        wake_at_ms,
        None if fault is None else Fault(**orjson.loads(fault)),
        traceparent,
        _COURSES[known] if known in _COURSES else Course(seldom.get("course", Course.BACKWARD)),
        seldom.get("deadline_ms"),
        tuple([Signal(*signal) for signal in seldom.get("signals", ())]),
        parse_command_id(seldom["parent"]) if "parent" in seldom else None,
    )


_STATE_COLUMNS = (
    *("id", "saga", "version", "key", "status", "revision", "input", "steps", "created_at_ms", "updated_at_ms"),
    *("ended_at_ms", "wake_at_ms", "fault", "traceparent", "extra"),
)
_JSON_COLUMNS = ("input", "steps", "fault", "extra")


def read_state(text: str) -> SagaState:
    """A saga out of what the contract's `saga.state` returns. Encrypted values stay encrypted."""
    stored: dict[str, Any] = orjson.loads(text)
    written = {name: orjson.dumps(stored[name]) for name in _JSON_COLUMNS if stored[name] is not None}
    return read_saga((stored | written)[name] for name in _STATE_COLUMNS)


def write_fault(fault: Fault | None) -> str | None:
    if fault is None:
        return None
    return write_json({"code": fault.code, "message": fault.message, "step": fault.step})


def write_detail(entry: HistoryEntry) -> str | None:
    """The column `detail` of a line of history: the commands sent, the error, the actor and the reason."""
    detail: dict[str, object] = {}
    if entry.sent:
        detail["sent"] = [f"{sent.step}:{sent.label}:{sent.attempt}" for sent in entry.sent]
    if entry.fault is not None:
        detail["error"] = {"code": entry.fault.code, "message": entry.fault.message}
    if entry.actor is not None:
        detail["actor"] = entry.actor
    if entry.reason is not None:
        detail["reason"] = entry.reason
    return write_json(detail) if detail else None


def write_json(value: object) -> str:
    """Compact JSON. Raises Unwritable where a text in it holds a NUL, which Postgres cannot read back."""
    encoded = orjson.dumps(value)
    # The first test is a search for bytes and nearly always enough; it also finds a harmless escaped backslash.
    if b"\\u0000" in encoded and _NUL.search(encoded):
        raise Unwritable("a text holds a NUL character (\\u0000), which cannot be stored")
    return encoded.decode()


def _fault_places(fault: Fault | None) -> tuple[str, ...] | None:
    return (
        None
        if fault is None
        else (fault.code, fault.message)
        if fault.step is None
        else (fault.code, fault.message, fault.step)
    )


def _signal_places(signal: Signal) -> tuple[object, ...]:
    """The places of a signal; those that a taken one never has are left out."""
    return tuple(signal) if signal.data_bytes or signal.step is not None else signal[:3]


_READABLE_FIELDS = ("type", "saga_id", "saga", "subject")


def write_readable(entry: Entry, named: NamedSaga | None = None) -> str:
    """A deferred entry's fields for people, without its data. The entry itself is kept beside it, byte by byte.

    The saga that the entry would start is among them where it is known.
    """
    given = {name: entry.fields.get(name.encode(), b"") for name in _READABLE_FIELDS}
    shown = {name: preview_text(value) for name, value in given.items() if value}
    if named is not None:
        would_start = {"saga_id": named.saga_id, "key": named.key}
        shown |= {name: preview_text(value.encode()) for name, value in would_start.items() if value}
    return orjson.dumps(shown).decode()


def read_request(
    number: int,
    fields: str,
    wants_result: bool,
    first_attempt_at_ms: int,
    attempts: int,
    stream: str | None,
    entry_id: str | None,
    raw: str | None,
) -> Entry:
    """A row of `saga_private.claim_requests` as the entry that a stream would deliver."""
    row = RequestRow(number, first_attempt_at_ms, attempts)
    if stream is None or entry_id is None or raw is None:
        return Entry(REQUESTS, str(number), _fields(fields, wants_result), request=row)
    flat = [part for pair in raw_pairs(raw) for part in pair]
    return entry_of(stream, entry_id, flat, row)


def _fields(text: str, wants_result: bool) -> dict[bytes, bytes]:
    """A field that is null is left out."""
    fields = {name.encode(): value.encode() for name, value in orjson.loads(text).items() if value is not None}
    fields.pop(WANTS_RESULT, None)
    return fields | {WANTS_RESULT: b"true"} if wants_result else fields
