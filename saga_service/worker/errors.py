"""The exceptions that handlers raise, and the error codes that workers reply with by themselves.

The codes of handlers (of `Rejected`, `Retryable`, `Unknown`, and the class of any other exception) are not among them.
The workers' guide has the same table, and a test compares the two.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING

from saga_service.wire.replies import RETRY_AFTER_MS_MAX

INVALID_COMMAND = "invalid_command"
INVALID_RESULT = "invalid_result"
UNKNOWN_COMMAND = "unknown_command"
ENCRYPTED_COMMAND = "encrypted_command"
NOT_BEGUN_IN_TIME = "not_begun_in_time"
REJECTED = "rejected"
RETRYABLE = "retryable"
UNKNOWN = "unknown"
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
    REJECTED: "The handler raised `Rejected` without a code of its own.",
    RETRYABLE: "The handler raised `Retryable` without a code of its own.",
    UNKNOWN: "The handler raised `Unknown` without a code of its own.",
    NOT_A_PROBE: "An action or a compensation was sent to a type that the inbox answers probes of.",
    INBOX_UNAVAILABLE: "The inbox's database could not be reached before the deadline. Nothing was done.",
    UNDONE_BEFORE_DONE: "The step was undone before its action arrived. The action was not carried out.",
    FENCED_BY_PROBE: "A probe has found before that the action did not happen. The action was not carried out.",
    DID_NOT_HAPPEN: "The action did not happen, and no attempt that was sent so far will begin.",
    IN_DOUBT: "The action began, and its end is not recorded. It may have happened.",
    ACTION_ENDED_MEANWHILE: "The action ended while it was being undone. The undo has to be carried out again.",
}
"""Code and meaning, in the order in which a reader of the documents meets them."""


class Said(Exception):
    """What a handler says of its attempt, with a code and a message; both may be left out.

    The code comes first, and is that by which a saga's policy knows the error (`never: [busy]`). A single text with
    white space in it is the message, and so is the first text where `code` is given by name. Nothing that is given to
    it fails: an error in a handler's error would be taken for another one.
    """

    default_code = ""

    def __init__(self, *given: object, **named: object) -> None:
        texts, code, message = [_text(each) for each in given], _text(named.pop("code", "")), named.pop("message", "")
        if not code and (len(texts) > 1 or (texts and not any(map(str.isspace, texts[0])))):
            code = texts.pop(0)
        # What is not understood is not lost.
        unknown = [f"{name}={_text(value)}" for name, value in named.items()]
        self.code = code or self.default_code
        self.message = "; ".join(part for part in (_text(message), *texts, *unknown) if part)
        super().__init__(f"{self.code}: {self.message}" if self.message else self.code)


class Rejected(Said):
    """The step can never succeed: it is not retried, and the saga starts to compensate."""

    default_code = REJECTED

    if TYPE_CHECKING:

        def __init__(self, text: str = "", message: str = "", *, code: str = "") -> None: ...


class _WithDelay(Said):
    def __init__(self, *given: object, delay: object = None, **named: object) -> None:
        super().__init__(*given, **named)
        self.retry_after_ms = _milliseconds(delay)


class Retryable(_WithDelay):
    """The attempt failed; the saga's retry policy decides if there is another one.

    `delay` (seconds, or a timedelta) asks for that wait instead of the policy's own, from none to seven days. Any other
    exception is retried as well; this one is expected, so no traceback is logged.
    """

    default_code = RETRYABLE

    if TYPE_CHECKING:

        def __init__(
            self, text: str = "", message: str = "", *, code: str = "", delay: float | timedelta | None = None
        ) -> None: ...


class Unknown(_WithDelay):
    """The attempt may have had its effect, and nobody knows: a provider did not answer, say.

    The saga treats the attempt as one that was never answered: the step's `on_unknown` decides whether it is tried
    again, probed, undone or held, and its effect is undone where the step is given up. `delay` is that of `Retryable`.
    """

    default_code = UNKNOWN

    if TYPE_CHECKING:

        def __init__(
            self, text: str = "", message: str = "", *, code: str = "", delay: float | timedelta | None = None
        ) -> None: ...


class WrongHandler(TypeError):
    """A handler cannot be registered; the text says which one, why, and what to write."""


def _text(value: object) -> str:
    try:
        return "" if value is None else str(value).strip()
    except Exception:  # noqa: BLE001  # an author's object may fail at this too
        return f"a {type(value).__name__} that cannot be shown"


def _milliseconds(delay: object) -> int | None:
    """The nearest delay that a saga keeps; None for what is no delay."""
    seconds = delay.total_seconds() if isinstance(delay, timedelta) else delay
    if not isinstance(seconds, int | float) or isinstance(seconds, bool) or seconds != seconds:
        return None
    return round(min(max(seconds, 0.0), RETRY_AFTER_MS_MAX / 1000) * 1000)
