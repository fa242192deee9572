"""Maintenance: tasks that run now and then so that nothing grows for ever.

Retention is the largest of them: it removes what was kept for its time, a small batch at a time.
"""

from __future__ import annotations

import random
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

import structlog

from saga_service.base.lifecycle import Milestone, Shutdown
from saga_service.engine.failures import StoreUnavailable
from saga_service.wire.transport import TransportError

log = structlog.get_logger(__name__)
Task = Callable[[], Awaitable[object]]


class Maintenance:
    """Runs every task once in a period. A task that fails does not keep the others from their turn."""

    def __init__(self, tasks: Sequence[Task], period_s: float, shutdown: Shutdown) -> None:
        self.name = "maintenance"
        self.started = Milestone()
        self._tasks = tasks
        self._period_s = period_s
        self._shutdown = shutdown

    async def run(self) -> None:
        self.started.reached()
        while not self._shutdown:
            await self._shutdown.pause(self._period_s * random.uniform(0.75, 1.25))
            for task in self._tasks:
                if self._shutdown:
                    return
                await self._try(task)

    async def _try(self, task: Task) -> None:
        try:
            await task()
        except StoreUnavailable as error:
            log.warning(f"{error.summary}; a maintenance task is tried again in its next turn", error=str(error))
        except TransportError as error:
            log.warning(
                "redis did not do its part; a maintenance task is tried again in its next turn", error=str(error)
            )
        except Exception as error:
            # The sagas must not end for want of tidying up.
            log.error(
                "a maintenance task fails; what it removes grows until this is mended", error=str(error), exc_info=True
            )


BATCH_ROWS_MAX = 500
"""A batch of this size takes milliseconds: others wait only shortly for the rows that it locks."""


UNCONFIRMED_KEPT_MS = 3_600_000
"""How long an expired preview of a job is still to be seen."""


class Removal(Protocol):
    """Deletion of ended sagas, replayed dead letters and ended jobs. All methods raise StoreUnavailable."""

    async def remove_ended(self, before_ms: int, limit: int, *, since_ms: int = 0) -> tuple[int, int | None]:
        """Remove the sagas that ended first; how many went, and when the last of them had ended."""
        ...

    async def remove_replayed(self, before_ms: int, limit: int) -> int:
        """Remove dead letters that were replayed before this moment; how many went."""
        ...

    async def remove_jobs(self, ended_before_ms: int, expired_before_ms: int, limit: int) -> int:
        """Remove items of jobs that ended, or expired unconfirmed, before these moments; how many went."""
        ...


class Retention:
    """Tasks of the maintenance.

    Each goes on until nothing is left, its budget is used up, or the service stops. The rest is for the next turn.
    """

    def __init__(
        self,
        removal: Removal,
        *,
        budget_s: float,
        now_ms: Callable[[], int],
        shutdown: Shutdown,
        elapsed_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._removal = removal
        self._budget_s = budget_s
        self._now_ms = now_ms
        self._shutdown = shutdown
        self._elapsed_s = elapsed_s

    async def remove_ended(self, kept_ms: int) -> None:
        """Remove sagas that ended longer than `kept_ms` ago, with their history."""
        before_ms = self._now_ms() - kept_ms
        since_ms = 0

        async def remove_some() -> int:
            nonlocal since_ms
            removed, reached_ms = await self._removal.remove_ended(before_ms, BATCH_ROWS_MAX, since_ms=since_ms)
            since_ms = since_ms if reached_ms is None else reached_ms
            return removed

        await self._until_nothing_is_left("ended sagas were removed", remove_some)

    async def remove_replayed(self, kept_ms: int) -> None:
        """Remove dead letters that were replayed longer than `kept_ms` ago."""
        before_ms = self._now_ms() - kept_ms
        await self._until_nothing_is_left(
            "replayed dead letters were removed",
            lambda: self._removal.remove_replayed(before_ms, BATCH_ROWS_MAX),
        )

    async def remove_jobs(self, kept_ms: int) -> None:
        """Remove jobs that ended longer than `kept_ms` ago, and previews that nobody confirmed."""
        now_ms = self._now_ms()
        await self._until_nothing_is_left(
            "items of old jobs were removed",
            lambda: self._removal.remove_jobs(now_ms - kept_ms, now_ms - UNCONFIRMED_KEPT_MS, BATCH_ROWS_MAX),
        )

    async def _until_nothing_is_left(self, event: str, remove_some: Callable[[], Awaitable[int]]) -> None:
        until_s = self._elapsed_s() + self._budget_s
        total, removed = 0, BATCH_ROWS_MAX
        try:
            while removed == BATCH_ROWS_MAX and not self._shutdown and self._elapsed_s() < until_s:
                removed = await remove_some()
                total += removed
        finally:
            # Also when the store went away half-way: what is gone is gone.
            if total:
                log.info(event, removed=total, more_to_remove=removed == BATCH_ROWS_MAX)
