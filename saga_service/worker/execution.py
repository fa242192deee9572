"""Replies: from what a handler returned or raised to what is sent."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

from pydantic import BaseModel
from pydantic_core import to_jsonable_python

from saga_service.core.state import Fault
from saga_service.core.vocabulary import Outcome
from saga_service.wire.commands import ReceivedCommand
from saga_service.wire.encryption import encrypts
from saga_service.wire.entries import Malformed, Message
from saga_service.wire.json import read_object, write
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


def success(command: ReceivedCommand, result: object, reply_bytes_max: int) -> Message:
    """Raises InvalidResult."""
    output = _json_object(result)
    try:
        reply = write_success(command.reply_to, command.id, command.saga_id, output, command.cipher)
        written = reply.fields[-1].encode()
        if len(written) > reply_bytes_max - ENVELOPE_BYTES_MAX:
            raise InvalidResult(f"the result has {len(written)} bytes, and a reply may have {reply_bytes_max}")
        # What the service could not read would be lost on it: the step would time out and nobody would know why.
        read_object(write(output).encode() if encrypts(command.cipher) else written, "result")
    except (TypeError, ValueError, Malformed) as error:
        raise InvalidResult(f"the result cannot be sent: {error}") from None
    return reply


def failure(
    command: ReceivedCommand, outcome: Outcome, code: str, message: str, retry_after_ms: int | None = None
) -> Message:
    fault = Fault(_sendable(code)[:CODE_CHARACTERS_MAX], _sendable(message)[:MESSAGE_CHARACTERS_MAX])
    return write_failure(command.reply_to, command.id, command.saga_id, outcome, fault, retry_after_ms)


def body_of(reply: Message) -> str:
    """A success's data or a failure's error, as JSON: what a worker writes of a reply last."""
    return reply.fields[-1]


def text_of(error: BaseException) -> str:
    try:
        return str(error) or type(error).__name__
    except Exception:  # noqa: BLE001  # an author's exception class may fail at this too, and still needs its reply
        return f"a {type(error).__name__} that cannot be shown"


def _json_object(result: object) -> Mapping[str, Any]:
    if result is None:
        return {}
    if not isinstance(result, (BaseModel, Mapping)):
        raise InvalidResult(f"a result is a pydantic model, a mapping, or None, but is of type {type(result).__name__}")
    try:
        plain = result.model_dump(mode="json") if isinstance(result, BaseModel) else to_jsonable_python(result)
    except Exception as error:  # noqa: BLE001  # the model's serializers are the author's
        raise InvalidResult(f"the result cannot be written as JSON: {text_of(error)}") from None
    if not isinstance(plain, dict):
        raise InvalidResult(f"a result must be a JSON object, but {type(result).__name__} becomes another value")
    return plain


def _sendable(text: str) -> str:
    # Neither JSON nor Postgres takes half a surrogate pair or a NUL.
    return str(text).replace("\x00", "\\x00").encode("utf-8", "backslashreplace").decode()


# MERGED from worker.execution:
# One command through one handler to one reply. Whatever a handler does by itself, there is a reply that says so.
#
# | the handler                                  | outcome   | code                          |
# |----------------------------------------------|-----------|-------------------------------|
# | returns                                      | succeeded |                               |
# | raises `Rejected`                            | rejected  | its own                       |
# | cannot be called, the data not fitting       | rejected  | `invalid_command`             |
# | raises `Retryable`                           | failed    | its own, with its delay       |
# | raises anything else                         | failed    | the exception's class         |
# | returns what is no JSON object, or too large | failed    | `invalid_result`              |
# | is not known here                            | failed    | `unknown_command`             |
# | is not reached, the data being encrypted        | failed    | `encrypted_command`              |
#
# An unknown command is not rejected: while a new version is rolled out, another process of the same service may know
# it,
# and the retry may reach that one. The same goes for a command that is encrypted with a key that is not known here.
#
# A handler that was asked to end may still return, or raise `Rejected` or `Retryable`. Any other exception is then no
# answer: what a cancellation tore apart says nothing of what had been done before.
#
# With an inbox it may be that the handler is not called, or that there is no reply at all: see `inbox.verdicts`.


class Once(Protocol):
    """Calls a handler so that its effect happens once; `inbox.once` has it."""

    async def carry_out(
        self, handler: Handler, command: ReceivedCommand, argument: object, context: StepContext, reply_bytes_max: int
    ) -> Message | None:
        """The reply, or None where there is to be none. Raises what the handler raises."""


def _never_asked_to_end(_: ReceivedCommand) -> bool:
    return False


async def execute(
    handler: Handler,
    command: ReceivedCommand,
    data: bytes,
    context: StepContext,
    reply_bytes_max: int,
    was_asked_to_end: Callable[[ReceivedCommand], bool] = _never_asked_to_end,
    once: Once | None = None,
) -> Message | None:
    """The reply to the command, or None where there is to be none.

    Raises only CancelledError, where the handler was asked to end.
    """
    try:
        argument = handler.argument(command, data)
        if once is not None:
            return await once.carry_out(handler, command, argument, context, reply_bytes_max)
        result = await (handler.function(argument, context) if handler.takes_context else handler.function(argument))
        return success(command, result, reply_bytes_max)
    except InvalidCommand as error:
        context.logger.warning("the command's data does not fit the handler's model", error=str(error))
        return failure(command, Outcome.REJECTED, "invalid_command", str(error))
    except Rejected as error:
        context.logger.info("the handler rejected the command", code=error.code, error=error.message)
        return failure(command, Outcome.REJECTED, error.code, error.message)
    except Retryable as error:
        context.logger.info("the handler asks for another try", code=error.code, error=error.message)
        return failure(command, Outcome.FAILED, error.code, error.message, error.retry_after_ms)
    except InvalidResult as error:
        context.logger.error("the handler's result cannot be sent", error=str(error))
        return failure(command, Outcome.FAILED, "invalid_result", str(error))
    except asyncio.CancelledError as error:
        # Not by the task's own count of cancellations: libraries' time-outs cancel it too, and some leave it so.
        if was_asked_to_end(command):
            raise
        # Something that the handler waited for was cancelled, not the handler.
        return _unforeseen(command, context, error)
    except Exception as error:  # the handler is the author's: whatever it raises is an answer
        if was_asked_to_end(command):
            context.logger.warning("the handler failed when it was cancelled; no reply is sent", error=text_of(error))
            raise asyncio.CancelledError from error
        return _unforeseen(command, context, error)


def unknown(command: ReceivedCommand, known_types: Iterable[str]) -> Message:
    """The reply to a command that has no handler here."""
    known = ", ".join(sorted(known_types)) or "none"
    return failure(
        command,
        Outcome.FAILED,
        "unknown_command",
        f"this worker has no handler for '{command.type}'; it knows: {known}",
    )


def undecryptable(command: ReceivedCommand, why: str) -> Message:
    """The reply to a command whose data this worker has no key for."""
    return failure(command, Outcome.FAILED, "encrypted_command", why)


def _unforeseen(command: ReceivedCommand, context: StepContext, error: BaseException) -> Message:
    context.logger.error("the handler failed", error=text_of(error), exc_info=error)
    return failure(command, Outcome.FAILED, type(error).__name__, text_of(error))
