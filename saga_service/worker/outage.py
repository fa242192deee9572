"""Redis out of reach: one log line when it begins, one when it is over, and longer waits in between."""

from __future__ import annotations

from structlog.typing import FilteringBoundLogger

from saga_service.base.backoff import Backoff
from saga_service.streams.faults import describe, is_no_group, is_transient


class Outage:
    def __init__(self, log: FilteringBoundLogger, doing: str) -> None:
        self._log = log
        self._doing = doing
        self._backoff = Backoff()

    @property
    def is_on(self) -> bool:
        return self._backoff.attempts > 0

    async def wait(self, error: BaseException) -> None:
        """Wait before the next try. An error that no waiting will mend is logged louder, and waited on all the same:
        a person may mend it, and the work of others must not end for it."""
        if not self.is_on:
            expected = is_transient(error) or is_no_group(error)
            tell = self._log.warning if expected else self._log.error
            tell(f"{self._doing} is held up; trying again until it works", error=describe(error))
        await self._backoff.wait()

    def over(self) -> None:
        if self.is_on:
            self._log.info(f"{self._doing} goes on", tries=self._backoff.attempts)
            self._backoff.reset()
