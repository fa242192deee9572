"""Answering, then acknowledging.

An entry is acknowledged only after Redis has taken its answer: out of memory it refuses an XADD and still takes an
XACK, which would lose the answer. So each round trip carries the answers that have come up meanwhile, and the
acknowledgements of those that the round trip before it delivered. With nothing more to answer, the acknowledgements
follow at once.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from itertools import islice
from typing import NamedTuple

from redis.exceptions import RedisError
from structlog.typing import FilteringBoundLogger

from saga_service.base.clock import now_ms
from saga_service.core.ids import CommandId
from saga_service.streams.faults import is_transient
from saga_service.streams.pipeline import Command, Reply, acknowledge, add
from saga_service.wire.dead_letters import dead_letter, write_dead_letter
from saga_service.wire.entries import Entry, Message
from saga_service.wire.stream_names import StreamNames
from saga_service.worker.outage import Outage

ANSWERS_PER_ROUND_TRIP_MAX = 1_000

Send = Callable[[Sequence[Command]], Awaitable[list[Reply]]]


class Answer(NamedTuple):
    """What is to be added because of an entry, before the entry is acknowledged."""

    message: Message
    entry: Entry


class Replies:
    """`settled` is told, after every round trip that went through, which entries are acknowledged with it, if any."""

    def __init__(
        self,
        send: Send,
        acknowledging: tuple[str, str],
        names: StreamNames,
        settled: Callable[[Sequence[str]], None],
        log: FilteringBoundLogger,
    ) -> None:
        self._send = send
        self._stream, self._group = acknowledging
        self._names = names
        self._settled = settled
        self._log = log
        self._answers: deque[Answer] = deque()
        self._progress: dict[CommandId, Message] = {}
        self._acknowledgements: list[str] = []
        self._work = asyncio.Event()
        self._flushed = asyncio.Event()
        self._flushed.set()
        self._outage = Outage(log, "answering")

    @property
    def waiting(self) -> int:
        """Answers that Redis has not taken yet."""
        return len(self._answers)

    @property
    def are_held_up(self) -> bool:
        """Redis is away, or takes nothing more: whoever has work to give should wait."""
        return self._outage.is_on

    def answer(self, message: Message, entry: Entry) -> None:
        self._answers.append(Answer(message, entry))
        self._wake()

    def progress(self, command_id: CommandId, message: Message) -> None:
        """A sign of life; it takes the place of one that still waits."""
        self._progress[command_id] = message
        self._wake()

    def bury(self, entry: Entry, reason: str) -> None:
        """Answer with a dead letter."""
        letter = dead_letter(entry, reason, now_ms())
        self.answer(write_dead_letter(letter, self._names), entry)

    def acknowledge(self, entry_id: str) -> None:
        """For an entry that needs no answer."""
        self._acknowledgements.append(entry_id)
        self._wake()

    async def flushed(self) -> None:
        """Wait until every answer is taken and every entry acknowledged."""
        await self._flushed.wait()

    async def run(self) -> None:
        while True:
            await self._work.wait()
            try:
                await self._round_trip()
            except (RedisError, OSError) as error:
                # Nothing is known of what was taken, so all of it is sent again: a reply may come twice.
                await self._outage.wait(error)
            if not (self._answers or self._progress or self._acknowledgements):
                self._work.clear()
                self._flushed.set()

    def _wake(self) -> None:
        if not self._work.is_set():
            self._flushed.clear()
            self._work.set()

    async def _round_trip(self) -> None:
        answers = list(islice(self._answers, ANSWERS_PER_ROUND_TRIP_MAX))
        progress, acknowledgements = dict(self._progress), list(self._acknowledgements)
        commands = [*map(add, progress.values()), *(add(answer.message) for answer in answers)]
        if acknowledgements:
            commands.append(acknowledge(self._stream, self._group, acknowledgements))
        replies = await self._send(commands)
        for command_id, message in progress.items():
            if self._progress.get(command_id) is message:
                del self._progress[command_id]
        added = len(progress) + len(answers)
        faults = self._taken(answers, replies[len(progress) : added])
        refused = [reply for reply in replies[added:] if isinstance(reply, RedisError)]
        settled = [] if refused else acknowledgements
        del self._acknowledgements[: len(settled)]
        await self._conclude(settled, faults + refused)

    async def _conclude(self, settled: list[str], faults: list[RedisError]) -> None:
        if not faults:
            self._outage.over()
        self._settled(settled)
        if faults:
            await self._outage.wait(faults[0])

    def _taken(self, answers: list[Answer], replies: list[Reply]) -> list[RedisError]:
        """What is to be waited on before the answers that were refused are sent again."""
        faults: list[RedisError] = []
        for answer, reply in zip(answers, replies, strict=True):
            self._answers.popleft()
            if not isinstance(reply, RedisError):
                self._acknowledgements.append(answer.entry.id)
            elif is_transient(reply) or answer.message.stream == self._names.dead_letters:
                self._answers.append(answer)
                faults.append(reply)
            else:
                self._give_up(answer, reply)
        return faults

    def _give_up(self, answer: Answer, error: RedisError) -> None:
        """Redis will never take this answer (its stream is another kind of key, say): a person has to look."""
        stream = answer.message.stream
        self._log.error("an answer cannot be added; its command becomes a dead letter", stream=stream, error=str(error))
        self.bury(answer.entry, f"the answer could not be added to the stream '{stream}': {error}")
