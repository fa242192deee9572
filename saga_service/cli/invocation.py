"""One invocation of a command: its one coroutine, run to its end.

Tasks that the coroutine leaves running are cancelled and awaited for a few seconds, no longer: a handler that swallows
its cancellation would keep the process alive for ever.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import sys
from asyncio import AbstractEventLoop, Task
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from saga_service.cli.exits import ExitCode

Result = TypeVar("Result")

GARBAGE_OBJECTS_MIN = 50_000
"""The interpreter looks for garbage when it has made so many more objects than it has freed."""
CANCELLED_TASKS_WAIT_S = 5.0
CANCEL_AGAIN_AFTER_S = 0.5


def run_to_end(work: Coroutine[Any, Any, Result]) -> Result:  # Any: what a coroutine is sent and yields is its own
    return _run(work, None)


def run_fast(work: Coroutine[Any, Any, Result]) -> Result:
    """Run a long-lived coroutine: on uvloop where it is installed, with rarer garbage collections."""
    # A batch makes thousands of values that soon go by themselves, hardly any of them in a circle. With the default
    # the search for circles begins after 700, and cost up to a fifth of a worker's time.
    gc.set_threshold(GARBAGE_OBJECTS_MIN)
    try:
        import uvloop  # not on every platform, and for the two commands that run long only
    except ImportError:
        return run_to_end(work)
    return _run(work, uvloop.new_event_loop)


def _run(work: Coroutine[Any, Any, Result], new_loop: Callable[[], AbstractEventLoop] | None) -> Result:
    with asyncio.Runner(loop_factory=new_loop) as runner:
        return runner.run(_then_cancel_the_rest(work))


async def _then_cancel_the_rest(work: Coroutine[Any, Any, Result]) -> Result:
    try:
        return await work
    finally:
        if left := await _cancel_other_tasks():
            _exit_now(left)


async def _cancel_other_tasks() -> set[Task[Any]]:
    """Cancel all other tasks, and return those that are still running after CANCELLED_TASKS_WAIT_S."""
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for _ in range(round(CANCELLED_TASKS_WAIT_S / CANCEL_AGAIN_AFTER_S)):
        if not left:
            break
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=CANCEL_AGAIN_AFTER_S)
    return left


def _exit_now(left: set[Task[Any]]) -> None:
    """End the process at once: closing the event loop would wait for these tasks again."""
    import structlog  # most commands log nothing, and its import takes a third of their time

    structlog.get_logger(__name__).error(
        "the process ends with tasks that do not heed their cancellation",
        tasks=len(left),
        first=str(next(iter(left)).get_coro()),
        exc_info=sys.exc_info()[1],
    )
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(ExitCode.PROBLEM)
