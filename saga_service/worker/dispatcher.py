"""Many commands at once: each in a task of its own, never more than there is room for.

A handler that is still at work when its command's deadline has passed is cancelled, so that it does not keep its slot:

| the handler then                         | reply             | its entry                 | its slot               |
|------------------------------------------|-------------------|---------------------------|------------------------|
| returns all the same                     | that result       | acknowledged after it     | free                   |
| raises `Rejected` or `Retryable`         | what it says      | acknowledged after it     | free                   |
| ends in any other way                    | none              | acknowledged              | free                   |
| does not heed it: *abandoned*            | when it ends      | acknowledged at once      | free, up to a limit    |

No reply means that nobody knows: the saga has counted the time-out itself, and a `failed` would claim that nothing
happened.

A command whose type has come to its limit waits (`limits`), and takes no slot. If it waits past its deadline it is
passed over; what still waits at a stop is handed back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from structlog.contextvars import bind_contextvars
from structlog.typing import FilteringBoundLogger

from saga_service.base.clock import now_ms
from saga_service.base.tasks import cancel
from saga_service.core.ids import CommandId
from saga_service.wire.commands import ReceivedCommand, read_command
from saga_service.wire.encryption import Cipher
from saga_service.wire.entries import Entry, Malformed
from saga_service.wire.replies import write_progress
from saga_service.worker.context import StepContext
from saga_service.worker.deadlines import Deadlines
from saga_service.worker.execution import Once, execute, undecryptable, unknown
from saga_service.worker.heartbeats import beating
from saga_service.worker.limits import Limits, Waiting
from saga_service.worker.registration import Handler
from saga_service.worker.replies import Replies

ANSWERS_WAITING_PER_SLOT_MAX = 4
"""Answers that may wait for Redis, for each command that may run; past it, nothing more is taken on."""
CANCELLED_HANDLERS_WAIT_S = 1.0
"""How long a cancelled handler has for its own cleaning up; then it is asked again and again, for as long once more."""
ABANDONED_PER_SLOT_MAX = 4
"""Handlers that do not heed their cancellation and take no slot, for each command that may run. Those past it keep
theirs: what they hold (memory, connections) must not grow without end."""

WAITING_PER_SLOT_MAX = 8
"""Commands that may wait for their type's limit, for each that may run. With more than that a flood of one type holds
up the others, for a stream is read in its order."""


class Running(NamedTuple):
    command: ReceivedCommand
    entry: Entry
    task: asyncio.Task[None]


class Handling:
    def __init__(
        self,
        handlers: Mapping[str, Handler],
        replies: Replies,
        concurrency: int,
        reply_bytes_max: int,
        log: FilteringBoundLogger,
        cipher: Cipher | None = None,
        once: Once | None = None,
    ) -> None:
        self._handlers = handlers
        self._replies = replies
        self._concurrency = concurrency
        self._reply_bytes_max = reply_bytes_max
        self._log = log
        self._cipher = cipher
        self._once = once
        self._limits = Limits(handlers.values())
        self._has_limits = any(handler.is_limited for handler in handlers.values())
        self._limits_timer: asyncio.TimerHandle | None = None
        self._running: dict[CommandId, Running] = {}
        self._abandoned: dict[CommandId, Running] = {}
        self._asked_to_end: set[CommandId] = set()
        self._endings: set[asyncio.Task[None]] = set()
        self._deadlines = Deadlines(self._overdue)
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
                command = read_command(entry, self._cipher)
            except Malformed as error:
                self._log.warning(
                    "an entry is no command; it goes to the dead letters", entry=entry.id, error=str(error)
                )
                self._replies.bury(entry, str(error))
            else:
                self._begin(entry, command)

    async def finish(self, grace_s: float) -> None:
        """Let what runs come to its end; what is not there in time is cancelled, and gets no answer."""
        self._hand_back_what_waits()
        if self._running:
            await asyncio.wait([running.task for running in self._running.values()], timeout=grace_s)
        await self.cancel()

    async def cancel(self) -> None:
        """End all that runs, in a bounded time. Those that were abandoned have had theirs, and are not waited for."""
        self._deadlines.stop()
        self._hand_back_what_waits()
        for abandoned in self._abandoned.values():
            abandoned.task.cancel()
        if left := [running for running in self._running.values() if not self._was_asked_to_end(running.command)]:
            self._log.warning("handlers are cancelled; others will take their commands over", commands=len(left))
            self._start_ending(self._ask_to_end(left))
        if self._endings:
            await asyncio.wait(self._endings)

    def _room(self) -> int:
        too_far_ahead = self._replies.waiting >= self._concurrency * ANSWERS_WAITING_PER_SLOT_MAX
        if too_far_ahead or self._replies.are_held_up:
            return 0
        if len(self._limits) >= self._concurrency * WAITING_PER_SLOT_MAX:
            return 0
        return self._free_slots()

    def _free_slots(self) -> int:
        beyond_limit = max(0, len(self._abandoned) - self._concurrency * ABANDONED_PER_SLOT_MAX)
        return max(0, self._concurrency - len(self._running) - beyond_limit)

    def _begin(self, entry: Entry, command: ReceivedCommand) -> None:
        late_ms = now_ms() - command.deadline_ms
        handler = self._handlers.get(command.type)
        if command.id in self._running or command.id in self._abandoned or self._waits(command):
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
        elif command.decryption_error is not None:
            self._log.error("a command's data cannot be decrypted", error=command.decryption_error, **_named(command))
            self._replies.answer(undecryptable(command, command.decryption_error), entry)
        else:
            self._deadlines.watch(command.id, command.deadline_ms)
            if self._has_limits and self._has_to_wait(command):
                self._limits.wait(Waiting(handler, command, entry))
                self._wake_for_rate()
            else:
                self._start(handler, command, entry)

    def _waits(self, command: ReceivedCommand) -> bool:
        return self._has_limits and command in self._limits

    def _has_to_wait(self, command: ReceivedCommand) -> bool:
        # While it was being read, a command that waited may have taken the slot that was free for it.
        return self._free_slots() == 0 or not self._limits.may_begin(command.type)

    def _start(self, handler: Handler, command: ReceivedCommand, entry: Entry) -> None:
        if self._has_limits:
            self._limits.begun(command.type)
        task = asyncio.create_task(self._carry_out(handler, command, entry))
        self._running[command.id] = Running(command, entry, task)

    def _start_what_waits(self) -> None:
        while len(self._limits) and self._free_slots():
            waiting = self._limits.next()
            if waiting is None:
                break
            self._start(*waiting)
        self._wake_for_rate()

    def _wake_for_rate(self) -> None:
        if self._limits_timer is not None:
            self._limits_timer.cancel()
            self._limits_timer = None
        if self._free_slots() and (in_s := self._limits.next_in_s()) is not None:
            self._limits_timer = asyncio.get_running_loop().call_later(in_s, self._rate_is_due)

    def _rate_is_due(self) -> None:
        self._limits_timer = None
        self._start_what_waits()
        self._room_changed.set()

    def _hand_back_what_waits(self) -> None:
        for waiting in self._limits.clear():
            self._deadlines.ended(waiting.command.id)
        self._wake_for_rate()

    async def _carry_out(self, handler: Handler, command: ReceivedCommand, entry: Entry) -> None:
        bind_contextvars(**_named(command))
        context = StepContext(command, self._progress)
        if command.expects_heartbeats:
            context.progress_now()
        try:
            work = execute(
                handler, command, command.data_json, context, self._reply_bytes_max, self._was_asked_to_end, self._once
            )
            if handler.heartbeat_s is not None:
                work = beating(handler.heartbeat_s, context.progress_now, work)
            reply = await work
            if reply is None:
                self._replies.acknowledge(entry.id)
            else:
                self._replies.answer(reply, entry)
        finally:
            self._release(command)

    def _release(self, command: ReceivedCommand) -> None:
        """Its handler is over."""
        if self._deadlines.ended(command.id) and not self._was_asked_to_end(command):
            self._log.warning(
                "a handler ended after its deadline, and could not be cancelled before: something blocks the event"
                " loop (a computation, or a call that is not async)",
                late_ms=now_ms() - command.deadline_ms,
                **_named(command),
            )
        self._asked_to_end.discard(command.id)
        if self._running.pop(command.id, None) is None:
            self._abandoned.pop(command.id, None)
        if self._has_limits:
            self._limits.ended(command.type)
            self._start_what_waits()
        self._room_changed.set()

    def _overdue(self, command_id: CommandId) -> None:
        if (running := self._running.get(command_id)) is not None:
            self._start_ending(self._time_out(running))
        elif (waiting := self._limits.find(command_id)) is not None:
            self._pass_over(self._limits.drop(waiting.command))

    def _pass_over(self, waiting: Waiting) -> None:
        command, entry = waiting.command, waiting.entry
        self._log.warning("a command waited for its type's limit until its deadline", **_named(command))
        self._replies.acknowledge(entry.id)
        self._room_changed.set()

    def _start_ending(self, ending: Coroutine[Any, Any, None]) -> None:
        # A task of its own has its turn after those that were made before it. So no handler is cancelled before its
        # first turn: such a one would never release its slot.
        task = asyncio.create_task(ending)
        self._endings.add(task)
        task.add_done_callback(self._endings.discard)

    async def _time_out(self, running: Running) -> None:
        command, entry, task = running
        self._log.warning("a command's deadline has passed; its handler is asked to end", **_named(command))
        await self._ask_to_end([running])
        if not task.done():
            self._abandon(running)
        if not task.done() or task.cancelled():
            self._replies.acknowledge(entry.id)

    async def _ask_to_end(self, commands: Sequence[Running]) -> None:
        """Cancel these handlers. Those that are not over when this returns do not heed it."""
        left = [running for running in commands if not running.task.done()]
        if not left:
            return
        self._asked_to_end.update(running.command.id for running in left)
        tasks = [running.task for running in left]
        # Once, and then time to clean up; asking again would cut that short.
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks, timeout=CANCELLED_HANDLERS_WAIT_S)
        await cancel(tasks, CANCELLED_HANDLERS_WAIT_S)

    def _abandon(self, running: Running) -> None:
        self._abandoned[running.command.id] = self._running.pop(running.command.id)
        self._start_what_waits()
        self._room_changed.set()
        abandoned, limit = len(self._abandoned), self._concurrency * ABANDONED_PER_SLOT_MAX
        becomes = "its slot is free again" if abandoned <= limit else "it keeps its slot, for there are too many"
        self._log.error(
            f"a handler does not heed its cancellation and is abandoned; {becomes}: it holds what it holds until it"
            " ends or this worker is restarted",
            abandoned=abandoned,
            abandoned_max=limit,
            **_named(running.command),
        )

    def _was_asked_to_end(self, command: ReceivedCommand) -> bool:
        return command.id in self._asked_to_end

    def _progress(self, command: ReceivedCommand) -> None:
        if command.id in self._running:
            self._replies.progress(command.id, write_progress(command.reply_to, command.id, command.saga_id))


def _named(command: ReceivedCommand) -> dict[str, str]:
    return {"saga_id": command.saga_id, "saga": command.saga, "step": command.step, "command_id": command.id}
