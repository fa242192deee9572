"""Operations on a saga (`saga.cancel`, `saga.retry` and so on), requested by a person or by the saga's parent."""

from __future__ import annotations

from saga_service.core.effects import ChildRequest
from saga_service.core.events import OperationRequested
from saga_service.core.ids import SagaId, command_id
from saga_service.core.state import JsonObject
from saga_service.core.vocabulary import Operation, Resolution
from saga_service.wire.encryption import EVENT, Cipher, read_data
from saga_service.wire.entries import Entry, Malformed, Message, message_of
from saga_service.wire.fields import (
    addressed_saga,
    optional_text,
    parent_command,
    required_choice,
    short_text,
    subject,
)
from saga_service.wire.saga_spec import Catalog
from saga_service.wire.transport import OWN_TYPES_PREFIX, StreamNames

ACTOR_DEFAULT = "an event"
IS_DONE = "is_done"
"""A field of a parent's request: `true` where the parent has heard that its child is done."""
_YES = "true"
_OPERATIONS = {f"{OWN_TYPES_PREFIX}{operation.value}": operation for operation in Operation}
_RESOLUTIONS = {resolution.value: resolution for resolution in Resolution}


def read_operation(entry: Entry, event_type: str, catalog: Catalog, cipher: Cipher | None = None) -> OperationRequested:
    """The operation that an entry of this type requests. Raises Malformed and DecryptionFailed."""
    operation = _OPERATIONS.get(event_type)
    if operation is None:
        known = ", ".join(_OPERATIONS)
        raise Malformed(f"the type '{event_type}' is not known; types that begin with '{OWN_TYPES_PREFIX}': {known}")
    fields = entry.fields
    parent = parent_command(fields)
    addressed_id, by_key = addressed_saga(entry, catalog)
    return OperationRequested(
        saga_id=addressed_id,
        operation=operation,
        actor=short_text(fields, "actor") or ACTOR_DEFAULT,
        reason=short_text(fields, "reason"),
        step=optional_text(fields, "step"),
        resolution=required_choice(fields, "resolution", _RESOLUTIONS) if operation is Operation.RESOLVE else None,
        output=_output(entry, cipher, event_type, addressed_id),
        answers=parent,
        by_key=by_key,
        child=(optional_text(fields, "saga") or "") if parent is not None else "",
        is_known_done=parent is not None and optional_text(fields, IS_DONE) == _YES,
    )


def _output(entry: Entry, cipher: Cipher | None, event_type: str, addressed_id: SagaId) -> JsonObject | None:
    raw = entry.fields.get(b"data")
    return read_data(raw, cipher, EVENT, event_type, subject(entry.fields) or addressed_id) if raw else None


def write_child_operation(request: ChildRequest, names: StreamNames) -> Message:
    """A parent's request to cancel or compensate its child. The child's end is the reply to the parent's command."""
    return message_of(
        names.events,
        type=f"{OWN_TYPES_PREFIX}{request.operation.value}",
        saga=request.saga,
        saga_id=request.child_id,
        command_id=command_id(*request.command),
        actor=f"saga {request.command.saga_id}",
        is_done=_YES if request.is_known_done else None,
    )
