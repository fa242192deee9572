"""Replies to commands, from workers and from child sagas."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from saga_service.core.events import Replied
from saga_service.core.fault_codes import INVALID_OUTPUT, MESSAGE_TOO_LARGE
from saga_service.core.ids import CommandId, CommandName, SagaId, idempotency_key, parse_command_id
from saga_service.core.state import Fault, JsonObject
from saga_service.core.vocabulary import Direction, Outcome
from saga_service.wire.encryption import REPLY, Cipher, read_data, write_data
from saga_service.wire.entries import Entry, Malformed, Message, message_of
from saga_service.wire.fields import optional_text, readable_text, required_choice, required_command, storable
from saga_service.wire.json import read_leniently, write

_OUTCOMES = {outcome.value: outcome for outcome in Outcome}
_ERROR_CODE_DEFAULT, _NO_REASON = "failed", "the worker gave no reason"
RETRY_AFTER_MS_MAX = 7 * 24 * 3_600_000
ERROR_CODE_CHARACTERS_MAX = 200
ERROR_MESSAGE_CHARACTERS_MAX = 2_000
"""An error is stored with each attempt and shown to people, so it cannot hold a worker's whole log."""


def read_reply(entry: Entry, cipher: Cipher | None = None, too_large: str | None = None) -> Replied:
    """The reply in an entry of the replies stream. Raises Malformed and DecryptionFailed.

    A success whose output cannot be read has `fault`, for that it happened still counts. `too_large` says why neither
    output nor error of this entry is read.

    `error` is a JSON object with `code`, `message` and, optionally, `retry_after_ms`; plain text is taken as the
    message. Both texts are shortened to their limits. The outcome counts whatever `error` holds: bytes that are no text
    are escaped, and the message says which part of it was ignored. The data of an undo's reply is not read.
    """
    fields = entry.fields
    command = required_command(fields, "command_id")
    saga_id = optional_text(fields, "saga_id")
    if saga_id is not None and saga_id.lower() != command.saga_id:
        raise Malformed(f"field 'saga_id' is '{saga_id[:100]}', but the command belongs to saga {command.saga_id}")
    outcome = required_choice(fields, "outcome", _OUTCOMES)
    if outcome is Outcome.SUCCEEDED:
        return _success(entry, command, cipher, too_large)
    if outcome is Outcome.PROGRESS:
        return Replied(command, outcome)
    if too_large is not None:
        return Replied(command, outcome, fault=_fault(_ERROR_CODE_DEFAULT, f"its error was not read: {too_large}"))
    fault, retry_after_ms = _read_error(fields.get(b"error") or b"")
    return Replied(command, outcome, fault=fault, retry_after_ms=retry_after_ms)


def _success(entry: Entry, command: CommandName, cipher: Cipher | None, too_large: str | None) -> Replied:
    data = entry.fields.get(b"data")
    if command.direction is Direction.COMPENSATION:
        return Replied(command, Outcome.SUCCEEDED, output={})
    if too_large is not None:
        return _without_output(command, _fault(MESSAGE_TOO_LARGE, too_large))
    if data is None and b"error" in entry.fields:
        fault, _ = _read_error(entry.fields[b"error"])
        if fault.code == MESSAGE_TOO_LARGE:
            return _without_output(command, fault)
    try:
        return Replied(command, Outcome.SUCCEEDED, output=read_data(data, cipher, *_context(command)))
    except Malformed as error:
        return _without_output(command, _fault(INVALID_OUTPUT, f"the output of step '{command.step}': {error}"))


def _without_output(command: CommandName, fault: Fault) -> Replied:
    return Replied(command, Outcome.SUCCEEDED, output={}, fault=fault)


def _context(command: CommandName) -> tuple[str, str]:
    # One context for all attempts, so that a worker may repeat a reply that it has recorded.
    return REPLY, idempotency_key(command.saga_id, command.step, command.direction)


def _read_error(raw: bytes) -> tuple[Fault, int | None]:
    text = readable_text(raw)
    if not text.lstrip().startswith("{"):
        return _fault(_ERROR_CODE_DEFAULT, text or _NO_REASON), None
    error = read_leniently(raw)
    if not isinstance(error, dict):
        return _fault(_ERROR_CODE_DEFAULT, text, ["it is not valid JSON"]), None
    ignored = [f"'{name}' is no text" for name in ("code", "message") if isinstance(error.get(name), dict | list)]
    delay_ms = error.get("retry_after_ms")
    if delay_ms is not None and not _is_delay(delay_ms):
        delay_ms = None
        ignored.append(f"'retry_after_ms' must be a whole number from 0 to {RETRY_AFTER_MS_MAX}")
    code, message = _text_in(error, "code"), _text_in(error, "message")
    return _fault(code or _ERROR_CODE_DEFAULT, message or _NO_REASON, ignored), delay_ms


def _is_delay(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= RETRY_AFTER_MS_MAX


def _text_in(error: Mapping[str, object], name: str) -> str:
    value = error.get(name)
    return "" if value is None or isinstance(value, dict | list) else storable(str(value))


def _fault(code: str, message: str, ignored: Sequence[str] = ()) -> Fault:
    note = f" (a part of the field 'error' was ignored: {'; '.join(ignored)})" if ignored else ""
    shortened = _shortened(message, ERROR_MESSAGE_CHARACTERS_MAX - len(note))
    return Fault(_shortened(code, ERROR_CODE_CHARACTERS_MAX), shortened + note)


def _shortened(text: str, characters_max: int) -> str:
    return text if len(text) <= characters_max else f"{text[: characters_max - 1]}…"


def write_success(
    stream: str, command_id: CommandId, saga_id: SagaId, output: JsonObject, cipher: Cipher | None = None
) -> Message:
    """A reply with the command's output. Raises orjson.JSONEncodeError where it cannot be written as JSON."""
    data = write(output) if cipher is None else _write_encrypted(output, cipher, command_id)
    return _reply(stream, command_id, saga_id, Outcome.SUCCEEDED, data=data)


def write_success_without_output(stream: str, command_id: CommandId, saga_id: SagaId, fault: Fault) -> Message:
    """The reply of what was done, and whose output cannot be sent; `fault` says why."""
    error = {"code": fault.code, "message": fault.message}
    return _reply(stream, command_id, saga_id, Outcome.SUCCEEDED, error=write(error))


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


_OUTCOME_PLACE = 7
"""Where `_reply` puts an outcome: behind the version, the command's id and the saga's."""


def outcome_of(reply: Message) -> str:
    """The outcome in a reply that was written here."""
    return reply.fields[_OUTCOME_PLACE]


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
