"""Replies to commands, from workers and from child sagas."""

from __future__ import annotations

from saga_service.core.events import Replied
from saga_service.core.ids import CommandId, CommandName, SagaId, idempotency_key, parse_command_id
from saga_service.core.state import Fault, JsonObject
from saga_service.core.vocabulary import Outcome
from saga_service.wire.encryption import REPLY, Cipher, read_data, write_data
from saga_service.wire.entries import Entry, Malformed, Message, message_of
from saga_service.wire.fields import optional_text, required_choice, required_command
from saga_service.wire.json import read_object, write

_OUTCOMES = {outcome.value: outcome for outcome in Outcome}
_ERROR_CODE_DEFAULT = "failed"
RETRY_AFTER_MS_MAX = 7 * 24 * 3_600_000
ERROR_CODE_CHARACTERS_MAX = 200
ERROR_MESSAGE_CHARACTERS_MAX = 2_000
"""An error is stored with each attempt and shown to people, so it cannot hold a worker's whole log."""


def read_reply(entry: Entry, cipher: Cipher | None = None) -> Replied:
    """The reply in an entry of the replies stream. Raises Malformed and DecryptionFailed.

    `error` is a JSON object with `code`, `message` and, optionally, `retry_after_ms`; plain text is taken as the
    message. Both texts are shortened to their limits.
    """
    fields = entry.fields
    command = required_command(fields, "command_id")
    saga_id = optional_text(fields, "saga_id")
    if saga_id is not None and saga_id.lower() != command.saga_id:
        raise Malformed(f"field 'saga_id' is '{saga_id[:100]}', but the command belongs to saga {command.saga_id}")
    outcome = required_choice(fields, "outcome", _OUTCOMES)
    if outcome is Outcome.SUCCEEDED:
        return Replied(command, outcome, output=read_data(fields.get(b"data"), cipher, *_context(command)))
    if outcome is Outcome.PROGRESS:
        return Replied(command, outcome)
    fault, retry_after_ms = _read_error(fields.get(b"error"), optional_text(fields, "error"))
    return Replied(command, outcome, fault=fault, retry_after_ms=retry_after_ms)


def _context(command: CommandName) -> tuple[str, str]:
    # One context for all attempts, so that a worker may repeat a reply that it has recorded.
    return REPLY, idempotency_key(command.saga_id, command.step, command.direction)


def _read_error(raw: bytes | None, as_given: str | None) -> tuple[Fault, int | None]:
    if raw is None or as_given is None:
        return Fault(_ERROR_CODE_DEFAULT, "the worker gave no reason"), None
    if not as_given.lstrip().startswith("{"):
        return _fault(_ERROR_CODE_DEFAULT, as_given), None
    error = read_object(raw, "error")
    code, message, delay = error.get("code"), error.get("message"), error.get("retry_after_ms")
    known_delay = isinstance(delay, int) and not isinstance(delay, bool) and 0 <= delay <= RETRY_AFTER_MS_MAX
    if delay is not None and not known_delay:
        raise Malformed(f"field 'error': 'retry_after_ms' must be a whole number from 0 to {RETRY_AFTER_MS_MAX}")
    return _fault(str(code or _ERROR_CODE_DEFAULT), str(message or "the worker gave no reason")), delay


def _fault(code: str, message: str) -> Fault:
    return Fault(_shortened(code, ERROR_CODE_CHARACTERS_MAX), _shortened(message, ERROR_MESSAGE_CHARACTERS_MAX))


def _shortened(text: str, characters_max: int) -> str:
    return text if len(text) <= characters_max else f"{text[: characters_max - 1]}…"


def write_success(
    stream: str, command_id: CommandId, saga_id: SagaId, output: JsonObject, cipher: Cipher | None = None
) -> Message:
    """A reply with the command's output. Raises orjson.JSONEncodeError where it cannot be written as JSON."""
    data = write(output) if cipher is None else _write_encrypted(output, cipher, command_id)
    return _reply(stream, command_id, saga_id, Outcome.SUCCEEDED, data=data)


def _write_encrypted(output: JsonObject, cipher: Cipher, command_id: CommandId) -> str:
    command = parse_command_id(command_id)
    assert command is not None, "what carries out a command has its id"
    return write_data(output, cipher, *_context(command))


def write_failure(
    stream: str,
    command_id: CommandId,
    saga_id: SagaId,
    outcome: Outcome,
    fault: Fault,
    retry_after_ms: int | None = None,
) -> Message:
    """A reply that says why the command failed or was rejected; long texts are shortened as `read_reply` does it."""
    kept = _fault(fault.code, fault.message)
    error: dict[str, object] = {"code": kept.code, "message": kept.message}
    if retry_after_ms is not None:
        error["retry_after_ms"] = retry_after_ms
    return _reply(stream, command_id, saga_id, outcome, error=write(error))


def write_progress(stream: str, command_id: CommandId, saga_id: SagaId) -> Message:
    """A heartbeat: the worker is still at work on the command."""
    return _reply(stream, command_id, saga_id, Outcome.PROGRESS)


def _reply(
    stream: str,
    command_id: CommandId,
    saga_id: SagaId,
    outcome: Outcome,
    *,
    data: str | None = None,
    error: str | None = None,
) -> Message:
    return message_of(stream, command_id=command_id, saga_id=saga_id, outcome=outcome.value, data=data, error=error)
