"""Messages between a parent saga and its child.

A parent requests that its child start, be cancelled or be compensated. The child answers the parent's command as a
worker would.
"""

from __future__ import annotations

from saga_service.core.effects import ChildRequest, ParentReply
from saga_service.core.events import Replied, Started
from saga_service.core.ids import CommandName, command_id, saga_id_of_child
from saga_service.core.state import Fault
from saga_service.core.vocabulary import ChildOperation, Outcome
from saga_service.wire.encryption import CHILD, Cipher, DecryptionFailed, came_encrypted, read_data, write_data
from saga_service.wire.entries import Entry, Malformed, Message, message_of
from saga_service.wire.fields import required_command, required_text, traceparent
from saga_service.wire.operations import write_child_operation
from saga_service.wire.replies import write_failure, write_success
from saga_service.wire.saga_spec import Catalog, InvalidInput, NotDeployedHere
from saga_service.wire.transport import CHILD_START, StreamNames


def write_child_request(request: ChildRequest, names: StreamNames, cipher: Cipher | None = None) -> Message:
    """The entry by which a parent starts, cancels or compensates its child."""
    if request.operation is not ChildOperation.START:
        return write_child_operation(request, names)
    started_by = command_id(*request.command)
    return message_of(
        names.events,
        type=CHILD_START,
        saga=request.saga,
        saga_id=request.child_id,
        command_id=started_by,
        data=write_data(request.input, cipher, CHILD, started_by),
        traceparent=request.traceparent,
    )


def read_child_start(entry: Entry, catalog: Catalog, cipher: Cipher | None = None) -> Started | Replied:
    """The start of a child; where it is impossible, the rejection that its parent would otherwise wait for in vain.

    Raises NotDeployedHere, and Malformed where the entry does not name the parent's command.
    """
    given_command = required_text(entry.fields, "command_id")
    parent = required_command(entry.fields, "command_id")
    saga = required_text(entry.fields, "saga")
    spec = catalog.by_name(saga)
    if spec is None:
        reason = f"no saga '{saga}' is known"
        raise NotDeployedHere(reason, child=saga, fallback=_rejected(parent, "unknown_saga", reason))
    try:
        data = read_data(entry.fields.get(b"data"), cipher, CHILD, given_command)
        saga_input = spec.read_input(data)
        key = spec.business_key(data, saga_input)
    except DecryptionFailed as error:
        return _rejected(parent, "encrypted_input", str(error))
    except InvalidInput as error:
        misfit = error.without_values if came_encrypted(entry) else str(error)
        return _rejected(parent, "invalid_input", f"the input does not fit saga '{saga}': {misfit}")
    except Malformed as error:
        return _rejected(parent, "invalid_input", f"the input does not fit saga '{saga}': {error}")
    definition = spec.definition
    child_id = saga_id_of_child(definition.name, parent)
    return Started(child_id, definition.name, definition.version, key, saga_input, traceparent(entry.fields), parent)


def _rejected(parent: CommandName, code: str, message: str) -> Replied:
    return Replied(parent, Outcome.REJECTED, fault=Fault(code, message))


def write_parent_reply(reply: ParentReply, names: StreamNames, cipher: Cipher | None = None) -> Message:
    """A child's answer to its parent's command."""
    answered, parent_id = command_id(*reply.command), reply.command.saga_id
    if reply.fault is None:
        return write_success(names.replies, answered, parent_id, reply.output, cipher)
    return write_failure(names.replies, answered, parent_id, reply.outcome, reply.fault)
