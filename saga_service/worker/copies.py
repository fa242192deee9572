"""Copies of one command, and who may say that it never began.

A command can be in its stream more than once: a message is sent again where Redis may not have it, by the replica that
sent it, by another one that found it in the outbox, or by a recovery. One entry at most is the *original*, and says so
in a field. The service leaves the field out of everything that it sends after a try whose end is unknown.

A command that is read after its deadline is not carried out. The saga then waits for a reply that never comes, and its
step is in doubt, unless a worker says that the command never began. That has to be true of all entries of the command,
and for good. So it is said of an original alone, by the consumer that was the only one to be given it, and only where
no copy was begun on:

    a copy        is marked in Redis before a worker begins on it, and not begun on where Redis' clock says that its
                  deadline has passed by then
    an original   needs no mark: whoever else is given it is given it as a redelivery, which the pending list tells; and
                  that list is believed only of the run of Redis that the original was added on
    the question  is asked once Redis' clock says that the deadline has passed. From that moment on no copy is marked,
                  and every entry that comes later is too late itself

Redis carries out commands one after the other. A mark comes before the moment that its own pipeline reads, and the
question's look for the mark comes after the moment that its pipeline reads; one of the two moments is before the
deadline and the other is after it. So a mark is never missed. A restart or a failover may lose the last moment of what
Redis has done: an entry is still there, and who was given it is forgotten. So an original carries the id of the run
that it was added on, and of one from another run nothing is said. What is asked of Redis costs nothing while all goes
well: copies and late commands are what an outage leaves behind.

Undos and probes get no such reply: a saga sends another one whether the last one began or not.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from itertools import islice
from typing import NamedTuple

from structlog.typing import FilteringBoundLogger

from saga_service.base.liveness import waiting
from saga_service.core.vocabulary import ACTION
from saga_service.streams.connection import ASK_SERVER_ID, server_id_in
from saga_service.streams.consumer_loop import Outage
from saga_service.streams.pipeline import Command, Reply
from saga_service.wire.commands import ReceivedCommand
from saga_service.wire.entries import Entry
from saga_service.wire.transport import StreamLost, StreamNames, TransportError

ASKED_AT_ONCE_MAX = 500
MARK_KEPT_MS = 24 * 3_600_000
"""How long a mark is kept after its command's deadline. An original may lie unread for as long."""
ASKED_AGAIN_AFTER_S = 0.05

SendPipeline = Callable[[Sequence[Command]], Awaitable[list[Reply]]]


class _Mark(NamedTuple):
    """A copy that a worker would begin on."""

    command: ReceivedCommand
    may_begin: asyncio.Future[bool]


class _Question(NamedTuple):
    """An original that is late: did it never begin?"""

    command: ReceivedCommand
    entry: Entry
    answer: Callable[[bool], None]


class Copies:
    """Marks copies before they begin, and finds out about late originals. `consumer` is the one that reads `stream`."""

    def __init__(
        self,
        send_pipeline: SendPipeline,
        names: StreamNames,
        stream: str,
        group: str,
        consumer: str,
        log: FilteringBoundLogger,
    ) -> None:
        self._send_pipeline = send_pipeline
        self._names = names
        self._pending_of = ("XPENDING", stream, group)
        self._consumer = consumer
        self._marks: deque[_Mark] = deque()
        self._questions: deque[_Question] = deque()
        self._work = asyncio.Event()
        self._outage = Outage(log, "work on commands that are late or were sent again")

    def __len__(self) -> int:
        """The number of late commands that nothing is known about yet."""
        return len(self._questions)

    async def may_begin(self, command: ReceivedCommand) -> bool:
        """Find out whether a worker may begin on this command. A copy is marked first, and may be too late for that."""
        if command.original_on is not None or command.direction is not ACTION:
            return True
        answer = asyncio.get_running_loop().create_future()
        self._marks.append(_Mark(command, answer))
        self._work.set()
        return bool(await answer)

    def ask(self, command: ReceivedCommand, entry: Entry, answer: Callable[[bool], None]) -> None:
        """Call `answer` with True where this command, which is past its deadline, never began and never will."""
        if command.direction is not ACTION or command.original_on is None or command.was_delivered_before:
            answer(False)
            return
        self._questions.append(_Question(command, entry, answer))
        self._work.set()

    async def run(self) -> None:
        while True:
            with waiting():
                await self._work.wait()
            try:
                all_answered = await self.round_trip()
            except TransportError as error:
                await self._outage.wait(error)
                continue
            self._outage.over()
            if not (self._marks or self._questions):
                self._work.clear()
            elif not all_answered:
                with waiting():
                    await asyncio.sleep(ASKED_AGAIN_AFTER_S)

    async def round_trip(self) -> bool:
        """Ask about as many as go into one pipeline. False where Redis' clock says that some are not late yet."""
        marks = list(islice(self._marks, ASKED_AT_ONCE_MAX))
        questions = list(islice(self._questions, ASKED_AT_ONCE_MAX))
        commands = [
            *(self._set_mark(mark.command) for mark in marks),
            ("TIME",),
            ASK_SERVER_ID,
            *(part for question in questions for part in self._look_at(question)),
        ]
        replies = await self._send_pipeline(commands)
        # Whoever may not ask for it does not know it, and says nothing of any command.
        server_id = server_id_in(replies.pop(len(marks) + 1))
        replies = _taken(replies)
        now_ms = _moment_ms(replies[len(marks)])
        for mark in marks:
            self._marks.popleft()
            if not mark.may_begin.done():
                mark.may_begin.set_result(now_ms <= mark.command.deadline_ms)
        not_late_yet = []
        looks = replies[len(marks) + 1 :]
        for question, pending, has_mark in zip(questions, looks[::2], looks[1::2], strict=True):
            self._questions.popleft()
            if now_ms > question.command.deadline_ms:
                is_of_this_run = question.command.original_on == server_id
                question.answer(is_of_this_run and _is_given_once(pending) and not has_mark)
            else:
                not_late_yet.append(question)
        self._questions.extend(not_late_yet)
        return not not_late_yet

    def _set_mark(self, command: ReceivedCommand) -> Command:
        until_ms = command.deadline_ms + MARK_KEPT_MS
        return ("SET", self._names.begun(command.id), "1", "PXAT", until_ms)

    def _look_at(self, question: _Question) -> tuple[Command, Command]:
        entry_id = question.entry.id
        pending = (*self._pending_of, entry_id, entry_id, 1, self._consumer)
        return pending, ("EXISTS", self._names.begun(question.command.id))


def _taken(replies: list[Reply]) -> list[Reply]:
    """Raises the first error among the replies; a stream that is lost has nothing pending."""
    for reply in replies:
        if isinstance(reply, TransportError) and not isinstance(reply, StreamLost):
            raise reply
    return [[] if isinstance(reply, StreamLost) else reply for reply in replies]


def _moment_ms(reply: Reply) -> int:
    assert isinstance(reply, list), "TIME has two numbers"
    seconds, microseconds = map(int, reply)
    return seconds * 1000 + microseconds // 1000


def _is_given_once(reply: Reply) -> bool:
    """True where the entry is pending for us, and nobody was given it before or since."""
    assert isinstance(reply, list), "XPENDING has a list of entries"
    return len(reply) == 1 and reply[0][3] == 1
