"""When what runs has run too long.

At a command's deadline the saga itself counts the time-out, and decides what comes next; nobody waits for this handler
any more. So the worker ends it, to have its slot back.

There is one timer for all commands, not one for each: it stands at the earliest deadline it has heard of, and a command
that ends in time leaves it where it is. A timer that comes too early finds nothing and is set anew. So what goes well
costs a comparison, and a timer goes off about once per time-out's length however many commands come and go.

A handler that blocks the event loop (a computation, a call that is not async) cannot be ended: nothing else of this
process runs meanwhile, and so neither does the timer. All that can be done is to say so when it is over.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from saga_service.base.clock import now_ms
from saga_service.core.ids import CommandId

DEADLINE_GRACE_MS = 1_000
"""How long past its deadline a handler goes on: clocks differ a little, and a reply may be in the making."""
LOOKED_AFTER_MS_MAX = 60_000
"""The timer goes off this soon at the latest, so that a clock that is set forward meanwhile is noticed."""
NEVER = float("inf")


class Deadlines:
    """`overdue` is told of each command, once, when its deadline and the grace after it have passed."""

    def __init__(self, overdue: Callable[[CommandId], None]) -> None:
        self._overdue = overdue
        self._ends_at_ms: dict[CommandId, int] = {}
        self._looks_at_ms: float = NEVER
        self._timer: asyncio.TimerHandle | None = None

    def watch(self, command_id: CommandId, deadline_ms: int) -> None:
        """Of a command that is watched already, this moves the deadline."""
        ends_at_ms = deadline_ms + DEADLINE_GRACE_MS
        self._ends_at_ms[command_id] = ends_at_ms
        if ends_at_ms < self._looks_at_ms:
            self._look_by(ends_at_ms)

    def ended(self, command_id: CommandId) -> bool:
        """It is watched no more. Whether it was overdue and nobody could be told: the event loop was blocked."""
        ends_at_ms = self._ends_at_ms.pop(command_id, None)
        return ends_at_ms is not None and ends_at_ms <= now_ms()

    def stop(self) -> None:
        """Tell of nothing more, until something new is watched."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._looks_at_ms = None, NEVER

    def _look_by(self, moment_ms: int) -> None:
        self.stop()
        now = now_ms()
        self._looks_at_ms = min(moment_ms, now + LOOKED_AFTER_MS_MAX)
        self._timer = asyncio.get_running_loop().call_later(max(0, self._looks_at_ms - now) / 1000, self._look)

    def _look(self) -> None:
        self.stop()
        now = now_ms()
        overdue = [command_id for command_id, ends_at_ms in self._ends_at_ms.items() if ends_at_ms <= now]
        for command_id in overdue:
            del self._ends_at_ms[command_id]
        if self._ends_at_ms:
            self._look_by(min(self._ends_at_ms.values()))
        for command_id in overdue:
            self._overdue(command_id)
