"""A saga as a row, and back.

The steps are one JSON array of arrays: the shortest text, and the quickest to write and read. The places within one
step's array are those of `write_steps`; the views in `migrations` read the same places.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from saga_service.core.effects import HistoryEntry
from saga_service.core.ids import SagaId
from saga_service.core.state import Due, Fault, JsonObject, SagaState, SagaStatus, StepState, StepStatus
from saga_service.store.errors import Unwritable

COLUMNS = (
    "id::text, saga, version, key, status, revision, input::text, steps::text, created_at_ms, updated_at_ms,"
    " ended_at_ms, wake_at_ms, fault::text, traceparent"
)
"""What `read_saga` expects, in this order."""

# An enum's own lookups run Python code at each call; a table does not.
_SAGA_STATUSES = {status.value: status for status in SagaStatus}
_STEP_STATUSES = {status.value: status for status in StepStatus}
_DUES: Mapping[str | None, Due | None] = {None: None, **{due.value: due for due in Due}}
_STEP_STATUS_TEXTS = {status: status.value for status in StepStatus}
_DUE_TEXTS: Mapping[Due | None, str | None] = {None: None, **{due: due.value for due in Due}}

_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")


def write_steps(steps: tuple[StepState, ...]) -> str:
    """Raises Unwritable or orjson.JSONEncodeError where an output cannot be stored."""
    return write_json(
        [
            (
                step.name,
                _STEP_STATUS_TEXTS[step.status],
                step.attempts,
                step.compensation_attempts,
                step.finished_order,
                _DUE_TEXTS[step.due],
                step.due_at_ms,
                step.in_doubt,
                step.output,
                _fault_places(step.fault),
                step.started_at_ms,
                step.ended_at_ms,
            )
            for step in steps
        ]
    )


def read_steps(text: str) -> tuple[StepState, ...]:
    return tuple([_read_step(*places) for places in orjson.loads(text)])


def _read_step(
    name: str,
    status: str,
    attempts: int,
    compensation_attempts: int,
    finished_order: int | None,
    due: str | None,
    due_at_ms: int | None,
    in_doubt: bool,
    output: JsonObject | None,
    fault: list[str] | None,
    started_at_ms: int | None,
    ended_at_ms: int | None,
) -> StepState:
    return StepState(
        name,
        _STEP_STATUSES[status],
        attempts,
        compensation_attempts,
        finished_order,
        due_at_ms,
        _DUES[due],
        in_doubt,
        output,
        None if fault is None else Fault(*fault),
        started_at_ms,
        ended_at_ms,
    )


def read_saga(row: Iterable[Any]) -> SagaState:
    """A row of `COLUMNS`. `Any`: its columns have as many types."""
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
    ) = row
    return SagaState(
        SagaId(saga_id),
        saga,
        version,
        key,
        _SAGA_STATUSES[status],
        revision,
        orjson.loads(saga_input),
        read_steps(steps),
        created_at_ms,
        updated_at_ms,
        ended_at_ms,
        wake_at_ms,
        None if fault is None else Fault(**orjson.loads(fault)),
        traceparent,
    )


def write_fault(fault: Fault | None) -> str | None:
    if fault is None:
        return None
    return write_json({"code": fault.code, "message": fault.message, "step": fault.step})


def write_detail(entry: HistoryEntry) -> str | None:
    """What a line of history holds besides its columns: the commands sent, and the error."""
    detail: dict[str, object] = {}
    if entry.sent:
        detail["sent"] = [f"{sent.step}:{sent.direction._value_}:{sent.attempt}" for sent in entry.sent]
    if entry.fault is not None:
        detail["error"] = {"code": entry.fault.code, "message": entry.fault.message}
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
