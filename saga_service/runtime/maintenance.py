"""Maintenance: tasks that run now and then so that nothing grows for ever."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Sequence

import structlog

from saga_service.base.lifecycle import Milestone, Shutdown
from saga_service.engine.errors import StoreUnavailable
from saga_service.wire.transport import TransportError

log = structlog.get_logger(__name__)
Task = Callable[[], Awaitable[object]]


class Maintenance:
    """Runs every task once in a period. A task that fails does not keep the others from their turn."""

    def __init__(self, tasks: Sequence[Task], period_s: float, shutdown: Shutdown) -> None:
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
        except (TransportError, StoreUnavailable) as error:
            log.warning("a maintenance task is put off", error=str(error))
        except Exception as error:
            # The sagas must not end for want of tidying up.
            log.error(
                "a maintenance task fails; what it removes grows until this is mended", error=str(error), exc_info=True
            )
