"""The announcement of a saga's end."""

from __future__ import annotations

from saga_service.core.effects import Ended
from saga_service.wire.encryption import OUTCOME, Cipher, write_data
from saga_service.wire.entries import WIRE_VERSION, Message
from saga_service.wire.json import write
from saga_service.wire.stream_names import StreamNames


def write_outcome(ended: Ended, names: StreamNames, cipher: Cipher | None = None) -> Message:
    """Its `id` names the saga and the revision, so that a reader can tell a repeat."""
    outcome_id = f"{ended.saga_id}:{ended.revision}"
    fields: tuple[str, ...] = (
        "v",
        WIRE_VERSION,
        "id",
        outcome_id,
        "type",
        f"{ended.saga}.{ended.status.value}",
        "saga_id",
        ended.saga_id,
        "saga",
        ended.saga,
        "status",
        ended.status.value,
        "time",
        str(ended.at_ms),
        "data",
        write_data(ended.outputs, cipher, OUTCOME, outcome_id),
    )
    if ended.key is not None:
        fields += ("subject", ended.key)
    if ended.fault is not None:
        fault = {"code": ended.fault.code, "message": ended.fault.message, "step": ended.fault.step}
        fields += ("error", write(fault))
    if ended.traceparent is not None:
        fields += ("traceparent", ended.traceparent)
    return Message(names.outcomes, fields)
