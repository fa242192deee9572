"""The exceptions that handlers raise, and the one that registering a handler raises."""

from __future__ import annotations

from datetime import timedelta

from saga_service.wire.replies import RETRY_AFTER_MS_MAX
from saga_service.worker.fault_codes import RETRYABLE


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
