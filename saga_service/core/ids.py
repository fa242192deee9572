"""Identifiers that derive from what they name: by them a repeat is known (deduplication).

A repeated event must find what its first copy made, on any replica and after any crash. So no id here is drawn at
random: a saga's id follows from its business key, its event's id or its stream entry; a command's id follows from the
saga, the step, the direction and the attempt. A repeat is then a no-op by construction, with no table of seen ids.
"""

from __future__ import annotations

import re
from hashlib import sha256
from typing import NamedTuple, NewType

from saga_service.core.vocabulary import Direction

SagaId = NewType("SagaId", str)
"""A UUID in its canonical lower-case text form."""

CommandId = NewType("CommandId", str)
"""`<saga id>:<step>:<direction>:<attempt>`; a person can read it and a reply can be traced by it."""

IdempotencyKey = NewType("IdempotencyKey", str)
"""`<saga id>:<step>:<direction>`; the same over all attempts, so that a provider can recognise a repeat."""


class CommandName(NamedTuple):
    """The parts of a command id."""

    saga_id: SagaId
    step: str
    direction: Direction
    attempt: int


def saga_id_from_key(saga: str, business_key: str) -> SagaId:
    """The one saga of this name for this business key."""
    return _hashed("key", saga, business_key)


def saga_id_from_event(saga: str, event_id: str) -> SagaId:
    """The one saga of this name that this event starts, however often a producer sends it."""
    return _hashed("event", saga, event_id)


def saga_id_from_entry(saga: str, stream: str, entry_id: str) -> SagaId:
    """The one saga of this name that this stream entry starts, however often it is delivered.

    Laid out as a version 8 UUID (RFC 9562) whose first 48 bits are the entry's own millisecond, so that new rows land
    at one end of the primary key. Raises ValueError where `entry_id` does not begin with a number.
    """
    digest = _digest("entry", saga, stream, entry_id)
    milliseconds = int(entry_id.partition("-")[0]) & 0xFFFF_FFFF_FFFF
    return _uuid(milliseconds.to_bytes(6, "big") + digest[6:])


def saga_id_of_child(saga: str, started_by: CommandName) -> SagaId:
    """The one saga that this attempt of a parent's step starts."""
    return _hashed("child", saga, command_id(*started_by))


def command_id(saga_id: SagaId, step: str, direction: Direction, attempt: int) -> CommandId:
    return CommandId(f"{saga_id}:{step}:{direction.value}:{attempt}")


def service_of(command_type: str) -> str:
    """The service whose workers carry out a command: `payment` for `payment.charge`."""
    return command_type.partition(".")[0]


def idempotency_key(saga_id: SagaId, step: str, direction: Direction) -> IdempotencyKey:
    """The key of all attempts at one effect. A probe has its action's key: by it a provider knows what happened."""
    effect = Direction.ACTION if direction is Direction.PROBE else direction
    return IdempotencyKey(f"{saga_id}:{step}:{effect.value}")


_SAGA_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_DIRECTIONS = {direction.value: direction for direction in Direction}
_ATTEMPT_DIGITS_MAX = 9


def parse_saga_id(text: str) -> SagaId | None:
    """The id, lower-cased, or None where `text` is no UUID in its canonical form."""
    lowered = text.lower()
    return SagaId(lowered) if _SAGA_ID.fullmatch(lowered) else None


def parse_command_id(text: str) -> CommandName | None:
    """The parts of the id; None where `command_id` could not have made `text`."""
    parts = text.split(":")
    if len(parts) != 4:
        return None
    saga_id, step, direction, attempt = parts
    known = _DIRECTIONS.get(direction)
    if known is None or not step or not _SAGA_ID.fullmatch(saga_id):
        return None
    if not (attempt.isascii() and attempt.isdigit()) or attempt[0] == "0" or len(attempt) > _ATTEMPT_DIGITS_MAX:
        return None
    return CommandName(SagaId(saga_id), step, known, int(attempt))


def _digest(*parts: str) -> bytes:
    """SHA-256, which Postgres can compute as well: `saga.start` has to come to the same id."""
    # Lengths first, so that ("a", "bc") and ("ab", "c") differ.
    text = "".join([f"{len(part)}:{part}" for part in ("saga_service", *parts)])
    return sha256(text.encode("utf-8")).digest()[:16]


def _hashed(*parts: str) -> SagaId:
    return _uuid(_digest(*parts))


def _uuid(octets: bytes) -> SagaId:
    """Sixteen octets as a version 8 UUID: the version and variant bits are set, the rest is the caller's."""
    digits = octets.hex()
    variant = _VARIANT_DIGITS[digits[16]]
    return SagaId(f"{digits[:8]}-{digits[8:12]}-8{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:]}")


_VARIANT_DIGITS = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}
"""The variant is the two high bits of its digit; the two low ones stay."""
