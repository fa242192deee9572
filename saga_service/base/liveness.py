"""Liveness: what the loops of this process say of themselves, so that one that stands still is found.

A loop waits for one thing at a time: work, room, a server that is away, or the clock. Each of these waits is a
`waiting()` block, and may last for ever. Between two of them the loop is at work, and that has a bound. A loop that is
at work for longer stands still: an answer never came, or a wake-up was lost.

The loop of a wait is found by the context in which it runs, so whatever waits on behalf of a loop names none.
"""

from __future__ import annotations

import time
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field


@dataclass(slots=True)
class LoopLiveness:
    """One loop: its last move by the monotonic clock, and whether it waits."""

    name: str
    moved_at_s: float = field(default_factory=time.monotonic)
    waits: int = 0
    """How many waits are under way: tasks of one loop may wait inside each other."""

    @property
    def at_work_since_s(self) -> float | None:
        """The last move of a loop that is at work, None for one that waits."""
        return None if self.waits else self.moved_at_s


_loop: ContextVar[LoopLiveness | None] = ContextVar("loop", default=None)


class Liveness:
    """The loops of one service or of one run of workers."""

    def __init__(self) -> None:
        self.loops: list[LoopLiveness] = []
        self.awaited: dict[str, str] = {}
        """By part of the process: what keeps it from its work, as one line. Empty for a process that is ready."""

    async def watched(self, name: str, loop: Coroutine[object, object, None]) -> None:
        """Run a loop to its end under a name that people know it by. Raises what the loop raises."""
        liveness = LoopLiveness(name)
        before = _loop.set(liveness)
        self.loops.append(liveness)
        try:
            await loop
        finally:
            self.loops.remove(liveness)
            _loop.reset(before)


def moved() -> None:
    """Note that the loop in whose context this runs is about to do something of a bounded length."""
    if (loop := _loop.get()) is not None:
        loop.moved_at_s = time.monotonic()


@contextmanager
def waiting() -> Iterator[None]:
    """A wait of any length for something that the loop itself does not bring about."""
    loop = _loop.get()
    if loop is None:
        yield
        return
    loop.waits += 1
    try:
        yield
    finally:
        loop.waits -= 1
        loop.moved_at_s = time.monotonic()
