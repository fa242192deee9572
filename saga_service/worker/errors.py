"""The exceptions that handlers raise, and the error codes that workers reply with by themselves.

A handler's own codes (`Rejected`, `Retryable`, the class of any other exception) are not among them. The workers' guide
has the same table, and a test compares the two.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from saga_service.wire.replies import RETRY_AFTER_MS_MAX

INVALID_COMMAND = "invalid_command"
INVALID_RESULT = "invalid_result"
UNKNOWN_COMMAND = "unknown_command"
ENCRYPTED_COMMAND = "encrypted_command"
NOT_BEGUN_IN_TIME = "not_begun_in_time"
RETRYABLE = "retryable"
NOT_A_PROBE = "not_a_probe"
INBOX_UNAVAILABLE = "inbox_unavailable"
UNDONE_BEFORE_DONE = "undone_before_done"
FENCED_BY_PROBE = "fenced_by_probe"
DID_NOT_HAPPEN = "did_not_happen"
IN_DOUBT = "in_doubt"
ACTION_ENDED_MEANWHILE = "action_ended_meanwhile"

FAULT_CODES: Mapping[str, str] = {
    INVALID_COMMAND: "The command's data does not fit the handler's model. The message names each field.",
    INVALID_RESULT: "The handler's result is no JSON object, cannot be written as JSON, or is too large.",
    UNKNOWN_COMMAND: "No process that read the command until shortly before its deadline has a handler for its type.",
    ENCRYPTED_COMMAND: "No process that read the command until shortly before its deadline has the key of its data.",
    NOT_BEGUN_IN_TIME: "The command was read after its deadline, and no worker had begun on it. Nothing was done.",
    RETRYABLE: "The handler raised `Retryable` without a code of its own.",
    NOT_A_PROBE: "An action or a compensation was sent to a type that the inbox answers probes of.",
    INBOX_UNAVAILABLE: "The inbox's database could not be reached before the deadline. Nothing was done.",
    UNDONE_BEFORE_DONE: "The step was undone before its action arrived. The action was not carried out.",
    FENCED_BY_PROBE: "A probe has found before that the action did not happen. The action was not carried out.",
    DID_NOT_HAPPEN: "The action did not happen, and no attempt that was sent so far will begin.",
    IN_DOUBT: "The action began, and its end is not recorded. It may have happened.",
    ACTION_ENDED_MEANWHILE: "The action ended while it was being undone. The undo has to be carried out again.",
}
"""Code and meaning, in the order in which a reader of the documents meets them."""


class Retryable(Exception):
    """The attempt failed; the saga's retry policy decides if there is another one.

    `delay` (seconds, or a timedelta) asks for that wait instead of the policy's own: seven days at most. Any other
    exception is retried as well; this one is expected, so no traceback is logged. Raises ValueError for a delay that no
    saga would keep.
    """

    def __init__(self, message: str, *, code: str = RETRYABLE, delay: float | timedelta | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.retry_after_ms = None if delay is None else _milliseconds(delay)


class Rejected(Exception):
    """The step can never succeed: it is not retried, and the saga starts to compensate."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


class WrongHandler(TypeError):
    """A handler cannot be registered; the text says which one, why, and what to write."""


def _milliseconds(delay: float | timedelta) -> int:
    seconds = delay.total_seconds() if isinstance(delay, timedelta) else delay
    if not 0 <= seconds <= RETRY_AFTER_MS_MAX / 1000:
        raise ValueError(f"a Retryable's delay must be from 0 seconds to 7 days, but is {seconds} seconds")
    return round(seconds * 1000)
