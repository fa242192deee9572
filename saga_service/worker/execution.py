"""One command through one handler to one reply. Whatever a handler does by itself, there is a reply that says so.

| the handler                                  | outcome   | code                          |
|----------------------------------------------|-----------|-------------------------------|
| returns                                      | succeeded |                               |
| raises `Rejected`                            | rejected  | its own                       |
| cannot be called, the data not fitting       | rejected  | `invalid_command`             |
| raises `Retryable`                           | failed    | its own, with its delay       |
| raises anything else                         | failed    | the exception's class         |
| returns what is no JSON object, or too large | failed    | `invalid_result`              |
| is not known here                            | failed    | `unknown_command`             |
| is not reached, the data being sealed        | failed    | `sealed_command`              |

An unknown command is not rejected: while a new version is rolled out, another process of the same service may know it,
and the retry may reach that one. The same goes for a command that is sealed with a key that is not known here.

A handler that was asked to end may still return, or raise `Rejected` or `Retryable`. Any other exception is then no
answer: what a cancellation tore apart says nothing of what had been done before.

With an inbox it may be that the handler is not called, or that there is no reply at all: see `inbox.verdicts`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Protocol

from saga_service.core.events import Outcome
from saga_service.wire.commands import ReceivedCommand
from saga_service.wire.entries import Message
from saga_service.worker.answers import InvalidResult, failure, success, text_of
from saga_service.worker.context import StepContext
from saga_service.worker.errors import Rejected, Retryable
from saga_service.worker.registration import Handler, InvalidCommand


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


def unopenable(command: ReceivedCommand, why: str) -> Message:
    """The reply to a command whose data this worker has no key for."""
    return failure(command, Outcome.FAILED, "sealed_command", why)


def _unforeseen(command: ReceivedCommand, context: StepContext, error: BaseException) -> Message:
    context.logger.error("the handler failed", error=text_of(error), exc_info=error)
    return failure(command, Outcome.FAILED, type(error).__name__, text_of(error))
