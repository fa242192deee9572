"""Commands to workers.

`data` is the saga's input with one field more, `outputs`: what earlier steps returned, by step name. So a handler's
model names the input's fields as they are, and reaches an earlier result by its step.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from saga_service.core.effects import Command
from saga_service.core.ids import CommandId, CommandName, Direction, IdempotencyKey, SagaId, parse_command_id
from saga_service.wire.entries import WIRE_VERSION, Entry, Malformed, Message, required_moment_ms, required_text, text
from saga_service.wire.json import NESTING_MAX, read_object, write
from saga_service.wire.keys import StreamNames

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

    @property
    def step(self) -> str:
        return self.name.step

    @property
    def direction(self) -> Direction:
        return self.name.direction

    @property
    def attempt(self) -> int:
        return self.name.attempt


def write_command(command: Command, names: StreamNames) -> Message:
    fields: tuple[str, ...] = (
        "v",
        WIRE_VERSION,
        "id",
        command.id,
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
        write({**command.input, OUTPUTS_FIELD: command.outputs}),
    )
    if command.traceparent is not None:
        fields += ("traceparent", command.traceparent)
    return Message(names.commands(service_of(command.type)), fields)


def read_command(entry: Entry) -> ReceivedCommand:
    """An entry of a commands stream. Raises Malformed."""
    fields = entry.fields
    given_id = required_text(fields, "id")
    name = parse_command_id(given_id)
    if name is None:
        raise Malformed(f"field 'id' is not the id of a command: '{given_id[:200]}'")
    return ReceivedCommand(
        id=CommandId(given_id),
        name=name,
        type=required_text(fields, "type"),
        saga_id=name.saga_id,
        saga=required_text(fields, "saga"),
        idempotency_key=IdempotencyKey(required_text(fields, "idempotency_key")),
        deadline_ms=required_moment_ms(fields, "deadline"),
        reply_to=required_text(fields, "reply_to"),
        data=read_object(fields.get(b"data") or b"{}", "data", nesting_max=_NESTING_MAX),
        traceparent=text(fields, "traceparent"),
    )


def service_of(command_type: str) -> str:
    """`payment.charge` belongs to the service `payment`."""
    return command_type.partition(".")[0]
