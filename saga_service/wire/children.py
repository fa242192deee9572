"""What sagas say to one another: a parent asks its child to start, to stop or to be undone, and a child answers the
parent's command as a worker would."""

from __future__ import annotations

from saga_service.core.effects import ChildRequest, ParentReply
from saga_service.core.events import Replied, Started
from saga_service.core.ids import CommandName, command_id, parse_command_id, saga_id_of_child
from saga_service.core.state import Fault
from saga_service.core.vocabulary import ChildOperation, Outcome
from saga_service.wire.encryption import CHILD, Cipher, DecryptionFailed, came_encrypted, read_data, write_data
from saga_service.wire.entries import WIRE_VERSION, Entry, Malformed, Message, required_text, text
from saga_service.wire.operations import write_asked_of_child
from saga_service.wire.replies import write_failure, write_success
from saga_service.wire.saga_spec import Catalog, InvalidInput, NotDeployedHere
from saga_service.wire.stream_names import CHILD_START, StreamNames


def write_child_request(request: ChildRequest, names: StreamNames, cipher: Cipher | None = None) -> Message:
    if request.operation is not ChildOperation.START:
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
        write_data(request.input, cipher, CHILD, started_by),
    )
    if request.traceparent is not None:
        fields += ("traceparent", request.traceparent)
    return Message(names.events, fields)


def read_child_start(entry: Entry, catalog: Catalog, cipher: Cipher | None = None) -> Started | Replied:
    """The start, or where it cannot be the answer to the parent: it must not wait for what will never begin.

    Raises NotDeployedHere, and Malformed where no parent can be told from it.
    """
    given_command = required_text(entry.fields, "command_id")
    parent = parse_command_id(given_command)
    if parent is None:
        raise Malformed(f"field 'command_id' is not the id of a command: '{given_command[:200]}'")
    saga = required_text(entry.fields, "saga")
    spec = catalog.by_name(saga)
    if spec is None:
        reason = f"no saga '{saga}' is known"
        raise NotDeployedHere(reason, child=saga, otherwise=_refused(parent, "unknown_saga", reason))
    try:
        saga_input = spec.read_input(read_data(entry.fields.get(b"data"), cipher, CHILD, given_command))
        key = spec.business_key(saga_input)
    except DecryptionFailed as error:
        return _refused(parent, "encrypted_input", str(error))
    except InvalidInput as error:
        told = error.without_values if came_encrypted(entry) else str(error)
        return _refused(parent, "invalid_input", f"the input does not fit saga '{saga}': {told}")
    except Malformed as error:
        return _refused(parent, "invalid_input", f"the input does not fit saga '{saga}': {error}")
    definition = spec.definition
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


def write_parent_reply(reply: ParentReply, names: StreamNames, cipher: Cipher | None = None) -> Message:
    named, parent = command_id(*reply.command), reply.command.saga_id
    if reply.fault is None:
        return write_success(names.replies, named, parent, reply.output, cipher)
    return write_failure(names.replies, named, parent, reply.outcome, reply.fault)
