"""The time by Redis' clock, by which all workers of a service judge deadlines alike.

A worker whose own clock is ahead would otherwise pass over commands that are in time, and one whose clock is behind
would begin on commands that nobody waits for. The clock is read once a minute; in between the time is counted on by
this machine's monotonic clock, which no correction of the wall clock moves.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence

from structlog.typing import FilteringBoundLogger

from saga_service.base import clock as machine
from saga_service.base.liveness import waiting
from saga_service.streams.pipeline import Command, Reply
from saga_service.wire.transport import TransportError

READ_EVERY_S = 60.0
READ_AGAIN_AFTER_S = 5.0
"""How soon the clock is read again after a try that failed, or that took too long to be exact."""
ROUND_TRIP_MS_MAX = 500
"""An answer that took longer is not exact enough."""
DIFFERENCE_TOLD_MS = 1_000
"""Clocks that differ by more than this are told about in the log."""


class RedisClock:
    """Fulfils `now_ms` with Redis' time, and with this machine's until Redis has been asked for the first time."""

    def __init__(self, send_pipeline: Callable[[Sequence[Command]], Awaitable[list[Reply]]]) -> None:
        self._send_pipeline = send_pipeline
        self._ahead_of_monotonic_ms: float | None = None

    def now_ms(self) -> int:
        """Return the milliseconds since 1970."""
        if self._ahead_of_monotonic_ms is None:
            return machine.now_ms()
        return round(time.monotonic() * 1000 + self._ahead_of_monotonic_ms)

    async def read(self) -> int | None:
        """Read Redis' clock, and return by how many milliseconds this machine's is ahead of it.

        None where the answer took too long to be exact; what was read before counts on then. Raises TransportError.
        """
        began_s = time.monotonic()
        (reply,) = await self._send_pipeline([("TIME",)])
        ended_s = time.monotonic()
        if isinstance(reply, TransportError):
            raise reply
        if (ended_s - began_s) * 1000 > ROUND_TRIP_MS_MAX:
            return None
        assert isinstance(reply, list), "TIME has two numbers"
        seconds, microseconds = map(int, reply)
        # Redis looked at its clock somewhere between the question and its answer.
        self._ahead_of_monotonic_ms = seconds * 1000 + microseconds / 1000 - (began_s + ended_s) * 500
        return machine.now_ms() - self.now_ms()

    async def run(self, log: FilteringBoundLogger) -> None:
        """Read the clock from time to time, and warn where it and this machine's differ notably."""
        is_exact = True
        while True:
            with waiting():
                await asyncio.sleep(READ_EVERY_S if is_exact else READ_AGAIN_AFTER_S)
            is_exact = await self.compare(log)

    async def compare(self, log: FilteringBoundLogger) -> bool:
        """Read the clock once, and warn where the two differ; false where that must be tried again soon."""
        try:
            ahead_ms = await self.read()
        except TransportError as error:
            log.debug("redis' clock could not be read", error=str(error))
            return False
        if ahead_ms is None:
            return False
        if abs(ahead_ms) > DIFFERENCE_TOLD_MS:
            log.warning(
                f"this machine's clock is {abs(ahead_ms) / 1000:.1f} s {'ahead of' if ahead_ms > 0 else 'behind'} that"
                " of redis; deadlines are judged by redis' clock: keep both machines' clocks in step (NTP)",
                ahead_ms=ahead_ms,
            )
        return True
