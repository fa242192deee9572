"""The wall clock, and exponential back-off with jitter.

The clock is read at the edges alone: to the core, time is an argument.
"""

from __future__ import annotations

import asyncio
import random
import time

from saga_service.base.liveness import waiting


def now_ms() -> int:
    """Return the milliseconds since 1970 by this machine's clock, which replicas are expected to keep in step (NTP)."""
    return time.time_ns() // 1_000_000


class Backoff:
    """Waits that double from `first_s` to `most_s`, with jitter so that replicas do not come back in step."""

    def __init__(self, first_s: float = 0.05, most_s: float = 5.0) -> None:
        self.attempts = 0
        self._first_s = first_s
        self._most_s = most_s

    def next_s(self) -> float:
        """Return the next wait in seconds; counts as an attempt."""
        grown = min(self._first_s * 2.0 ** min(self.attempts, 30), self._most_s)
        self.attempts += 1
        return grown * random.uniform(0.5, 1.0)

    async def wait(self) -> None:
        """Sleep for the next wait; counts as an attempt."""
        with waiting():
            await asyncio.sleep(self.next_s())

    def reset(self) -> None:
        """Begin again with the first wait, after a success."""
        self.attempts = 0
