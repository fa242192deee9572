"""The announcement of a saga's end."""

from __future__ import annotations

from saga_service.core.effects import Ended
from saga_service.core.state import Fault
from saga_service.wire.encryption import OUTCOME, Cipher, write_data
from saga_service.wire.entries import Message, message_of
from saga_service.wire.json import write
from saga_service.wire.transport import StreamNames


def write_outcome(ended: Ended, names: StreamNames, cipher: Cipher | None = None) -> Message:
    """The entry of the outcomes stream. Its `id` names the saga and the revision, by which a reader tells a repeat."""
    outcome_id = f"{ended.saga_id}:{ended.revision}"
    return message_of(
        names.outcomes,
        id=outcome_id,
        type=f"{ended.saga}.{ended.status.value}",
        saga_id=ended.saga_id,
        saga=ended.saga,
        status=ended.status.value,
        time=str(ended.at_ms),
        data=write_data(ended.outputs, cipher, OUTCOME, outcome_id),
        subject=ended.key,
        error=None if ended.fault is None else _error(ended.fault),
        traceparent=ended.traceparent,
    )


def _error(fault: Fault) -> str:
    return write({"code": fault.code, "message": fault.message, "step": fault.step})
