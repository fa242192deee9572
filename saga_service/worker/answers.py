"""Replies: from what a handler returned or raised to what is sent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from pydantic_core import to_jsonable_python

from saga_service.core.events import Outcome
from saga_service.core.state import Fault
from saga_service.wire.codec import seals
from saga_service.wire.commands import ReceivedCommand
from saga_service.wire.entries import Malformed, Message
from saga_service.wire.json import read_object, write
from saga_service.wire.replies import write_failure, write_success

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
        reply = write_success(command.reply_to, command.id, command.saga_id, output, command.codec)
        written = reply.fields[-1].encode()
        if len(written) > reply_bytes_max - ENVELOPE_BYTES_MAX:
            raise InvalidResult(f"the result has {len(written)} bytes, and a reply may have {reply_bytes_max}")
        # What the service could not read would be lost on it: the step would time out and nobody would know why.
        read_object(write(output).encode() if seals(command.codec) else written, "result")
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
