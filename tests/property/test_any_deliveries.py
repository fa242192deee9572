"""Any deliveries of one step's commands, in any order: effects happen once, and what the saga is told of them holds."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.property.one_step import ACTION, PROBE, UNDO, Act, Deliver, End, Ends, Move, OneStep, moves

_BOTH_ARE_AT_WORK: list[Move] = [Deliver(ACTION, 1), Deliver(UNDO, 1)]
KNOWN_RACES: dict[str, list[Move]] = {
    "a call rejects beside another one, and a probe asks": [
        Deliver(ACTION, 1),
        Deliver(ACTION, 1),
        Ends(0, End.REJECTS),
        Deliver(PROBE, 1),
        Act(0),
    ],
    "an action ends after its undo, which comes once more": [
        *_BOTH_ARE_AT_WORK,
        Ends(1, End.SUCCEEDS),
        Ends(0, End.SUCCEEDS),
        Deliver(UNDO, 1),
    ],
    "an action ends while its undo is at work": [
        *_BOTH_ARE_AT_WORK,
        Act(1),
        Ends(0, End.SUCCEEDS),
        Ends(0, End.SUCCEEDS),
    ],
}


@pytest.mark.parametrize("race", KNOWN_RACES.values(), ids=KNOWN_RACES.keys())
def test_the_inbox_keeps_its_word_in_races_that_are_known(race: list[Move]) -> None:
    _all_holds(race, is_transactional=False, undoes=True)


@settings(max_examples=6 * settings().max_examples)
@given(moves=moves, is_transactional=st.booleans(), undoes=st.booleans())
def test_the_inbox_keeps_its_word_whatever_is_delivered(
    moves: list[Move], is_transactional: bool, undoes: bool
) -> None:
    _all_holds(moves, is_transactional=is_transactional, undoes=undoes)


def _all_holds(moves: list[Move], *, is_transactional: bool, undoes: bool) -> None:
    step = OneStep(is_transactional, undoes)
    for move in moves:
        step.go_on(move)
