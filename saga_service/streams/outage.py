"""An outage as its log tells it: one line when it begins, one when it is over, and growing waits in between."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from structlog.typing import FilteringBoundLogger

from saga_service.base.backoff import Backoff
from saga_service.wire.transport import StreamLost, TransportUnavailable


class Outage:
    """`activity` names what is held up. `pause`, if there is one, waits so many seconds or until somebody ends it."""

    def __init__(
        self, log: FilteringBoundLogger, activity: str, pause: Callable[[float], Awaitable[None]] | None = None
    ) -> None:
        self._log = log
        self._activity = activity
        self._pause = pause
        self._backoff = Backoff()

    @property
    def is_on(self) -> bool:
        return self._backoff.attempts > 0

    async def wait(self, error: Exception) -> None:
        """Wait before the next try.

        An error that no waiting will mend is logged louder and waited on all the same: a person may mend it, and the
        work of others must not end for it.
        """
        if not self.is_on:
            expected = isinstance(error, TransportUnavailable | StreamLost)
            log = self._log.warning if expected else self._log.error
            log(f"{self._activity} is held up; trying again until it works", error=str(error))
        if self._pause is None:
            await self._backoff.wait()
        else:
            await self._pause(self._backoff.next_s())

    def over(self) -> None:
        """Report the end of the outage, if there was one."""
        if self.is_on:
            self._log.info(f"{self._activity} goes on", tries=self._backoff.attempts)
            self._backoff.reset()
