"""Commands to workers.

`data` is the saga's input with one field more, `outputs`: what earlier steps returned, by step name. So a handler's
model names the input's fields as they are, and reaches an earlier result by its step.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from saga_service.core.effects import Command
from saga_service.core.ids import CommandId, CommandName, IdempotencyKey, SagaId, parse_command_id
from saga_service.core.vocabulary import Direction
from saga_service.wire.encryption import COMMAND, Cipher, DecryptionFailed, decrypt_data, is_encrypted, write_data
from saga_service.wire.entries import WIRE_VERSION, Entry, Malformed, Message, required_moment_ms, required_text, text
from saga_service.wire.json import NESTING_MAX, read_object
from saga_service.wire.stream_names import StreamNames

OUTPUTS_FIELD = "outputs"
_NESTING_MAX = NESTING_MAX + 2
"""A step's output may be as deep as any data, and stands here below `outputs` and its step's name."""


@dataclass(frozen=True, slots=True)
class ReceivedCommand:
    """A command as a worker has it."""

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
    waits_for_signs_of_life: bool = False
    """Whether the saga counts on them once there was one: whoever takes the command on gives the first."""
    was_delivered_before: bool = field(default=False, compare=False)
    plain: bytes = field(default=b"{}", compare=False, repr=False)
    """`data` as JSON text."""
    decryption_error: str | None = None
    """The reason why the data cannot be decrypted here; `data` is empty then."""
    cipher: Cipher | None = field(default=None, compare=False, repr=False)
    """What encrypts the reply: who opens the one encrypts the other."""

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
    command_id = command.id
    fields: tuple[str, ...] = (
        "v",
        WIRE_VERSION,
        "id",
        command_id,
        "type",
        command.type,
        "saga_id",
        command.saga_id,
        "saga",
        command.saga,
        "step",
        command.step,
        "direction",
        command.direction.value,
        "attempt",
        str(command.attempt),
        "idempotency_key",
        command.idempotency_key,
        "deadline",
        str(command.deadline_ms),
        "reply_to",
        names.replies,
        "data",
        write_data({**command.input, OUTPUTS_FIELD: command.outputs}, cipher, COMMAND, command_id),
    )
    if command.traceparent is not None:
        fields += ("traceparent", command.traceparent)
    if command.heartbeat_ms is not None:
        fields += ("heartbeat", str(command.heartbeat_ms))
    return Message(names.commands(service_of(command.type)), fields)


def read_command(entry: Entry, cipher: Cipher | None = None) -> ReceivedCommand:
    """An entry of a commands stream. Raises Malformed.

    A command whose data cannot be decrypted is one all the same: its saga can be told.
    """
    fields = entry.fields
    given_id = required_text(fields, "id")
    name = parse_command_id(given_id)
    if name is None:
        raise Malformed(f"field 'id' is not the id of a command: '{given_id[:200]}'")
    plain, data, decryption_error = _read_data(fields.get(b"data") or b"{}", cipher, given_id)
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
        traceparent=text(fields, "traceparent"),
        waits_for_signs_of_life=b"heartbeat" in fields,
        was_delivered_before=entry.was_delivered_before,
        plain=plain,
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


def service_of(command_type: str) -> str:
    """`payment.charge` belongs to the service `payment`."""
    return command_type.partition(".")[0]
