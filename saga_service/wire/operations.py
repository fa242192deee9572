"""What is asked of a saga that is there: `saga.cancel`, `saga.retry` and so on, by a person or by a parent saga."""

from __future__ import annotations

from saga_service.core.effects import ChildRequest
from saga_service.core.events import OperationRequested
from saga_service.core.ids import CommandName, SagaId, command_id, parse_command_id
from saga_service.core.state import JsonObject
from saga_service.core.vocabulary import Operation, Resolution
from saga_service.wire.encryption import EVENT, Cipher, read_data
from saga_service.wire.entries import WIRE_VERSION, Entry, Malformed, Message, required_text, text
from saga_service.wire.fields import addressed, given_key
from saga_service.wire.stream_names import OWN_TYPES_PREFIX, StreamNames

ACTOR_DEFAULT = "an event"
IS_DONE = "is_done"
"""A field of what a parent asks: `true` where it has heard that its child is done."""
_YES = "true"
TEXT_CHARACTERS_MAX = 1_000
_VERBS = {f"{OWN_TYPES_PREFIX}{operation.value}": operation for operation in Operation}
_RESOLUTIONS = {resolution.value: resolution for resolution in Resolution}


def read_operation(entry: Entry, event_type: str, cipher: Cipher | None = None) -> OperationRequested:
    """Raises Malformed, and DecryptionFailed."""
    operation = _VERBS.get(event_type)
    if operation is None:
        known = ", ".join(_VERBS)
        raise Malformed(f"the type '{event_type}' is not known; types that begin with '{OWN_TYPES_PREFIX}': {known}")
    fields, answers = entry.fields, _answers(entry)
    saga_id, by_key = addressed(entry)
    return OperationRequested(
        saga_id=saga_id,
        operation=operation,
        actor=(text(fields, "actor") or ACTOR_DEFAULT)[:TEXT_CHARACTERS_MAX],
        reason=(text(fields, "reason") or "")[:TEXT_CHARACTERS_MAX] or None,
        step=text(fields, "step"),
        resolution=_resolution(entry) if operation is Operation.RESOLVE else None,
        output=_output(entry, cipher, event_type, saga_id),
        answers=answers,
        by_key=by_key,
        child=(text(fields, "saga") or "") if answers is not None else "",
        is_known_done=answers is not None and text(fields, IS_DONE) == _YES,
    )


def _output(entry: Entry, cipher: Cipher | None, event_type: str, saga_id: SagaId) -> JsonObject | None:
    raw = entry.fields.get(b"data")
    return read_data(raw, cipher, EVENT, event_type, given_key(entry) or saga_id) if raw else None


def _resolution(entry: Entry) -> Resolution:
    given = required_text(entry.fields, "resolution")
    resolution = _RESOLUTIONS.get(given)
    if resolution is None:
        raise Malformed(f"field 'resolution' must be one of {', '.join(_RESOLUTIONS)}, but is '{given[:100]}'")
    return resolution


def _answers(entry: Entry) -> CommandName | None:
    given = text(entry.fields, "command_id")
    if given is None:
        return None
    command = parse_command_id(given)
    if command is None:
        raise Malformed(f"field 'command_id' is not the id of a command: '{given[:200]}'")
    return command


def write_asked_of_child(request: ChildRequest, names: StreamNames) -> Message:
    parent = request.command.saga_id
    return Message(
        names.events,
        (
            "v",
            WIRE_VERSION,
            "type",
            f"{OWN_TYPES_PREFIX}{request.operation.value}",
            "saga",
            request.saga,
            "saga_id",
            request.child_id,
            "command_id",
            command_id(*request.command),
            "actor",
            f"saga {parent}",
            *((IS_DONE, _YES) if request.is_known_done else ()),
        ),
    )
