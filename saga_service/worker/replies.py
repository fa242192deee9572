"""Sending replies, then acknowledging their entries.

An entry is acknowledged only after Redis has taken its reply: a Redis that is out of memory refuses an XADD and still
takes an XACK, which would lose the reply. So each round trip carries the replies that were added meanwhile, and the
acknowledgements of those that the round trip before it delivered. With no more replies to send, the acknowledgements
follow at once.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from itertools import islice
from typing import NamedTuple

from structlog.typing import FilteringBoundLogger

from saga_service.base.clock import now_ms
from saga_service.base.liveness import moved, waiting
from saga_service.core.ids import CommandId
from saga_service.streams.consumer_loop import Outage
from saga_service.streams.pipeline import Command, Reply, add
from saga_service.wire.dead_letters import dead_letter, write_dead_letter
from saga_service.wire.entries import Entry, Message
from saga_service.wire.transport import StreamNames, TransportError, TransportUnavailable

REPLIES_PER_ROUND_TRIP_MAX = 1_000

SendPipeline = Callable[[Sequence[Command]], Awaitable[list[Reply]]]
Acknowledgement = Callable[[Sequence[str]], Command | None]
"""Makes the command that acknowledges entries; None where their stream is gone."""


class UnsentReply(NamedTuple):
    """A message that has to be added before the entry that it replies to is acknowledged."""

    message: Message
    entry: Entry


class Replies:
    """Sends replies and acknowledges entries, in pipelines.

    `settled` is called after every round trip that succeeded, with the entries that it acknowledged, if any; `retried`
    with the number of replies that have to be sent again.
    """

    def __init__(
        self,
        send_pipeline: SendPipeline,
        acknowledgement: Acknowledgement,
        names: StreamNames,
        settled: Callable[[Sequence[str]], None],
        log: FilteringBoundLogger,
        retried: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._retried = retried
        self._send_pipeline = send_pipeline
        self._acknowledgement = acknowledgement
        self._names = names
        self._settled = settled
        self._log = log
        self._unsent: deque[UnsentReply] = deque()
        self._progress: dict[CommandId, Message] = {}
        self._acknowledgements: list[str] = []
        self._work = asyncio.Event()
        self._flushed = asyncio.Event()
        self._flushed.set()
        self._outage = Outage(log, "sending replies")

    @property
    def unsent(self) -> int:
        """The number of replies that Redis has not taken yet."""
        return len(self._unsent)

    @property
    def are_held_up(self) -> bool:
        """True while Redis is away or takes nothing more: no more commands should be accepted."""
        return self._outage.is_on

    def send(self, message: Message, entry: Entry) -> None:
        """Send the reply, then acknowledge its entry."""
        self._unsent.append(UnsentReply(message, entry))
        self._wake()

    def send_progress(self, command_id: CommandId, message: Message) -> None:
        """Send a sign of life, in place of one that is still unsent."""
        self._progress[command_id] = message
        self._wake()

    def send_dead_letter(self, entry: Entry, reason: str) -> None:
        """Send a dead letter in a reply's place, then acknowledge the entry."""
        letter = dead_letter(entry, reason, now_ms())
        self.send(write_dead_letter(letter, self._names), entry)

    def acknowledge_unanswered(self, entry_id: str) -> None:
        """Acknowledge an entry that gets no reply."""
        self._acknowledgements.append(entry_id)
        self._wake()

    async def flushed(self) -> None:
        """Wait until every reply is taken and every entry acknowledged."""
        await self._flushed.wait()

    async def run(self) -> None:
        while True:
            moved()
            with waiting():
                await self._work.wait()
            try:
                await self._round_trip()
            except TransportError as error:
                # It is unknown which of them Redis took, so all are sent again: a reply may arrive twice.
                self._retried(len(self._unsent))
                await self._outage.wait(error)
            if not (self._unsent or self._progress or self._acknowledgements):
                self._work.clear()
                self._flushed.set()

    def _wake(self) -> None:
        if not self._work.is_set():
            self._flushed.clear()
            self._work.set()

    async def _round_trip(self) -> None:
        unsent = list(islice(self._unsent, REPLIES_PER_ROUND_TRIP_MAX))
        progress, acknowledgements = dict(self._progress), list(self._acknowledgements)
        commands = [*map(add, progress.values()), *(add(reply.message) for reply in unsent)]
        if acknowledgements and (command := self._acknowledgement(acknowledgements)):
            commands.append(command)
        results = await self._send_pipeline(commands)
        for command_id, message in progress.items():
            if self._progress.get(command_id) is message:
                del self._progress[command_id]
        added = len(progress) + len(unsent)
        faults = self._sort(unsent, results[len(progress) : added])
        refused = [result for result in results[added:] if isinstance(result, TransportError)]
        settled = [] if refused else acknowledgements
        del self._acknowledgements[: len(settled)]
        await self._conclude(settled, faults + refused)

    async def _conclude(self, settled: list[str], faults: list[TransportError]) -> None:
        if not faults:
            self._outage.over()
        self._settled(settled)
        if faults:
            await self._outage.wait(faults[0])

    def _sort(self, sent: list[UnsentReply], results: list[Reply]) -> list[TransportError]:
        """Return the errors to wait for before the replies that were refused are sent again."""
        faults: list[TransportError] = []
        for reply, result in zip(sent, results, strict=True):
            self._unsent.popleft()
            if not isinstance(result, TransportError):
                self._acknowledgements.append(reply.entry.id)
            elif isinstance(result, TransportUnavailable) or reply.message.stream == self._names.dead_letters:
                self._unsent.append(reply)
                self._retried(1)
                faults.append(result)
            else:
                self._give_up(reply, result)
        return faults

    def _give_up(self, reply: UnsentReply, error: TransportError) -> None:
        """Turn a reply that Redis will never take (its stream is another kind of key, say) into a dead letter."""
        stream = reply.message.stream
        self._log.error("a reply cannot be added; its command becomes a dead letter", stream=stream, error=str(error))
        self.send_dead_letter(reply.entry, f"the reply could not be added to the stream '{stream}': {error}")
