"""How long a worker holds a command: its lease is renewed while the handler runs, until the command's deadline.

Another consumer takes over an entry that has been idle for `reclaim_idle_ms`, counted from the moment it was read or
renewed. So the entries of commands that take long are renewed before that, as long as they are still ours.

At a command's deadline the saga counts the time-out itself and decides what comes next; nothing waits for this handler
any more. The worker then ends it, to have its slot back (`endings`).

One timer serves all commands. It stands at the earliest deadline heard of, and a command that ends in time leaves it
where it is; a timer that goes off too early finds nothing and is set anew. So a command that ends in time costs a
comparison, and a timer goes off about once per time-out's length, however many commands come and go.

A handler that blocks the event loop (a computation, a call that is not async) cannot be ended: nothing else of this
process runs meanwhile, and neither does the timer. That can only be logged when the handler is over.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence

from structlog.typing import FilteringBoundLogger

from saga_service.base import clock
from saga_service.base.liveness import waiting
from saga_service.core.ids import CommandId
from saga_service.wire.transport import TransportError

DEADLINE_GRACE_MS = 1_000
"""How long a handler may run past its deadline: clocks differ a little, and a reply may be in the making."""
CANCELLED_HANDLER_WAIT_S = 1.0
"""How long a cancelled handler has for its own cleaning up."""
TIMER_DELAY_MS_MAX = 60_000
"""The longest that the timer is set for, so that a clock set forward meanwhile is noticed."""
_NEVER_MS = float("inf")


class Deadlines:
    """Calls `overdue` with each command, once, when its deadline and the grace after it have passed."""

    def __init__(self, overdue: Callable[[CommandId], None], now_ms: Callable[[], int] = clock.now_ms) -> None:
        self._overdue = overdue
        self._now_ms = now_ms
        self._ends_at_ms: dict[CommandId, int] = {}
        self._timer_at_ms: float = _NEVER_MS
        self._timer: asyncio.TimerHandle | None = None

    def watch(self, command_id: CommandId, deadline_ms: int) -> None:
        """Watch a command, or move the deadline of one that is watched already."""
        ends_at_ms = deadline_ms + DEADLINE_GRACE_MS
        self._ends_at_ms[command_id] = ends_at_ms
        if ends_at_ms < self._timer_at_ms:
            self._set_timer(ends_at_ms)

    def unwatch(self, command_id: CommandId) -> bool:
        """Stop watching. True if the command was overdue without notice: the event loop was blocked."""
        ends_at_ms = self._ends_at_ms.pop(command_id, None)
        return ends_at_ms is not None and ends_at_ms <= self._now_ms()

    def stop(self) -> None:
        """Give no more notice until another command is watched."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._timer_at_ms = None, _NEVER_MS

    def _set_timer(self, at_ms: int) -> None:
        self.stop()
        now = self._now_ms()
        self._timer_at_ms = min(at_ms, now + TIMER_DELAY_MS_MAX)
        self._timer = asyncio.get_running_loop().call_later(max(0, self._timer_at_ms - now) / 1000, self._check)

    def _check(self) -> None:
        self.stop()
        now = self._now_ms()
        overdue = [command_id for command_id, ends_at_ms in self._ends_at_ms.items() if ends_at_ms <= now]
        for command_id in overdue:
            del self._ends_at_ms[command_id]
        if self._ends_at_ms:
            self._set_timer(min(self._ends_at_ms.values()))
        for command_id in overdue:
            self._overdue(command_id)


RENEWED_AFTER = 1 / 3
"""The part of the idle time after which an entry is renewed; checked twice as often."""


class PendingEntries:
    """The entries of this consumer, from reading to acknowledgement, and when each was read or renewed last."""

    def __init__(self) -> None:
        self._renewed_at_s: dict[str, float] = {}

    def __len__(self) -> int:
        return len(self._renewed_at_s)

    def add(self, entry_ids: Iterable[str]) -> None:
        self._renewed_at_s.update(dict.fromkeys(entry_ids, time.monotonic()))

    def mark_renewed(self, entry_ids: Iterable[str]) -> None:
        # An entry that was acknowledged meanwhile must not come back.
        self.add(entry_id for entry_id in entry_ids if entry_id in self._renewed_at_s)

    def remove(self, entry_ids: Iterable[str]) -> None:
        for entry_id in entry_ids:
            self._renewed_at_s.pop(entry_id, None)

    def not_renewed_for(self, seconds: float) -> list[str]:
        limit_s = time.monotonic() - seconds
        return [entry_id for entry_id, renewed_at_s in self._renewed_at_s.items() if renewed_at_s <= limit_s]


class LeaseRenewal:
    """Renews old entries by `renew`, which restarts the idle time of those that are still ours and counts them.

    `lost` is told how many are not.
    """

    def __init__(
        self,
        pending: PendingEntries,
        renew: Callable[[Sequence[str]], Awaitable[int]],
        reclaim_idle_ms: int,
        log: FilteringBoundLogger,
        lost: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._lost = lost
        self._pending = pending
        self._renew = renew
        self._age_s = reclaim_idle_ms / 1000 * RENEWED_AFTER
        self._log = log

    async def run(self) -> None:
        while True:
            with waiting():
                await asyncio.sleep(self._age_s / 2)
            try:
                await self.renew_due()
            except TransportError as error:
                # The next check is the next try; the loops that need Redis for their work log that it is away.
                self._log.debug("pending commands could not be renewed", error=str(error))

    async def renew_due(self) -> None:
        due = self._pending.not_renewed_for(self._age_s)
        if not due:
            return
        ours = await self._renew(due)
        self._pending.mark_renewed(due)
        if ours < len(due):
            self._lost(len(due) - ours)
            self._log.warning(
                "commands were lost to this worker: taken over by another one, or gone with their stream",
                commands=len(due) - ours,
            )
