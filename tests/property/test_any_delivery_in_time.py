"""Random histories of one command's entries: what is said never to have begun never begins, whatever befalls Redis.

The stream, its group and its keys are a model of Redis in one number of time. What decides is the workers' own: the
marks of copies and the questions about late originals (`saga_service.worker.copies`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import NamedTuple

import structlog
from hypothesis import given
from hypothesis import strategies as st

from saga_service.streams.pipeline import Command, Reply
from saga_service.wire.commands import ReceivedCommand, read_command
from saga_service.wire.entries import Entry as StreamEntry
from saga_service.worker.copies import Copies
from tests.support.workers import GROUP, NAMES, STREAM, command_entry

DEADLINE = 100
WORKERS = 2
CLOCKS_OFF = 2
"""A worker's reading of Redis' clock is off by as much at most."""
RESTART = 10
"""A restart takes longer than clocks are off, and so does the time after which an entry is taken over."""


class What(Enum):
    ORIGINAL_ARRIVES = auto()
    COPY_ARRIVES = auto()
    READ = auto()
    GO_ON = auto()
    RECLAIM = auto()
    PASS_ON = auto()
    ACKNOWLEDGE = auto()
    TIME_PASSES = auto()
    REDIS_FORGETS = auto()


class Move(NamedTuple):
    what: What
    worker: int
    pick: int


# Mostly what brings a command on: what goes wrong goes wrong between entries that are in somebody's hands.
moves = st.lists(
    st.builds(
        Move,
        st.sampled_from([*What, What.READ, What.READ, What.GO_ON, What.GO_ON, What.GO_ON, What.GO_ON]),
        st.integers(0, WORKERS - 1),
        st.integers(0, 9),
    ),
    min_size=6,
    max_size=40,
)
LEAPS = (1, DEADLINE - 1, DEADLINE + 10)


@dataclass(slots=True)
class Entry:
    id: str
    original_on: int | None
    """The run of Redis that it says it was added on, of an original."""
    consumer: int | None = None
    deliveries: int = 0
    is_acknowledged: bool = False
    was_given: bool = False
    """True once any worker was given it, whatever Redis knows of that."""


class Step(Enum):
    """What a worker does next with an entry in its hands. Any time may pass, and anything happen, before it does."""

    JUDGE = auto()
    MARK = auto()
    BEGIN = auto()
    ASK = auto()


@dataclass(slots=True)
class InHand:
    entry: Entry
    was_delivered_before: bool
    is_given_again: bool
    next: Step = Step.JUDGE

    def command(self) -> tuple[ReceivedCommand, StreamEntry]:
        """The command as its worker reads it."""
        plain = command_entry(1, self.entry.id)
        fields = {name: value for name, value in plain.fields.items() if name != b"original"}
        fields[b"deadline"] = str(DEADLINE).encode()
        if self.entry.original_on is not None:
            fields[b"original"] = _server_id(self.entry.original_on).encode()
        entry = StreamEntry(plain.stream, plain.id, fields, was_delivered_before=self.was_delivered_before)
        return read_command(entry), entry


def _server_id(run: int) -> str:
    return f"{run:08x}00000000"


@dataclass(slots=True)
class Stream:
    """One command of one service, with all its entries."""

    now: int = 0
    run: int = 1
    made_on: int = 1
    """The run of Redis on which the command was made: before it, no copy of it was ever sent."""
    entries: list[Entry] = field(default_factory=list)
    keys: set[str] = field(default_factory=set)
    has_begun: bool = False
    claims: int = 0
    original_was_added: bool = False
    hands: list[list[InHand]] = field(default_factory=lambda: [[] for _ in range(WORKERS)])
    copies: list[Copies] = field(init=False)

    def __post_init__(self) -> None:
        log = structlog.get_logger()
        self.copies = [Copies(self.answer, NAMES, STREAM, GROUP, str(worker), log) for worker in range(WORKERS)]

    async def answer(self, commands: Sequence[Command]) -> list[Reply]:
        """What Redis says, all at one moment."""
        return [self._answer(*map(str, command)) for command in commands]

    def _answer(self, name: str, *words: str) -> Reply:
        match name:
            case "TIME":
                return [str(self.now // 1000).encode(), str(self.now % 1000 * 1000).encode()]
            case "INFO":
                return f"run_id:{self.run:08x}\r\nmaster_replid:00000000\r\n".encode()
            case "SET":
                self.keys.add(words[0])
                return b"OK"
            case "EXISTS":
                return int(words[0] in self.keys)
            case _:
                _, _, entry_id, _, _, consumer = words
                return [
                    [entry.id.encode(), consumer.encode(), 5, entry.deliveries]
                    for entry in self.pending()
                    if entry.id == entry_id and str(entry.consumer) == consumer
                ]

    async def happens(self, move: Move) -> None:
        match move.what:
            case What.ORIGINAL_ARRIVES:
                # At any time: its replica may have been paused before it wrote to the socket.
                if not self.original_was_added:
                    self.original_was_added = True
                    self.add(self.run if self.run == self.made_on else None)
            case What.COPY_ARRIVES:
                self.add(None)
            case What.READ:
                self.read(move.worker)
            case What.GO_ON:
                await self.go_on(move.worker, move.pick)
            case What.RECLAIM:
                self.reclaim(move.worker, move.pick)
            case What.PASS_ON:
                self.pass_on(move.worker, move.pick)
            case What.ACKNOWLEDGE:
                pending = self.pending()
                if pending and self.has_begun:
                    pending[move.pick % len(pending)].is_acknowledged = True
            case What.TIME_PASSES:
                self.now += LEAPS[move.pick % len(LEAPS)]
            case What.REDIS_FORGETS:
                self.forget(move.pick)

    def add(self, original_on: int | None) -> None:
        self.entries.append(Entry(f"{len(self.entries) + 1}-0", original_on))

    def forget(self, pick: int) -> None:
        """Redis restarts, or a replica takes over, and the last moment is lost: who was given what, and which marks."""
        self.run += 1
        self.now += RESTART
        if pick % 2:
            self.keys.clear()
        for entry in self.entries[pick % (len(self.entries) + 1) :]:
            entry.consumer, entry.deliveries, entry.is_acknowledged = None, 0, False

    def pending(self) -> list[Entry]:
        return [entry for entry in self.entries if entry.consumer is not None and not entry.is_acknowledged]

    def read(self, worker: int) -> None:
        unread = [entry for entry in self.entries if entry.consumer is None]
        if unread:
            entry = unread[0]
            entry.consumer, entry.deliveries = worker, 1
            self.hands[worker].append(InHand(entry, was_delivered_before=False, is_given_again=entry.was_given))
            entry.was_given = True

    def reclaim(self, worker: int, pick: int) -> None:
        if pending := self.pending():
            entry = pending[pick % len(pending)]
            entry.consumer, entry.deliveries = worker, entry.deliveries + 1
            if not any(held.entry is entry for held in self.hands[worker]):
                self.hands[worker].append(InHand(entry, was_delivered_before=True, is_given_again=True))

    def pass_on(self, worker: int, pick: int) -> None:
        """A worker that does not know the command moves it, in one step, if it is still its own."""
        judging = [held for held in self.hands[worker] if held.next is Step.JUDGE]
        if judging:
            held = judging[pick % len(judging)]
            self.hands[worker].remove(held)
            if held.entry.consumer == worker and not held.entry.is_acknowledged:
                held.entry.is_acknowledged = True
                # `pass_on.lua`
                self.add(held.entry.original_on if held.entry.deliveries == 1 else None)

    async def go_on(self, worker: int, pick: int) -> None:
        if not (hands := self.hands[worker]):
            return
        held = hands[pick % len(hands)]
        match held.next:
            case Step.JUDGE:
                is_late = self.now + pick % (2 * CLOCKS_OFF + 1) - CLOCKS_OFF > DEADLINE
                held.next = Step.ASK if is_late else Step.MARK
                if held.next is Step.MARK and held.entry.original_on is not None:
                    # Nothing is asked, so nothing comes between.
                    await self.mark(worker, held)
                    self.begin(worker, held)
            case Step.MARK:
                await self.mark(worker, held)
            case Step.BEGIN:
                self.begin(worker, held)
            case Step.ASK:
                await self.ask(worker, held)

    async def mark(self, worker: int, held: InHand) -> None:
        command, _ = held.command()
        asking = asyncio.create_task(self.copies[worker].may_begin(command))
        await asyncio.sleep(0)
        if not asking.done():
            await self.copies[worker].round_trip()
        if await asking:
            held.next = Step.BEGIN
        else:
            self.hands[worker].remove(held)

    def begin(self, worker: int, held: InHand) -> None:
        self.hands[worker].remove(held)
        # What is given out again, by a reclaim or after a restart, comes long after: by more than clocks are off.
        if not (self.claims and held.is_given_again):
            self.has_begun = True

    async def ask(self, worker: int, held: InHand) -> None:
        if self.now <= DEADLINE:
            return
        self.hands[worker].remove(held)
        command, entry = held.command()
        answers: list[bool] = []
        self.copies[worker].ask(command, entry, answers.append)
        if not answers:
            await self.copies[worker].round_trip()
        self.claims += answers[0]


def after(*happening: tuple[What, int, int] | What) -> Stream:
    """The stream after all this; a plain `What` is the first worker's, with its first pick."""

    async def live() -> Stream:
        stream = Stream()
        for each in happening:
            await stream.happens(Move(each, 0, 0) if isinstance(each, What) else Move(*each))
            assert not (stream.claims and stream.has_begun), "it was said that it never began"
            assert stream.claims <= 1, "it is said once"
        return stream

    return asyncio.run(live())


@given(moves)
def test_a_command_that_is_said_never_to_have_begun_never_begins(happening: list[Move]) -> None:
    after(*happening)


LONG = (What.TIME_PASSES, 0, 2)


def test_an_original_that_is_read_late_is_said_never_to_have_begun() -> None:
    stream = after(What.ORIGINAL_ARRIVES, LONG, What.READ, What.GO_ON, What.GO_ON)
    assert (stream.claims, stream.has_begun) == (1, False)


def test_a_copy_that_begins_in_time_keeps_its_late_original_from_being_denied() -> None:
    begun = (What.COPY_ARRIVES, What.READ, What.GO_ON, What.GO_ON, What.GO_ON)
    stream = after(*begun, What.ORIGINAL_ARRIVES, LONG, What.READ, What.GO_ON, What.GO_ON)
    assert (stream.claims, stream.has_begun) == (0, True)


def test_an_original_that_began_before_redis_forgot_who_has_it_is_not_denied() -> None:
    begun = (What.ORIGINAL_ARRIVES, What.READ, What.GO_ON)
    stream = after(*begun, What.REDIS_FORGETS, LONG, (What.READ, 1, 0), (What.GO_ON, 1, 0), (What.GO_ON, 1, 0))
    assert (stream.claims, stream.has_begun) == (0, True)


def test_a_late_original_is_not_denied_where_the_mark_of_its_copy_may_be_forgotten() -> None:
    begun = (What.COPY_ARRIVES, What.READ, What.GO_ON, What.GO_ON, What.GO_ON, What.ACKNOWLEDGE)
    forgotten = (What.REDIS_FORGETS, 0, 1)
    stream = after(*begun, forgotten, What.ORIGINAL_ARRIVES, LONG, What.READ, What.GO_ON, What.GO_ON)
    assert (stream.claims, stream.has_begun) == (0, True)


def test_an_original_that_was_given_out_twice_and_passed_on_is_not_denied() -> None:
    held = (What.ORIGINAL_ARRIVES, What.READ, (What.RECLAIM, 1, 0), (What.GO_ON, 1, 0), What.RECLAIM, What.PASS_ON)
    stream = after(*held, LONG, What.READ, What.GO_ON, What.GO_ON)
    assert (stream.claims, stream.has_begun) == (0, True)


def test_an_original_that_came_back_to_its_first_worker_is_not_denied() -> None:
    begun_by_another = (What.ORIGINAL_ARRIVES, What.READ, (What.RECLAIM, 1, 0), (What.GO_ON, 1, 0))
    stream = after(*begun_by_another, What.RECLAIM, LONG, What.GO_ON, What.GO_ON)
    assert (stream.claims, stream.has_begun) == (0, True)


def test_a_copy_that_is_marked_too_late_does_not_begin_once_its_original_is_denied() -> None:
    in_hand = (What.ORIGINAL_ARRIVES, What.COPY_ARRIVES, What.READ, (What.READ, 1, 0))
    judged_in_time = ((What.TIME_PASSES, 0, 1), (What.GO_ON, 1, 2), What.TIME_PASSES, What.TIME_PASSES)
    denied = ((What.GO_ON, 0, 2), What.GO_ON)
    stream = after(*in_hand, *judged_in_time, *denied, (What.GO_ON, 1, 0), (What.GO_ON, 1, 0))
    assert (stream.claims, stream.has_begun) == (1, False)
