"""Commands that this process cannot carry out and another one may: of an unknown type, or of a key that is not here.

During a roll-out old and new workers of a service share one stream. A command that comes to the wrong one is *passed
on*: after a pause it is moved to the end of the stream, where any worker of the service is given it as new. So it waits
for a worker that knows it, for as long as its own time-out, as it would wait in an outage. Only shortly before its
deadline it is answered `failed`, so that the saga gets to know why.

The pause is a part of the time that is left, so a stream that has none but old workers makes no hot loop: a command
with a time-out of 60 s is moved some forty times, and one with a week at most twice a minute. A command that waits here
takes no slot. What was given out more than once may have begun elsewhere, so it is passed on as a copy (`copies`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import NamedTuple, Protocol

from structlog.typing import FilteringBoundLogger

from saga_service.wire.commands import ReceivedCommand
from saga_service.wire.entries import Entry, Message
from saga_service.wire.transport import TransportError

PAUSE_PART = 0.1
"""The part of the time to its deadline for which a command waits before it is passed on."""
PAUSE_S_MIN = 0.5
PAUSE_S_MAX = 30.0
ANSWERED_BEFORE_S = 1.0
"""How long before its deadline a command is answered that nobody could carry out."""


class PassOn(Protocol):
    """The part of a consumer that moves an entry to the end of its stream. Raises TransportError."""

    async def __call__(self, entry: Entry) -> bool: ...


class _Waiting(NamedTuple):
    command: ReceivedCommand
    entry: Entry
    reply: Message
    """The reply, should nobody carry it out in time."""


class Handover:
    """Holds commands for a while and passes them on.

    `send` sends the last reply of one that nobody could carry out. `passed_on` is called with the id of each entry that
    is this consumer's no more.
    """

    def __init__(
        self,
        pass_on: PassOn,
        send: Callable[[Message, Entry], None],
        passed_on: Callable[[str], None],
        now_ms: Callable[[], int],
        log: FilteringBoundLogger,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._pass_on = pass_on
        self._send = send
        self._passed_on = passed_on
        self._now_ms = now_ms
        self._log = log
        self._sleep = sleep
        self._tasks: set[asyncio.Task[None]] = set()
        self._told: set[str] = set()

    def __len__(self) -> int:
        """The number of commands that wait here."""
        return len(self._tasks)

    def take(self, command: ReceivedCommand, entry: Entry, reply: Message, why: str) -> None:
        """Take a command that cannot be carried out here, for this reason."""
        if command.type not in self._told:
            # Once for each type: a command may come by many times.
            self._told.add(command.type)
            self._log.warning(
                "a command cannot be carried out here; it is passed on to other workers until its deadline",
                type=command.type,
                error=why,
            )
        task = asyncio.create_task(self._wait(_Waiting(command, entry, reply)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def stop(self) -> None:
        """Wait for nothing any more. What is pending is handed back with all else."""
        for task in self._tasks:
            task.cancel()

    async def _wait(self, waiting: _Waiting) -> None:
        command, entry = waiting.command, waiting.entry
        while True:
            left_s = (command.deadline_ms - self._now_ms()) / 1000 - ANSWERED_BEFORE_S
            if left_s < PAUSE_S_MIN:
                self._log.error("no worker could carry out a command in time", type=command.type, id=command.id)
                self._send(waiting.reply, entry)
                return
            await self._sleep(min(max(left_s * PAUSE_PART, PAUSE_S_MIN), PAUSE_S_MAX))
            try:
                await self._pass_on(entry)
            except TransportError as error:
                self._log.debug("a command could not be passed on; trying again", error=str(error))
            else:
                self._passed_on(entry.id)
                return
