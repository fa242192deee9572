"""How the handlers that run come to their end.

A handler that still runs when its command's deadline has passed is cancelled, so that it does not keep its slot:

| the handler then                         | reply             | its entry                 | its slot               |
|------------------------------------------|-------------------|---------------------------|------------------------|
| returns all the same                     | that result       | acknowledged after it     | free                   |
| raises `Rejected`, `Retryable`, `Unknown`| what it says      | acknowledged after it     | free                   |
| ends in any other way                    | none              | acknowledged              | free                   |
| ignores it: the handler is *abandoned*   | when it ends      | acknowledged at once      | free, up to a limit    |

No reply means that the outcome is unknown: the saga has counted the time-out itself, and a `failed` would claim that
nothing happened.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, NamedTuple

from structlog.typing import FilteringBoundLogger

from saga_service.base.clock import now_ms
from saga_service.base.lifecycle import cancel
from saga_service.core.ids import CommandId
from saga_service.wire.commands import ReceivedCommand
from saga_service.wire.entries import Entry
from saga_service.worker import lease as deadlines
from saga_service.worker.replies import Replies

ABANDONED_PER_SLOT_MAX = 4
"""Handlers that ignore their cancellation and take no slot, for each command that may run. Those past it keep theirs:
what they hold (memory, connections) must not grow without end."""


class RunningHandler(NamedTuple):
    command: ReceivedCommand
    entry: Entry
    task: asyncio.Task[None]


class Endings:
    """The handlers that run in one process, and those that were abandoned.

    `slot_freed` is called whenever a slot becomes free other than by the end of its handler.
    """

    def __init__(
        self, concurrency: int, replies: Replies, slot_freed: Callable[[], None], log: FilteringBoundLogger
    ) -> None:
        self._concurrency = concurrency
        self._replies = replies
        self._slot_freed = slot_freed
        self._log = log
        self._running: dict[CommandId, RunningHandler] = {}
        self._abandoned: dict[CommandId, RunningHandler] = {}
        self._asked_to_end: set[CommandId] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def __contains__(self, command: ReceivedCommand) -> bool:
        return command.id in self._running or command.id in self._abandoned

    @property
    def free_slots(self) -> int:
        over_limit = max(0, len(self._abandoned) - self._abandoned_max)
        return max(0, self._concurrency - len(self._running) - over_limit)

    def command_of(self, task: asyncio.Task[Any]) -> ReceivedCommand | None:
        """Return the command whose handler runs in this task; None for any other task."""
        handlers = (*self._running.values(), *self._abandoned.values())
        return next((handler.command for handler in handlers if handler.task is task), None)

    def is_running(self, command: ReceivedCommand) -> bool:
        """True until the handler ends or is abandoned."""
        return command.id in self._running

    def was_asked_to_end(self, command: ReceivedCommand) -> bool:
        return command.id in self._asked_to_end

    def add(self, handler: RunningHandler) -> None:
        self._running[handler.command.id] = handler

    def release(self, command: ReceivedCommand, *, was_overdue_unnoticed: bool) -> None:
        """Forget a command whose handler is over. Its slot is free, if it had one still."""
        if was_overdue_unnoticed and not self.was_asked_to_end(command):
            self._log.warning(
                "a handler ended after its deadline, and could not be cancelled before: something blocks the event"
                " loop (a computation, or a call that is not async)",
                late_ms=now_ms() - command.deadline_ms,
                **identity(command),
            )
        self._asked_to_end.discard(command.id)
        if self._running.pop(command.id, None) is None:
            self._abandoned.pop(command.id, None)

    def time_out(self, command_id: CommandId) -> bool:
        """End the handler of an overdue command. False if none runs."""
        handler = self._running.get(command_id)
        if handler is not None:
            self._start(self._time_out(handler))
        return handler is not None

    async def wait_for_handlers(self, grace_s: float) -> None:
        """Let the handlers end by themselves, for so long at most."""
        if self._running:
            await asyncio.wait([handler.task for handler in self._running.values()], timeout=grace_s)

    async def cancel_all(self) -> None:
        """End all handlers, in a bounded time. Abandoned ones have had theirs, and are not waited for."""
        for abandoned in self._abandoned.values():
            abandoned.task.cancel()
        if left := [handler for handler in self._running.values() if not self.was_asked_to_end(handler.command)]:
            self._log.warning("handlers are cancelled; other workers will take over their commands", commands=len(left))
            self._start(self._ask_to_end(left))
        if self._tasks:
            await asyncio.wait(self._tasks)

    @property
    def _abandoned_max(self) -> int:
        return self._concurrency * ABANDONED_PER_SLOT_MAX

    def _start(self, ending: Coroutine[Any, Any, None]) -> None:
        # A task of its own has its turn after those that were made before it. So no handler is cancelled before its
        # first turn: such a one would never release its slot.
        task = asyncio.create_task(ending)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _time_out(self, handler: RunningHandler) -> None:
        command, entry, task = handler
        self._log.warning("a command's deadline has passed; its handler is cancelled", **identity(command))
        await self._ask_to_end([handler])
        if not task.done():
            self._abandon(handler)
        if not task.done() or task.cancelled():
            self._replies.acknowledge_unanswered(entry.id)

    async def _ask_to_end(self, handlers: Sequence[RunningHandler]) -> None:
        """Cancel these handlers. Those that are not over when this returns ignore it."""
        left = [handler for handler in handlers if not handler.task.done()]
        if not left:
            return
        self._asked_to_end.update(handler.command.id for handler in left)
        tasks = [handler.task for handler in left]
        # Once, and then time to clean up; asking again would cut that short.
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks, timeout=deadlines.CANCELLED_HANDLER_WAIT_S)
        # Then again and again, for as long once more.
        await cancel(tasks, deadlines.CANCELLED_HANDLER_WAIT_S)

    def _abandon(self, handler: RunningHandler) -> None:
        self._abandoned[handler.command.id] = self._running.pop(handler.command.id)
        self._slot_freed()
        abandoned, limit = len(self._abandoned), self._abandoned_max
        slot = "its slot is free again" if abandoned <= limit else "it keeps its slot, for there are too many"
        self._log.error(
            f"a handler ignores its cancellation and is abandoned; {slot}: what it holds is freed when it ends or this"
            " worker is restarted",
            abandoned=abandoned,
            abandoned_max=limit,
            **identity(handler.command),
        )


def identity(command: ReceivedCommand) -> dict[str, str]:
    """Return the fields that name a command in a log line."""
    return {"saga_id": command.saga_id, "saga": command.saga, "step": command.step, "command_id": command.id}
