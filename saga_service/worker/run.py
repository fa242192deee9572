"""Several workers in one process."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from saga_service.worker.cancellation import cancel
from saga_service.worker.options import WorkerOptions
from saga_service.worker.running import opened
from saga_service.worker.signals import stop_on_signals

if TYPE_CHECKING:
    from saga_service.worker.worker import Worker


async def run_workers(
    workers: Sequence[Worker], options: WorkerOptions | None = None, *, stop: asyncio.Event | None = None
) -> None:
    """Run the workers side by side, each with connections of its own, until `stop` is set.

    A stop is in good order: nothing more is read, handlers that run have a grace period, their replies are sent, and
    what is left is handed back for others to take over. Cancelling ends it at once, and others take over after a
    while. Without a `stop` the process's signals are used: SIGTERM or SIGINT stops, a second one ends at once.

    Redis may be away for any time, at the start too. Raises WorkerCannotStart where Redis refuses what a worker needs,
    ValueError where two workers are for the same service or one has no handlers, and WrongHandler where one speaks of
    an action that its worker does not have.
    """
    _check(workers)
    chosen = options or WorkerOptions()
    if stop is not None:
        await _run_all(workers, chosen, stop)
        return
    async with stop_on_signals() as signalled:
        await _run_all(workers, chosen, signalled)


async def _run_all(workers: Sequence[Worker], options: WorkerOptions, stop: asyncio.Event) -> None:
    running = [asyncio.create_task(_run(worker, options, stop)) for worker in workers]
    try:
        await asyncio.gather(*running)
    finally:
        # One that cannot go on ends all, so that whoever supervises the process sees it.
        await cancel(running)


async def _run(worker: Worker, options: WorkerOptions, stop: asyncio.Event) -> None:
    async with opened(worker, options) as running:
        await running.run(stop)


def _check(workers: Sequence[Worker]) -> None:
    for worker in workers:
        worker.check()
    twice = [service for service, count in Counter(worker.service for worker in workers).items() if count > 1]
    if twice:
        raise ValueError(f"more than one worker for the service '{twice[0]}'; put its handlers into one")
