"""Whatever is sent twice, delayed, taken over or passed on: nobody says that a command never began which began.

A stream, its group, and workers that read, pause, take over and die, each by a clock that differs a little from Redis'.
The workers follow the rules of `saga_service.worker.copies` and of `saga_service.worker.handover`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto
from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

DEADLINE = 100
WORKERS = 2


class What(Enum):
    ORIGINAL_ARRIVES = auto()
    COPY_ARRIVES = auto()
    READ = auto()
    GO_ON = auto()
    RECLAIM = auto()
    PASS_ON = auto()
    ACKNOWLEDGE = auto()
    TIME_PASSES = auto()


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
    is_original: bool
    consumer: int | None = None
    deliveries: int = 0
    is_acknowledged: bool = False


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
    next: Step = Step.JUDGE


@dataclass(slots=True)
class Stream:
    """One command of one service, with all its entries."""

    now: int = 0
    entries: list[Entry] = field(default_factory=list)
    read_up_to: int = 0
    is_marked: bool = False
    has_begun: bool = False
    claims: int = 0
    original_was_added: bool = False
    hands: list[list[InHand]] = field(default_factory=lambda: [[] for _ in range(WORKERS)])

    def happens(self, move: Move) -> None:
        match move.what:
            case What.ORIGINAL_ARRIVES:
                # At any time: its replica may have been paused before it wrote to the socket.
                if not self.original_was_added:
                    self.original_was_added = True
                    self.entries.append(Entry(is_original=True))
            case What.COPY_ARRIVES:
                self.entries.append(Entry(is_original=False))
            case What.READ:
                self.read(move.worker)
            case What.GO_ON:
                self.go_on(move.worker, move.pick)
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

    def pending(self) -> list[Entry]:
        return [entry for entry in self.entries if entry.consumer is not None and not entry.is_acknowledged]

    def read(self, worker: int) -> None:
        if self.read_up_to < len(self.entries):
            entry = self.entries[self.read_up_to]
            self.read_up_to += 1
            entry.consumer, entry.deliveries = worker, 1
            self.hands[worker].append(InHand(entry, was_delivered_before=False))

    def reclaim(self, worker: int, pick: int) -> None:
        if pending := self.pending():
            entry = pending[pick % len(pending)]
            if any(held.entry is entry for held in self.hands[worker]):
                entry.consumer, entry.deliveries = worker, entry.deliveries + 1
                return
            entry.consumer, entry.deliveries = worker, entry.deliveries + 1
            self.hands[worker].append(InHand(entry, was_delivered_before=True))

    def pass_on(self, worker: int, pick: int) -> None:
        """A worker that does not know the command moves it, in one step, if it is still its own."""
        judging = [held for held in self.hands[worker] if held.next is Step.JUDGE]
        if judging:
            held = judging[pick % len(judging)]
            self.hands[worker].remove(held)
            if held.entry.consumer == worker and not held.entry.is_acknowledged:
                held.entry.is_acknowledged = True
                self.entries.append(Entry(held.entry.is_original and not held.was_delivered_before))

    def go_on(self, worker: int, pick: int) -> None:
        if not (hands := self.hands[worker]):
            return
        held = hands[pick % len(hands)]
        match held.next:
            case Step.JUDGE:
                # A worker's reading of the clock is a little off: by two at most.
                is_late = self.now + pick % 5 - 2 > DEADLINE
                held.next = Step.ASK if is_late else Step.BEGIN if held.entry.is_original else Step.MARK
                if held.next is Step.BEGIN:
                    # Nothing is asked, so nothing comes between.
                    self.begin(worker, held)
            case Step.MARK:
                self.is_marked = True
                if self.now <= DEADLINE:
                    held.next = Step.BEGIN
                else:
                    hands.remove(held)
            case Step.BEGIN:
                self.begin(worker, held)
            case Step.ASK:
                self.ask(worker, held)

    def begin(self, worker: int, held: InHand) -> None:
        self.hands[worker].remove(held)
        # A redelivery comes long after the first delivery, by far more than clocks are off.
        if not (held.was_delivered_before and self.claims):
            self.has_begun = True

    def ask(self, worker: int, held: InHand) -> None:
        if self.now <= DEADLINE:
            return
        self.hands[worker].remove(held)
        entry = held.entry
        ours_alone = entry.consumer == worker and entry.deliveries == 1 and not entry.is_acknowledged
        if entry.is_original and not held.was_delivered_before and ours_alone and not self.is_marked:
            self.claims += 1


@given(moves)
def test_a_command_that_is_said_never_to_have_begun_never_begins(happening: list[Move]) -> None:
    stream = Stream()
    for move in happening:
        stream.happens(move)
        assert not (stream.claims and stream.has_begun), "it was said that it never began"
        assert stream.claims <= 1, "it is said once"


def test_an_original_that_is_read_late_is_said_never_to_have_begun() -> None:
    stream = Stream()
    for what in (What.ORIGINAL_ARRIVES, What.TIME_PASSES, What.READ, What.GO_ON, What.GO_ON):
        stream.happens(Move(what, 0, 2))
    assert (stream.claims, stream.has_begun) == (1, False)


def test_a_copy_that_begins_in_time_keeps_its_late_original_from_being_denied() -> None:
    stream = Stream()
    for what in (What.COPY_ARRIVES, What.READ, What.GO_ON, What.GO_ON, What.GO_ON, What.ORIGINAL_ARRIVES):
        stream.happens(Move(what, 0, 0))
    stream.happens(Move(What.TIME_PASSES, 0, 2))
    for what in (What.READ, What.GO_ON, What.GO_ON):
        stream.happens(Move(what, 1, 0))
    assert (stream.claims, stream.has_begun) == (0, True)
