"""One step of a saga, its inbox and the world outside, through deliveries that are repeated, late and out of order.

The inbox is the real one's tables, on a row in memory. The world is what the inbox cannot see: whether the effect
stands. It knows a repeat by its idempotency key, as a provider does; in a transaction it counts what is written.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from hypothesis import strategies as st

from saga_service.core.vocabulary import Direction
from saga_service.worker.inbox.deduplication import (
    NO_RECORD,
    Attempt,
    Decision,
    Mark,
    Row,
    Run,
    after_rejection,
    after_success,
    decide,
)

ACTION, UNDO, PROBE = Direction.ACTION, Direction.COMPENSATION, Direction.PROBE
RESULT, ERROR = '{"by":1}', '{"code":"no","message":"never"}'


def deadline_ms(direction: Direction, attempt: int) -> int:
    """Each attempt has the same time for itself; a question is attempt after the attempt of its number."""
    return 10 * attempt + (5 if direction is PROBE else 0)


class End(Enum):
    """How a handler ends."""

    SUCCEEDS = "succeeds"
    REJECTS = "rejects"
    BREAKS_OFF = "fails or dies"


class Deliver(NamedTuple):
    direction: Direction
    attempt: int


class Act(NamedTuple):
    """A handler that is at work has its effect."""

    which: int


class Ends(NamedTuple):
    """A handler that is at work ends."""

    which: int
    how: End


Move = Deliver | Act | Ends

# Mostly of one attempt: what goes wrong goes wrong between commands that overlap.
_attempts, _which = st.sampled_from([1, 1, 1, 2, 3]), st.integers(0, 2)
moves: st.SearchStrategy[list[Move]] = st.lists(
    st.one_of(
        st.builds(Deliver, st.sampled_from([ACTION, ACTION, UNDO, PROBE]), _attempts),
        st.builds(Act, _which),
        st.builds(Ends, _which, st.sampled_from(End)),
    ),
    max_size=30,
)


@dataclass(slots=True)
class AtWork:
    """A handler that was called."""

    run: Run
    version: int
    has_acted: bool = False


@dataclass(slots=True)
class Told:
    """What the saga was told, and what may not happen any more because of it."""

    undone_last: bool = False
    """An undo was told to be done, and no success of the action after it."""
    denied_until_ms: int = 0


@dataclass(slots=True)
class OneStep:
    """`is_transactional`: mark, effect and result are one commit. `undoes`: an undo knows its action's absence."""

    is_transactional: bool
    undoes: bool
    row: Row = NO_RECORD
    version: int = 0
    effects: int = 0
    was_ever_done: bool = False
    has_a_silent_effect: bool = False
    """A handler had its effect and broke off: nobody tells of it, and no table can."""
    begun_last: dict[Direction, int] = field(default_factory=lambda: {ACTION: 0, UNDO: 0})
    told: Told = field(default_factory=Told)
    at_work: list[AtWork] = field(default_factory=list)

    def go_on(self, move: Move) -> None:
        match move:
            case Deliver(direction, attempt):
                self._deliver(direction, attempt)
            case Act(which) if which < len(self.at_work):
                self._act(self.at_work[which])
            case Ends(which, how) if which < len(self.at_work):
                self._end(self.at_work.pop(which), how)
            case _:
                return
        self._holds()

    # ----------------------------------------------------------------------------------------------------- the inbox

    def _deliver(self, direction: Direction, number: int) -> None:
        attempt = Attempt(direction, number, deadline_ms(direction, number), direction is UNDO and self.undoes)
        if self.is_transactional and direction is not PROBE:
            # It is decided when it has the row's lock, and what it does is done then.
            self.at_work.append(AtWork(Run(attempt, self.row), self.version))
            return
        decided, before = decide(self.row, attempt), self.row
        self._put(decided.row)
        if decided.decision is Decision.RUN:
            self._is_in_its_turn(attempt)
            self.at_work.append(AtWork(Run(attempt, before), self.version))
        else:
            self._answer(direction, decided.decision, attempt)

    def _is_in_its_turn(self, attempt: Attempt) -> None:
        assert attempt.number >= self.begun_last[attempt.direction], "an older attempt acts after a newer"
        if attempt.direction is ACTION:
            assert attempt.deadline_ms > self.told.denied_until_ms, "what was denied begins all the same"
            assert not self.told.undone_last, "an action begins after its undo"
        self.begun_last[attempt.direction] = attempt.number

    def _put(self, row: Row) -> None:
        self.row = row
        self.version += 1

    def _answer(self, direction: Direction, decision: Decision, attempt: Attempt) -> None:
        if direction is PROBE and decision is Decision.REPEAT:
            assert self.was_ever_done, "a probe says that it happened, and it did not"
        elif decision is Decision.NOT_DONE:
            self.told.denied_until_ms = max(self.told.denied_until_ms, attempt.deadline_ms)
        elif direction is UNDO and decision in (Decision.NO_OP, Decision.REPEAT):
            self.told.undone_last = self.told.undone_last or self.row.undo.mark is Mark.DONE

    # ----------------------------------------------------------------------------------------------------- handlers

    def _act(self, working: AtWork) -> None:
        if working.has_acted or self.is_transactional:
            return
        working.has_acted = True
        self._have_effect(working.run.attempt)

    def _have_effect(self, attempt: Attempt) -> None:
        if attempt.direction is UNDO:
            self.effects = 0
            return
        assert attempt.deadline_ms > self.told.denied_until_ms, "what was denied happens all the same"
        self.effects += 1 if self.is_transactional or not self.was_ever_done else 0
        self.was_ever_done = True

    def _end(self, working: AtWork, how: End) -> None:
        if self.is_transactional:
            self._end_of_transaction(working.run.attempt, how)
        elif how is End.SUCCEEDS:
            self._act(working)
            self._conclude_success(working.run, self.row)
        elif how is End.REJECTS and not working.has_acted:
            is_alone = self.version == working.version
            self._put(after_rejection(self.row, working.run, ERROR, is_alone=is_alone).row)
        elif working.has_acted and working.run.attempt.direction is ACTION:
            self.has_a_silent_effect = True

    def _end_of_transaction(self, attempt: Attempt, how: End) -> None:
        """The decision is made under the row's lock, and all of it comes about now, or nothing."""
        decided = decide(self.row, attempt)
        if decided.decision is not Decision.RUN:
            self._put(decided.row)
            self._answer(attempt.direction, decided.decision, attempt)
        elif how in (End.SUCCEEDS, End.REJECTS):
            self._is_in_its_turn(attempt)
            run = Run(attempt, self.row)
            if how is End.REJECTS:
                self._put(after_rejection(decided.row, run, ERROR).row)
            else:
                self._have_effect(attempt)
                self._conclude_success(run, decided.row)

    def _conclude_success(self, run: Run, row: Row) -> None:
        conclusion = after_success(row, run, RESULT)
        self._put(conclusion.row)
        if conclusion.decision is None:
            self.told.undone_last = run.attempt.direction is UNDO
        else:
            self._answer(run.attempt.direction, conclusion.decision, run.attempt)

    # ---------------------------------------------------------------------------------------------------------- laws

    def _holds(self) -> None:
        assert self.effects <= 1, "the effect stands more than once"
        acting = [working for working in self.at_work if working.has_acted]
        is_about_to_tell = any(working.run.attempt.direction is ACTION for working in acting)
        if self.told.undone_last and not is_about_to_tell and not self.has_a_silent_effect:
            assert not self.effects, "the saga was told that it is undone, and the effect stands"
