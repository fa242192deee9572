"""Commands to workers.

`data` is the saga's input with one more field, `outputs`: the outputs of earlier steps by step name. A handler's model
therefore names the input's fields as they are, and reaches an earlier result by its step.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from saga_service.core.effects import Command
from saga_service.core.ids import CommandId, CommandName, IdempotencyKey, SagaId
from saga_service.core.vocabulary import Direction, OnError
from saga_service.wire.encryption import COMMAND, Cipher, DecryptionFailed, decrypt_data, is_encrypted, write_data
from saga_service.wire.entries import ORIGINAL, Entry, Message, message_of
from saga_service.wire.fields import optional_text, required_command, required_moment_ms, required_text, traceparent
from saga_service.wire.json import NESTING_MAX, read_object
from saga_service.wire.transport import StreamNames

OUTPUTS_FIELD = "outputs"
_NESTING_MAX = NESTING_MAX + 2
"""A step's output may be nested as deeply as any data, and lies here below `outputs` and its step's name."""


@dataclass(frozen=True, slots=True)
class ReceivedCommand:
    """A command as a worker receives it."""

    id: CommandId
    name: CommandName
    type: str
    saga_id: SagaId
    saga: str
    idempotency_key: IdempotencyKey
    deadline_ms: int
    reply_to: str
    data: dict[str, Any]
    traceparent: str | None
    errors_are_unknown: bool = False
    """True where an unforeseen exception leaves the outcome unknown: its effect, if it had one, is to be undone."""
    expects_heartbeats: bool = False
    """True where the step has a heartbeat time-out. The worker that begins on the command sends the first one."""
    was_delivered_before: bool = field(default=False, compare=False)
    original_on: str | None = field(default=None, compare=False)
    """The id of the run of Redis that it was added on, for the one entry of this command that is no copy; None for
    copies, which are sent where the original may be lost."""
    data_json: bytes = field(default=b"{}", compare=False, repr=False)
    """`data` as JSON text, decrypted."""
    decryption_error: str | None = None
    """The reason why the data cannot be decrypted here; `data` is empty then."""
    cipher: Cipher | None = field(default=None, compare=False, repr=False)
    """The cipher for the reply, which is the one that decrypted the command."""

    @property
    def step(self) -> str:
        return self.name.step

    @property
    def direction(self) -> Direction:
        return self.name.direction

    @property
    def attempt(self) -> int:
        return self.name.attempt


def write_command(command: Command, names: StreamNames, cipher: Cipher | None = None) -> Message:
    """The entry of the commands stream of the worker's service."""
    command_id = command.id
    message = message_of(
        names.commands(command.service),
        id=command_id,
        type=command.type,
        saga_id=command.saga_id,
        saga=command.saga,
        step=command.step,
        direction=command.direction.value,
        attempt=str(command.attempt),
        idempotency_key=command.idempotency_key,
        deadline=str(command.deadline_ms),
        reply_to=names.replies,
        data=write_data({**command.input, OUTPUTS_FIELD: command.outputs}, cipher, COMMAND, command_id),
        traceparent=command.traceparent,
        heartbeat=None if command.heartbeat_ms is None else str(command.heartbeat_ms),
        on_error=OnError.UNKNOWN.value if command.errors_are_unknown else None,
    )
    return Message(message.stream, message.fields, is_original=not command.is_copy)


def read_command(entry: Entry, cipher: Cipher | None = None) -> ReceivedCommand:
    """The command in an entry of a commands stream. Raises Malformed.

    A command whose data cannot be decrypted is still read, because its saga has to be answered.
    """
    fields = entry.fields
    given_id, name = required_text(fields, "id"), required_command(fields, "id")
    data_json, data, decryption_error = _read_data(fields.get(b"data") or b"{}", cipher, given_id)
    return ReceivedCommand(
        id=CommandId(given_id),
        name=name,
        type=required_text(fields, "type"),
        saga_id=name.saga_id,
        saga=required_text(fields, "saga"),
        idempotency_key=IdempotencyKey(required_text(fields, "idempotency_key")),
        deadline_ms=required_moment_ms(fields, "deadline"),
        reply_to=required_text(fields, "reply_to"),
        data=data,
        traceparent=traceparent(fields),
        errors_are_unknown=fields.get(b"on_error") == OnError.UNKNOWN.value.encode(),
        expects_heartbeats=b"heartbeat" in fields,
        was_delivered_before=entry.was_delivered_before,
        original_on=optional_text(fields, ORIGINAL),
        data_json=data_json,
        decryption_error=decryption_error,
        cipher=cipher,
    )


def _read_data(raw: bytes, cipher: Cipher | None, given_id: str) -> tuple[bytes, dict[str, Any], str | None]:
    data = read_object(raw, "data", nesting_max=_NESTING_MAX)
    if not is_encrypted(data):
        return raw, data, None
    try:
        plain = decrypt_data(data, cipher, COMMAND, given_id)
    except DecryptionFailed as error:
        return b"{}", {}, str(error)
    return plain, read_object(plain, "data", nesting_max=_NESTING_MAX), None
