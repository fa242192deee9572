"""One command through one handler to one reply.

| the handler                                  | outcome           | code                          |
|----------------------------------------------|-------------------|-------------------------------|
| returns                                      | succeeded         |                               |
| raises `Rejected`                            | rejected          | its own                       |
| cannot be called: the data does not fit      | rejected; a probe | `invalid_command`             |
|                                              | is failed         |                               |
| raises `Retryable`                           | failed            | its own, with its delay       |
| raises `Unknown`                             | unknown           | its own, with its delay       |
| raises anything else                         | failed or unknown | the exception's class         |
| returns no JSON object, or too large a one   | failed or unknown | `invalid_result`              |
| is not registered in this process            | failed            | `unknown_command`             |
| is not called: the data cannot be decrypted  | failed            | `encrypted_command`           |

What nobody foresaw may come after the effect. It is `unknown` where the step says so (`on_error`), which is the default
of steps that have a compensation. A transaction of the inbox is rolled back with everything in it, so that a
transactional handler has always failed. "Anything else" is every exception: a panic of a library in Rust, `sys.exit()`
in the handler's own code, a cancellation that nobody asked for. Only the process's own signals end a worker.

A rejected probe means that the action did not happen. A probe that no handler was called for says nothing of that.

An unknown command is not rejected: during a roll-out another process of the same service may have its handler, and the
retry may reach that process. The same holds for a command encrypted with a key that this process does not have.

A handler that was asked to end may still return, or raise `Rejected`, `Retryable` or `Unknown`. Any other exception is
then no reply: what a cancellation interrupts says nothing about what was done before it.

With an inbox the handler may not be called, and there may be no reply: see `inbox.deduplication`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Protocol

from saga_service.core.state import Fault
from saga_service.core.vocabulary import Direction, Outcome
from saga_service.wire.commands import ReceivedCommand
from saga_service.wire.entries import Message
from saga_service.wire.replies import write_failure, write_success
from saga_service.worker.context import StepContext
from saga_service.worker.errors import (
    ENCRYPTED_COMMAND,
    FAULT_CODES,
    INVALID_COMMAND,
    INVALID_RESULT,
    NOT_BEGUN_IN_TIME,
    UNKNOWN_COMMAND,
    Rejected,
    Retryable,
    Unknown,
)
from saga_service.worker.handler_results import InvalidResult, json_object
from saga_service.worker.registration import Handler, InvalidCommand

ENVELOPE_BYTES_MAX = 1_024
"""The most that a reply has besides its data."""


class ExactlyOnce(Protocol):
    """Calls handlers so that each effect happens once; `inbox.exactly_once` fulfils it."""

    async def carry_out(
        self, handler: Handler, command: ReceivedCommand, argument: object, context: StepContext, reply_bytes_max: int
    ) -> Message | None:
        """Return the reply, or None where no reply may be sent. Raises what the handler raises."""


def _never_asked_to_end(_: ReceivedCommand) -> bool:
    return False


async def execute(
    handler: Handler,
    command: ReceivedCommand,
    context: StepContext,
    reply_bytes_max: int,
    was_asked_to_end: Callable[[ReceivedCommand], bool] = _never_asked_to_end,
    exactly_once: ExactlyOnce | None = None,
) -> Message | None:
    """Carry out the command, with its signs of life, and return the reply; None where no reply may be sent.

    Raises CancelledError alone, and only where the handler was asked to end.
    """
    if command.expects_heartbeats:
        context.progress_now()
    was_called = False
    try:
        argument = handler.argument(command)
        was_called = True
        with _heartbeat(handler.heartbeat_s, context.progress_now):
            if exactly_once is not None:
                return await exactly_once.carry_out(handler, command, argument, context, reply_bytes_max)
            return success(command, await handler.call(argument, context), reply_bytes_max)
    except InvalidCommand as error:
        context.logger.warning("the command's data does not fit the handler's model", error=str(error))
        outcome = Outcome.FAILED if command.direction is Direction.PROBE else Outcome.REJECTED
        return failure(command, outcome, INVALID_COMMAND, str(error))
    except Rejected as error:
        context.logger.info("the handler rejected the command", code=error.code, error=error.message)
        return failure(command, Outcome.REJECTED, error.code, error.message)
    except Retryable as error:
        context.logger.info("the handler asks for a retry", code=error.code, error=error.message)
        return failure(command, Outcome.FAILED, error.code, error.message, error.retry_after_ms)
    except Unknown as error:
        context.logger.info("the handler does not know what happened", code=error.code, error=error.message)
        is_rolled_back = handler.takes_connection and command.direction is not Direction.PROBE
        outcome = Outcome.FAILED if is_rolled_back else Outcome.UNKNOWN
        return failure(command, outcome, error.code, error.message, error.retry_after_ms)
    except InvalidResult as error:
        context.logger.error("the handler's result cannot be sent", error=str(error))
        return failure(command, _unforeseen_outcome(handler, command), INVALID_RESULT, str(error))
    except BaseException as error:  # the handler is the author's: whatever it raises is a reply
        # Not by the task's own count of cancellations: libraries' time-outs cancel it too, and some leave it so.
        if not was_asked_to_end(command):
            return _unforeseen(handler if was_called else None, command, context, error)
        if isinstance(error, asyncio.CancelledError):
            raise
        context.logger.warning("the handler failed when it was cancelled; no reply is sent", error=text_of(error))
        raise asyncio.CancelledError from error


@contextmanager
def _heartbeat(every_s: float | None, beat: Callable[[], None]) -> Iterator[None]:
    """Give a sign of life each `every_s` seconds while the handler's task lives and the event loop turns.

    A handler that waits for ever looks alive: its deadline ends it.
    """
    if every_s is None:
        yield
        return
    loop, period_s = asyncio.get_running_loop(), every_s
    timer: asyncio.TimerHandle

    def again() -> None:
        nonlocal timer
        beat()
        timer = loop.call_later(period_s, again)

    timer = loop.call_later(period_s, again)
    try:
        yield
    finally:
        timer.cancel()


def unknown_command(command: ReceivedCommand, known_types: Iterable[str]) -> Message:
    """Reply to a command whose type has no handler in this process."""
    known = ", ".join(sorted(known_types)) or "none"
    text = f"this worker has no handler for '{command.type}'; it knows: {known}"
    return failure(command, Outcome.FAILED, UNKNOWN_COMMAND, text)


def encrypted_command(command: ReceivedCommand, why: str) -> Message:
    """Reply to a command whose data this process has no key for."""
    return failure(command, Outcome.FAILED, ENCRYPTED_COMMAND, why)


def not_begun(command: ReceivedCommand) -> Message:
    """Reply to a command that was read after its deadline, and that never began anywhere."""
    return failure(command, Outcome.FAILED, NOT_BEGUN_IN_TIME, FAULT_CODES[NOT_BEGUN_IN_TIME])


def success(command: ReceivedCommand, result: object, reply_bytes_max: int) -> Message:
    """Reply with a handler's result. Raises InvalidResult."""
    output = json_object(result)
    reply = write_success(command.reply_to, command.id, command.saga_id, output, command.cipher)
    written_bytes = len(reply.fields[-1].encode())
    if written_bytes > reply_bytes_max - ENVELOPE_BYTES_MAX:
        raise InvalidResult(f"the result has {written_bytes} bytes, and a reply may have {reply_bytes_max}")
    return reply


def failure(
    command: ReceivedCommand, outcome: Outcome, code: str, message: str, retry_after_ms: int | None = None
) -> Message:
    """Reply that the command failed or was rejected."""
    fault = Fault(_sendable(code), _sendable(message))
    return write_failure(command.reply_to, command.id, command.saga_id, outcome, fault, retry_after_ms)


def body_of(reply: Message) -> str:
    """Return a success's data or a failure's error, as JSON: the field that a worker writes last."""
    return reply.fields[-1]


def text_of(error: BaseException) -> str:
    """Return the exception's text, its class where the text is empty or cannot be made.

    The text of a group names its members, which say what went wrong.
    """
    if isinstance(error, BaseExceptionGroup):
        members = "; ".join(f"{type(member).__name__}: {text_of(member)}" for member in error.exceptions)
        return f"{error.message} ({members})"
    try:
        return str(error) or type(error).__name__
    except Exception:  # noqa: BLE001  # an author's exception class may fail at this too, and still needs its reply
        return f"a {type(error).__name__} that cannot be shown"


def _sendable(text: str) -> str:
    # Neither JSON nor Postgres takes half a surrogate pair or a NUL.
    return str(text).replace("\x00", "\\x00").encode("utf-8", "backslashreplace").decode()


def _unforeseen(
    called: Handler | None, command: ReceivedCommand, context: StepContext, error: BaseException
) -> Message:
    outcome, text = _unforeseen_outcome(called, command), text_of(error)
    context.logger.error("the handler failed", error=text, outcome=outcome.value, exc_info=error)
    return failure(command, outcome, type(error).__name__, text)


def _unforeseen_outcome(called: Handler | None, command: ReceivedCommand) -> Outcome:
    in_doubt = command.errors_are_unknown and called is not None and not called.takes_connection
    return Outcome.UNKNOWN if in_doubt else Outcome.FAILED
