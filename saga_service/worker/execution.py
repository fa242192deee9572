"""One command through one handler to one reply. Whatever a handler does, there is a reply that says so.

| the handler                                  | outcome   | code                          |
|----------------------------------------------|-----------|-------------------------------|
| returns                                      | succeeded |                               |
| raises `Rejected`                            | rejected  | its own                       |
| cannot be called, the data not fitting       | rejected  | `invalid_command`             |
| raises `Retryable`                           | failed    | its own, with its delay       |
| raises anything else                         | failed    | the exception's class         |
| returns what is no JSON object, or too large | failed    | `invalid_result`              |
| is not known here                            | failed    | `unknown_command`             |

An unknown command is not rejected: while a new version is rolled out, another process of the same service may know it,
and the retry may reach that one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel
from pydantic_core import to_jsonable_python

from saga_service.core.events import Outcome
from saga_service.core.state import Fault
from saga_service.wire.commands import ReceivedCommand
from saga_service.wire.entries import Malformed, Message
from saga_service.wire.json import read_object
from saga_service.wire.replies import write_failure, write_success
from saga_service.worker.context import StepContext
from saga_service.worker.errors import Rejected, Retryable
from saga_service.worker.registration import Handler, InvalidCommand

MESSAGE_CHARACTERS_MAX = 2_000
CODE_CHARACTERS_MAX = 200
ENVELOPE_BYTES_MAX = 1_024
"""What a reply has besides its data, at most."""


class InvalidResult(Exception):
    """What the handler returned cannot be sent; the text says why."""


async def execute(
    handler: Handler, command: ReceivedCommand, data: bytes, context: StepContext, reply_bytes_max: int
) -> Message:
    """The reply to the command. Raises only CancelledError, where this task itself is cancelled."""
    try:
        argument = handler.argument(command, data)
        result = await (handler.function(argument, context) if handler.takes_context else handler.function(argument))
        return _success(command, result, reply_bytes_max)
    except InvalidCommand as error:
        context.logger.warning("the command's data does not fit the handler's model", error=str(error))
        return _failure(command, Outcome.REJECTED, "invalid_command", str(error))
    except Rejected as error:
        context.logger.info("the handler rejected the command", code=error.code, error=error.message)
        return _failure(command, Outcome.REJECTED, error.code, error.message)
    except Retryable as error:
        context.logger.info("the handler asks for another try", code=error.code, error=error.message)
        return _failure(command, Outcome.FAILED, error.code, error.message, error.retry_after_ms)
    except InvalidResult as error:
        context.logger.error("the handler's result cannot be sent", error=str(error))
        return _failure(command, Outcome.FAILED, "invalid_result", str(error))
    except asyncio.CancelledError as error:
        if _is_being_cancelled():
            raise
        # Something that the handler waited for was cancelled, not the handler.
        return _unforeseen(command, context, error)
    except Exception as error:  # noqa: BLE001  # the handler is the author's: whatever it raises is an answer
        return _unforeseen(command, context, error)


def unknown(command: ReceivedCommand, known_types: Iterable[str]) -> Message:
    """The reply to a command that has no handler here."""
    known = ", ".join(sorted(known_types)) or "none"
    return _failure(
        command,
        Outcome.FAILED,
        "unknown_command",
        f"this worker has no handler for '{command.type}'; it knows: {known}",
    )


def _success(command: ReceivedCommand, result: object, reply_bytes_max: int) -> Message:
    output = _json_object(result)
    try:
        reply = write_success(command.reply_to, command.id, command.saga_id, output)
        written = reply.fields[-1].encode()
        if len(written) > reply_bytes_max - ENVELOPE_BYTES_MAX:
            raise InvalidResult(f"the result has {len(written)} bytes, and a reply may have {reply_bytes_max}")
        # What the service could not read would be lost on it: the step would time out and nobody would know why.
        read_object(written, "result")
    except (TypeError, ValueError, Malformed) as error:
        raise InvalidResult(f"the result cannot be sent: {error}") from None
    return reply


def _json_object(result: object) -> Mapping[str, Any]:
    if result is None:
        return {}
    if not isinstance(result, (BaseModel, Mapping)):
        raise InvalidResult(f"a result is a pydantic model, a mapping, or None, but is of type {type(result).__name__}")
    try:
        plain = result.model_dump(mode="json") if isinstance(result, BaseModel) else to_jsonable_python(result)
    except Exception as error:  # noqa: BLE001  # the model's serializers are the author's
        raise InvalidResult(f"the result cannot be written as JSON: {_text(error)}") from None
    if not isinstance(plain, dict):
        raise InvalidResult(f"a result must be a JSON object, but {type(result).__name__} becomes another value")
    return plain


def _failure(
    command: ReceivedCommand, outcome: Outcome, code: str, message: str, retry_after_ms: int | None = None
) -> Message:
    fault = Fault(_sendable(code)[:CODE_CHARACTERS_MAX], _sendable(message)[:MESSAGE_CHARACTERS_MAX])
    return write_failure(command.reply_to, command.id, command.saga_id, outcome, fault, retry_after_ms)


def _unforeseen(command: ReceivedCommand, context: StepContext, error: BaseException) -> Message:
    context.logger.error("the handler failed", error=_text(error), exc_info=error)
    return _failure(command, Outcome.FAILED, type(error).__name__, _text(error))


def _is_being_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _text(error: BaseException) -> str:
    try:
        return str(error) or type(error).__name__
    except Exception:  # noqa: BLE001  # an author's exception class may fail at this too, and still needs its reply
        return f"a {type(error).__name__} that cannot be shown"


def _sendable(text: str) -> str:
    # Neither JSON nor Postgres takes half a surrogate pair or a NUL.
    return str(text).replace("\x00", "\\x00").encode("utf-8", "backslashreplace").decode()
