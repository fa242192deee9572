"""Many commands at once: each in a task of its own, never more than there is room for.

A command whose type has reached its limit is queued (`limits`) and takes no slot. If it is still queued at its deadline
it is passed over, as one is that is read after its deadline (`copies`); the queue is handed back at a shutdown. What
this process cannot carry out is passed on to another (`handover`). How a handler that was started comes to its end is
in `endings`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from structlog.contextvars import bind_contextvars
from structlog.typing import FilteringBoundLogger

from saga_service.base import clock
from saga_service.base.lifecycle import Milestone
from saga_service.base.liveness import moved, waiting
from saga_service.core.ids import CommandId
from saga_service.wire.commands import ReceivedCommand, read_command
from saga_service.wire.encryption import Cipher
from saga_service.wire.entries import Entry, Malformed
from saga_service.wire.replies import write_progress
from saga_service.worker.context import StepContext
from saga_service.worker.copies import Copies
from saga_service.worker.endings import Endings, RunningHandler, identity
from saga_service.worker.execution import ExactlyOnce, encrypted_command, execute, not_begun, unknown_command
from saga_service.worker.handover import Handover
from saga_service.worker.lease import Deadlines
from saga_service.worker.limits import Limits, QueuedCommand
from saga_service.worker.observer import NoWorkerObserver, WorkerObserver
from saga_service.worker.registration import Handler
from saga_service.worker.replies import Replies

REPLIES_UNSENT_PER_SLOT_MAX = 4
"""Replies that may wait for Redis, for each command that may run; past it, no more commands are accepted."""
LATE_PER_SLOT_MAX = 8
"""Late commands that Redis may be asked about at once, for each command that may run."""
QUEUED_PER_SLOT_MAX = 8
"""Commands that may be queued for their type's limit, or wait to be passed on, for each that may run. With more than
that a flood of one type holds up the others, for a stream is read in its order."""


class Dispatcher:
    """Starts handlers and answers for them. `now_ms` is the clock that deadlines are judged by."""

    def __init__(
        self,
        handlers: Mapping[str, Handler],
        replies: Replies,
        copies: Copies,
        handover: Handover,
        concurrency: int,
        reply_bytes_max: int,
        log: FilteringBoundLogger,
        cipher: Cipher | None = None,
        exactly_once: ExactlyOnce | None = None,
        now_ms: Callable[[], int] = clock.now_ms,
        observer: WorkerObserver | None = None,
    ) -> None:
        self._observer = observer or NoWorkerObserver()
        self._handlers = handlers
        self._copies = copies
        self._handover = handover
        self._now_ms = now_ms
        self._replies = replies
        self._concurrency = concurrency
        self._reply_bytes_max = reply_bytes_max
        self._log = log
        self._cipher = cipher
        self._exactly_once = exactly_once
        self._deadlines = Deadlines(self._overdue, now_ms)
        self._endings = Endings(concurrency, replies, self._slot_freed, log)
        self._limits = Limits(handlers.values())
        self._rate_timer: asyncio.TimerHandle | None = None
        self._room_changed = asyncio.Event()
        self.handled = 0
        """How many commands were carried out, with any end."""
        self.without_room = Milestone()
        """Reached whenever `wait_for_room` finds none."""

    async def wait_for_room(self) -> int:
        """Return how many commands may be accepted; waits until it is at least one."""
        moved()
        while (room := self._room()) == 0:
            self._room_changed.clear()
            self.without_room.reached()
            with waiting():
                await self._room_changed.wait()
        return room

    @property
    def in_flight(self) -> int:
        """How many commands are being carried out."""
        return self._concurrency - self._endings.free_slots

    def handler_of(self, task: asyncio.Task[Any]) -> str | None:
        """Return the name of the handler that runs in this task, with its command's type; None for any other task."""
        command = self._endings.command_of(task)
        return None if command is None else f"{self._handlers[command.type].name}' of '{command.type}"

    def recheck_room(self) -> None:
        """Have `wait_for_room` look again: replies were sent, which may have made room."""
        self._room_changed.set()

    def accept(self, entries: Iterable[Entry]) -> None:
        """Start on these entries. The caller has waited for room for them."""
        for entry in entries:
            try:
                command = read_command(entry, self._cipher)
            except Malformed as error:
                self._log.warning("an entry is no command and becomes a dead letter", entry=entry.id, error=str(error))
                self._replies.send_dead_letter(entry, str(error))
            else:
                self._accept(entry, command)

    async def drain(self, grace_s: float) -> None:
        """Let running handlers end. Those that have not after `grace_s` are cancelled, and get no reply."""
        self._hand_back_queue()
        await self._endings.wait_for_handlers(grace_s)
        await self.cancel()

    async def cancel(self) -> None:
        """End all handlers, in a bounded time."""
        self._deadlines.stop()
        self._handover.stop()
        self._hand_back_queue()
        await self._endings.cancel_all()

    def _room(self) -> int:
        too_many_unsent = self._replies.unsent >= self._concurrency * REPLIES_UNSENT_PER_SLOT_MAX
        too_many_queued = len(self._limits) + len(self._handover) >= self._concurrency * QUEUED_PER_SLOT_MAX
        too_many_late = len(self._copies) >= self._concurrency * LATE_PER_SLOT_MAX
        if too_many_unsent or too_many_queued or too_many_late or self._replies.are_held_up:
            return 0
        return self._endings.free_slots

    def _accept(self, entry: Entry, command: ReceivedCommand) -> None:
        late_ms = self._now_ms() - command.deadline_ms
        handler = self._handlers.get(command.type)
        if command in self._endings or command in self._limits:
            self._replies.acknowledge_unanswered(entry.id)
        elif late_ms > 0:
            self._log.warning("a command came after its deadline and is skipped", late_ms=late_ms, **identity(command))
            self._pass_over(command, entry)
        elif handler is None:
            known = ", ".join(sorted(self._handlers)) or "none"
            why = f"this worker has no handler for it; it knows: {known}"
            self._handover.take(command, entry, unknown_command(command, self._handlers), why)
        elif (why_not := command.decryption_error) is not None:
            self._handover.take(command, entry, encrypted_command(command, why_not), why_not)
        else:
            self._deadlines.watch(command.id, command.deadline_ms)
            self._start_or_enqueue(QueuedCommand(handler, command, entry))

    def _start_or_enqueue(self, accepted: QueuedCommand) -> None:
        # While the command was being read, a queued one may have taken the slot that was free for it.
        if self._limits.are_set and not (self._endings.free_slots and self._limits.allow_start(accepted.command.type)):
            self._limits.enqueue(accepted)
            self._set_rate_timer()
        else:
            self._start(*accepted)

    def _start(self, handler: Handler, command: ReceivedCommand, entry: Entry) -> None:
        self._limits.count_start(command.type)
        task = asyncio.create_task(self._carry_out(handler, command, entry))
        self._endings.add(RunningHandler(command, entry, task))

    async def _carry_out(self, handler: Handler, command: ReceivedCommand, entry: Entry) -> None:
        bind_contextvars(**identity(command))
        context = StepContext(command, self._report_progress, self._now_ms)
        try:
            if not await self._copies.may_begin(command):
                self._log.warning("a copy of a command is past its deadline and is skipped", **identity(command))
                self._replies.acknowledge_unanswered(entry.id)
                return
            self._observer.began(command, entry)
            began_s, reply = time.perf_counter(), None
            try:
                reply = await execute(
                    handler, command, context, self._reply_bytes_max, self._endings.was_asked_to_end, self._exactly_once
                )
            finally:
                self._observer.ended(command, reply, time.perf_counter() - began_s)
            if reply is None:
                self._replies.acknowledge_unanswered(entry.id)
            else:
                self._replies.send(reply, entry)
        finally:
            self._endings.release(command, was_overdue_unnoticed=self._deadlines.unwatch(command.id))
            self._limits.count_end(command.type)
            self.handled += 1
            self._slot_freed()

    def _slot_freed(self) -> None:
        if self._limits.are_set:
            self._start_queued()
        self._room_changed.set()

    def _start_queued(self) -> None:
        while len(self._limits) and self._endings.free_slots and (queued := self._limits.dequeue()) is not None:
            self._start(*queued)
        self._set_rate_timer()

    def _set_rate_timer(self) -> None:
        if self._rate_timer is not None:
            self._rate_timer.cancel()
            self._rate_timer = None
        if self._endings.free_slots and (in_s := self._limits.next_start_in_s()) is not None:
            self._rate_timer = asyncio.get_running_loop().call_later(in_s, self._slot_freed)

    def _overdue(self, command_id: CommandId) -> None:
        if not self._endings.time_out(command_id) and (queued := self._limits.find(command_id)) is not None:
            self._skip(self._limits.remove(queued.command))

    def _skip(self, queued: QueuedCommand) -> None:
        self._log.warning("a command was queued for its type's limit until its deadline", **identity(queued.command))
        self._pass_over(queued.command, queued.entry)
        self._room_changed.set()

    def _pass_over(self, command: ReceivedCommand, entry: Entry) -> None:
        """Leave a command that is past its deadline undone, and say that it never began where that is known.

        The saga has given up on this attempt: its next one, if any, is a command of its own.
        """

        def answer(never_began: bool) -> None:
            if never_began:
                self._replies.send(not_begun(command), entry)
            else:
                self._replies.acknowledge_unanswered(entry.id)
            self._room_changed.set()

        self._copies.ask(command, entry, answer)

    def _hand_back_queue(self) -> None:
        for queued in self._limits.clear():
            self._deadlines.unwatch(queued.command.id)
        self._set_rate_timer()

    def _report_progress(self, command: ReceivedCommand) -> None:
        if self._endings.is_running(command):
            self._replies.send_progress(command.id, write_progress(command.reply_to, command.id, command.saga_id))
