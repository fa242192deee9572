"""Many commands at once: each in a task of its own, never more than there is room for."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping

from structlog.contextvars import bind_contextvars
from structlog.typing import FilteringBoundLogger

from saga_service.clock import now_ms
from saga_service.core.ids import CommandId
from saga_service.wire.commands import ReceivedCommand, read_command
from saga_service.wire.entries import Entry, Malformed
from saga_service.wire.replies import write_progress
from saga_service.worker.cancellation import cancel
from saga_service.worker.context import StepContext
from saga_service.worker.execution import execute, unknown
from saga_service.worker.registration import Handler
from saga_service.worker.replies import Replies

ANSWERS_WAITING_PER_SLOT_MAX = 4
"""Answers that may wait for Redis, for each command that may run; past it, nothing more is taken on."""
CANCELLED_HANDLERS_WAIT_S = 1.0
"""How long a cancelled handler has for its own cleaning up."""


class Handling:
    def __init__(
        self,
        handlers: Mapping[str, Handler],
        replies: Replies,
        concurrency: int,
        reply_bytes_max: int,
        log: FilteringBoundLogger,
    ) -> None:
        self._handlers = handlers
        self._replies = replies
        self._concurrency = concurrency
        self._reply_bytes_max = reply_bytes_max
        self._log = log
        self._running: dict[CommandId, asyncio.Task[None]] = {}
        self._room_changed = asyncio.Event()

    async def room(self) -> int:
        """How many commands may be taken on; waits until it is at least one."""
        while (room := self._room()) == 0:
            self._room_changed.clear()
            await self._room_changed.wait()
        return room

    def look_for_room(self) -> None:
        """Something outside may have made room: answers have been taken."""
        self._room_changed.set()

    def accept(self, entries: Iterable[Entry]) -> None:
        """Start on these. Whoever calls has made sure that there is room."""
        for entry in entries:
            try:
                command = read_command(entry)
            except Malformed as error:
                self._log.warning(
                    "an entry is no command; it goes to the dead letters", entry=entry.id, error=str(error)
                )
                self._replies.bury(entry, str(error))
            else:
                self._begin(entry, command)

    async def finish(self, grace_s: float) -> None:
        """Let what runs come to its end; what is not there in time is cancelled, and gets no answer."""
        if self._running:
            await asyncio.wait(self._running.values(), timeout=grace_s)
        await self.cancel()

    async def cancel(self) -> None:
        left = list(self._running.values())
        if not left:
            return
        self._log.warning("handlers are cancelled; others will take their commands over", commands=len(left))
        # Once, and then time to clean up; asking again would cut that short.
        for task in left:
            task.cancel()
        await asyncio.wait(left, timeout=CANCELLED_HANDLERS_WAIT_S)
        await cancel(left, CANCELLED_HANDLERS_WAIT_S)

    def _room(self) -> int:
        too_far_ahead = self._replies.waiting >= self._concurrency * ANSWERS_WAITING_PER_SLOT_MAX
        if too_far_ahead or self._replies.are_held_up:
            return 0
        return max(0, self._concurrency - len(self._running))

    def _begin(self, entry: Entry, command: ReceivedCommand) -> None:
        late_ms = now_ms() - command.deadline_ms
        handler = self._handlers.get(command.type)
        if command.id in self._running:
            self._replies.acknowledge(entry.id)
        elif late_ms > 0:
            # The saga has given up on this attempt: its next one, if any, is a command of its own.
            self._log.warning(
                "a command came after its deadline and is passed over", late_ms=late_ms, **_named(command)
            )
            self._replies.acknowledge(entry.id)
        elif handler is None:
            self._log.error("a command of unknown type", type=command.type, **_named(command))
            self._replies.answer(unknown(command, self._handlers), entry)
        else:
            self._running[command.id] = asyncio.create_task(self._carry_out(handler, command, entry))

    async def _carry_out(self, handler: Handler, command: ReceivedCommand, entry: Entry) -> None:
        bind_contextvars(**_named(command))
        context = StepContext(command, self._progress)
        try:
            data = entry.fields.get(b"data") or b"{}"
            reply = await execute(handler, command, data, context, self._reply_bytes_max)
            self._replies.answer(reply, entry)
        finally:
            del self._running[command.id]
            self._room_changed.set()

    def _progress(self, command: ReceivedCommand) -> None:
        if command.id in self._running:
            self._replies.progress(command.id, write_progress(command.reply_to, command.id, command.saga_id))


def _named(command: ReceivedCommand) -> dict[str, str]:
    return {"saga_id": command.saga_id, "saga": command.saga, "step": command.step, "command_id": command.id}
