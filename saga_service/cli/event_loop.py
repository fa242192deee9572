"""A command's one coroutine, run to its end.

What it leaves running is cancelled, and waited for no longer than a few seconds: a handler that swallows its
cancellation would keep the process for ever, and whoever stopped it waiting.
"""

from __future__ import annotations

import gc
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from saga_service.cli.console.exits import ExitCode

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, Task
    from collections.abc import Callable

Result = TypeVar("Result")

GARBAGE_OBJECTS_MIN = 50_000
"""How many more values than were let go have to be made before the interpreter looks for garbage."""
LAST_WAIT_S = 5.0
ASKED_AGAIN_AFTER_S = 0.5


def run_to_end(work: Coroutine[Any, Any, Result]) -> Result:  # Any: what a coroutine is sent and yields is its own
    return _run(work, None)


def run_fast(work: Coroutine[Any, Any, Result]) -> Result:
    """On the quicker event loop, where there is one: for what runs long."""
    # A batch makes thousands of values that soon go by themselves, hardly any of them in a circle. With the default
    # the search for circles begins after 700, and cost up to a fifth of a worker's time.
    gc.set_threshold(GARBAGE_OBJECTS_MIN)
    try:
        import uvloop
    except ImportError:
        return run_to_end(work)
    return _run(work, uvloop.new_event_loop)


def _run(work: Coroutine[Any, Any, Result], new_loop: Callable[[], AbstractEventLoop] | None) -> Result:
    import asyncio

    with asyncio.Runner(loop_factory=new_loop) as runner:
        return runner.run(_with_an_end(work))


async def _with_an_end(work: Coroutine[Any, Any, Result]) -> Result:
    try:
        return await work
    finally:
        if left := await _end_the_rest():
            _leave(left)


async def _end_the_rest() -> set[Task[Any]]:
    """Cancel all other tasks; those that are not over after a while."""
    import asyncio

    left = asyncio.all_tasks() - {asyncio.current_task()}
    for _ in range(round(LAST_WAIT_S / ASKED_AGAIN_AFTER_S)):
        if not left:
            break
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=ASKED_AGAIN_AFTER_S)
    return left


def _leave(left: set[Task[Any]]) -> None:
    """End the process here and now: to close the event loop would be to wait for them again."""
    import logging
    import os
    import sys

    import structlog

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
