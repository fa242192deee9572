"""What workers answer."""

from __future__ import annotations

from saga_service.core.events import Replied
from saga_service.core.ids import CommandId, CommandName, SagaId, idempotency_key, parse_command_id
from saga_service.core.state import Fault, JsonObject
from saga_service.core.vocabulary import Outcome
from saga_service.wire.encryption import REPLY, Cipher, is_encrypted, read_decrypted, write_data
from saga_service.wire.entries import WIRE_VERSION, Entry, Malformed, Message, required_text, text
from saga_service.wire.json import read_object, write

_OUTCOMES = {outcome.value: outcome for outcome in Outcome}
_ERROR_CODE_DEFAULT = "failed"
RETRY_AFTER_MS_MAX = 7 * 24 * 3_600_000
ERROR_CODE_CHARACTERS_MAX = 200
ERROR_MESSAGE_CHARACTERS_MAX = 2_000
"""An error is kept at each attempt, and shown to people: a worker's whole log has no context in it."""


def read_reply(entry: Entry, cipher: Cipher | None = None) -> Replied:
    """An entry of the replies stream. Raises Malformed, and DecryptionFailed.

    `error` is a JSON object with `code`, `message` and, at will, `retry_after_ms`; plain text is taken as the message.
    Both texts are shortened where they are too long.
    """
    fields = entry.fields
    given_id = required_text(fields, "command_id")
    command = parse_command_id(given_id)
    if command is None:
        raise Malformed(f"field 'command_id' is not the id of a command: '{given_id[:200]}'")
    saga_id = text(fields, "saga_id")
    if saga_id is not None and saga_id.lower() != command.saga_id:
        raise Malformed(f"field 'saga_id' is '{saga_id[:100]}', but the command belongs to saga {command.saga_id}")
    given_outcome = required_text(fields, "outcome")
    outcome = _OUTCOMES.get(given_outcome)
    if outcome is None:
        raise Malformed(f"field 'outcome' must be one of {', '.join(_OUTCOMES)}, but is '{given_outcome[:100]}'")
    if outcome is Outcome.SUCCEEDED:
        return Replied(command, outcome, output=_read_output(fields.get(b"data"), cipher, command))
    if outcome is Outcome.PROGRESS:
        return Replied(command, outcome)
    fault, retry_after_ms = _read_error(fields.get(b"error"), text(fields, "error"))
    return Replied(command, outcome, fault=fault, retry_after_ms=retry_after_ms)


def _read_output(raw: bytes | None, cipher: Cipher | None, command: CommandName) -> JsonObject:
    output = read_object(raw or b"{}", "data")
    return read_decrypted(output, cipher, *_context(command)) if is_encrypted(output) else output


def _context(command: CommandName) -> tuple[str, str]:
    # The same over all attempts, so that a worker may answer again with what it once recorded.
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
    data = write(output) if cipher is None else _write_encrypted(output, cipher, command_id)
    return _reply(stream, command_id, saga_id, Outcome.SUCCEEDED, "data", data)


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
    error: dict[str, object] = {"code": fault.code, "message": fault.message}
    if retry_after_ms is not None:
        error["retry_after_ms"] = retry_after_ms
    return _reply(stream, command_id, saga_id, outcome, "error", write(error))


def write_progress(stream: str, command_id: CommandId, saga_id: SagaId) -> Message:
    return _reply(stream, command_id, saga_id, Outcome.PROGRESS)


def _reply(stream: str, command_id: CommandId, saga_id: SagaId, outcome: Outcome, *more: str) -> Message:
    return Message(
        stream, ("v", WIRE_VERSION, "command_id", command_id, "saga_id", saga_id, "outcome", outcome.value, *more)
    )
