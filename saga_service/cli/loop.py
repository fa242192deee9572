"""A command's one coroutine, run to its end."""

from __future__ import annotations

import gc
from collections.abc import Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")

GARBAGE_OBJECTS_MIN = 50_000
"""How many more values than were let go have to be made before the interpreter looks for garbage."""


def run_to_end(work: Coroutine[Any, Any, Result]) -> Result:  # Any: what a coroutine is sent and yields is its own
    import asyncio

    return asyncio.run(work)


def run_fast(work: Coroutine[Any, Any, Result]) -> Result:
    """On the quicker event loop, where there is one: for what runs long."""
    # A batch makes thousands of values that soon go by themselves, hardly any of them in a circle. With the default
    # the search for circles begins after 700, and cost up to a fifth of a worker's time.
    gc.set_threshold(GARBAGE_OBJECTS_MIN)
    try:
        import uvloop
    except ImportError:
        return run_to_end(work)
    return uvloop.run(work)
