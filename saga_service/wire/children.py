"""What sagas say to one another: a parent asks its child to start, to stop or to be undone, and a child answers the
parent's command as a worker would."""

from __future__ import annotations

from saga_service.core.effects import ChildRequest, ChildVerb, ParentReply
from saga_service.core.events import Outcome, Replied, Started
from saga_service.core.ids import CommandName, command_id, parse_command_id, saga_id_of_child
from saga_service.core.state import Fault
from saga_service.wire.encryption import CHILD, Codec, Unopenable, came_sealed, read_data, write_data
from saga_service.wire.entries import WIRE_VERSION, Entry, Malformed, Message, required_text, text
from saga_service.wire.operations import write_asked_of_child
from saga_service.wire.replies import write_failure, write_success
from saga_service.wire.saga_spec import Catalog, InvalidInput, UnknownHere
from saga_service.wire.stream_names import CHILD_START, StreamNames


def write_child_request(request: ChildRequest, names: StreamNames, codec: Codec | None = None) -> Message:
    if request.verb is not ChildVerb.START:
        return write_asked_of_child(request, names)
    started_by = command_id(*request.command)
    fields: tuple[str, ...] = (
        "v",
        WIRE_VERSION,
        "type",
        CHILD_START,
        "saga",
        request.saga,
        "saga_id",
        request.child_id,
        "command_id",
        started_by,
        "data",
        write_data(request.input, codec, CHILD, started_by),
    )
    if request.traceparent is not None:
        fields += ("traceparent", request.traceparent)
    return Message(names.events, fields)


def read_child_start(entry: Entry, catalog: Catalog, codec: Codec | None = None) -> Started | Replied:
    """The start, or where it cannot be the answer to the parent: it must not wait for what will never begin.

    Raises UnknownHere, and Malformed where no parent can be told from it.
    """
    given_command = required_text(entry.fields, "command_id")
    parent = parse_command_id(given_command)
    if parent is None:
        raise Malformed(f"field 'command_id' is not the id of a command: '{given_command[:200]}'")
    saga = required_text(entry.fields, "saga")
    blueprint = catalog.by_name(saga)
    if blueprint is None:
        reason = f"no saga '{saga}' is known"
        raise UnknownHere(reason, child=saga, otherwise=_refused(parent, "unknown_saga", reason))
    try:
        saga_input = blueprint.read_input(read_data(entry.fields.get(b"data"), codec, CHILD, given_command))
        key = blueprint.business_key(saga_input)
    except Unopenable as error:
        return _refused(parent, "sealed_input", str(error))
    except InvalidInput as error:
        told = error.without_values if came_sealed(entry) else str(error)
        return _refused(parent, "invalid_input", f"the input does not fit saga '{saga}': {told}")
    except Malformed as error:
        return _refused(parent, "invalid_input", f"the input does not fit saga '{saga}': {error}")
    definition = blueprint.definition
    return Started(
        saga_id_of_child(definition.name, parent),
        definition.name,
        definition.version,
        key,
        saga_input,
        text(entry.fields, "traceparent"),
        parent,
    )


def _refused(parent: CommandName, code: str, message: str) -> Replied:
    return Replied(parent, Outcome.REJECTED, fault=Fault(code, message))


def write_parent_reply(reply: ParentReply, names: StreamNames, codec: Codec | None = None) -> Message:
    named, parent = command_id(*reply.command), reply.command.saga_id
    if reply.fault is None:
        return write_success(names.replies, named, parent, reply.output, codec)
    return write_failure(names.replies, named, parent, reply.outcome, reply.fault)
