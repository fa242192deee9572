"""Every cell of the inbox's tables: what is on record, what comes in, and what follows."""

from __future__ import annotations

import itertools

import pytest

from saga_service.core.vocabulary import Direction
from saga_service.worker.execution import body_of
from saga_service.worker.inbox.deduplication import (
    ACTION_AFTER_UNDO,
    NO_RECORD,
    OWN_SIDE,
    PROBE,
    REFUSALS,
    Attempt,
    Conclusion,
    Decided,
    Decision,
    Mark,
    Relation,
    Row,
    Run,
    Side,
    after_rejection,
    after_success,
    decide,
    reply_to,
)
from tests.support.workers import command, understood

BEGAN_AT = 5
DEADLINE_MS = 1_000
ATTEMPTS = {Relation.EARLIER: BEGAN_AT - 1, Relation.SAME: BEGAN_AT, Relation.LATER: BEGAN_AT + 1}
R, A, P, X, E = Decision.RUN, Decision.REPEAT, Decision.SKIP, Decision.REFUSE, Decision.NO_OP
NEVER, BEGUN, DONE, REJECTED = Mark
PAIRS = list(itertools.product(Mark, Mark))


def side(mark: Mark) -> Side:
    return Side(mark, BEGAN_AT, '{"code":"no","message":"none"}' if mark is REJECTED else None)


def at(direction: Direction, number: int, *, proof: bool = False, deadline_ms: int = DEADLINE_MS) -> Attempt:
    return Attempt(direction, number, deadline_ms, proof)


# Written out a second time, by the story and not by the code's tables:
# (action on record, undo on record) -> decision on an earlier, the same and a later attempt of the action.
ACTIONS: dict[tuple[Mark, Mark], tuple[Decision, Decision, Decision]] = {
    (NEVER, NEVER): (P, R, R),
    (NEVER, BEGUN): (X, X, X),
    (NEVER, DONE): (X, X, X),
    (NEVER, REJECTED): (X, X, X),
    (BEGUN, NEVER): (P, R, R),
    (BEGUN, BEGUN): (P, P, P),
    (BEGUN, DONE): (P, P, P),
    (BEGUN, REJECTED): (P, P, P),
    (DONE, NEVER): (A, A, A),
    (DONE, BEGUN): (A, A, A),
    (DONE, DONE): (A, A, A),
    (DONE, REJECTED): (A, A, A),
    (REJECTED, NEVER): (P, A, R),
    (REJECTED, BEGUN): (P, A, X),
    (REJECTED, DONE): (P, A, X),
    (REJECTED, REJECTED): (P, A, X),
}
# (action on record, undo on record) -> decision on an earlier, the same and a later attempt of an undo whose action's
# absence proves that there is nothing to undo.
UNDOS: dict[tuple[Mark, Mark], tuple[Decision, Decision, Decision]] = {
    (NEVER, NEVER): (P, E, E),
    (NEVER, BEGUN): (P, R, R),
    (NEVER, DONE): (A, A, A),
    (NEVER, REJECTED): (P, A, R),
    (BEGUN, NEVER): (P, R, R),
    (BEGUN, BEGUN): (P, R, R),
    (BEGUN, DONE): (A, A, A),
    (BEGUN, REJECTED): (P, A, R),
    (DONE, NEVER): (P, R, R),
    (DONE, BEGUN): (P, R, R),
    (DONE, DONE): (A, A, A),
    (DONE, REJECTED): (P, A, R),
    (REJECTED, NEVER): (P, E, E),
    (REJECTED, BEGUN): (P, R, R),
    (REJECTED, DONE): (A, A, A),
    (REJECTED, REJECTED): (P, A, R),
}
CELLS = [(marks, relation) for marks in PAIRS for relation in Relation]


@pytest.mark.parametrize("table", [OWN_SIDE, ACTION_AFTER_UNDO, PROBE])
def test_the_tables_have_a_rule_for_everything(table: dict[Mark, object]) -> None:
    assert set(table) == set(Mark)
    assert set(ACTIONS) == set(UNDOS) == set(PAIRS)


@pytest.mark.parametrize(("marks", "relation"), CELLS, ids=str)
def test_every_cell_of_an_action(marks: tuple[Mark, Mark], relation: Relation) -> None:
    row = Row(side(marks[0]), side(marks[1]))
    decided = decide(row, at(Direction.ACTION, ATTEMPTS[relation]))
    assert decided.decision is ACTIONS[marks][relation.value]
    began = row._replace(action=Side(BEGUN, ATTEMPTS[relation]))
    assert decided.row == (began if decided.decision is R else row), "nothing but a call leaves a mark"


@pytest.mark.parametrize("proof", [True, False])
@pytest.mark.parametrize(("marks", "relation"), CELLS, ids=str)
def test_every_cell_of_an_undo(marks: tuple[Mark, Mark], relation: Relation, proof: bool) -> None:
    row = Row(side(marks[0]), side(marks[1]))
    decided = decide(row, at(Direction.COMPENSATION, ATTEMPTS[relation], proof=proof))
    wanted = UNDOS[marks][relation.value]
    assert decided.decision is (R if wanted is E and not proof else wanted)
    after = {R: Side(BEGUN, ATTEMPTS[relation]), E: Side(DONE, ATTEMPTS[relation], "{}")}
    assert decided.row == row._replace(undo=after.get(decided.decision, row.undo))


@pytest.mark.parametrize("marks", PAIRS, ids=str)
def test_every_cell_of_a_probe(marks: tuple[Mark, Mark]) -> None:
    row = Row(side(marks[0]), side(marks[1]))
    decided = decide(row, at(Direction.PROBE, 1))
    wanted = {NEVER: Decision.NOT_DONE, BEGUN: Decision.IN_DOUBT, DONE: A, REJECTED: Decision.NOT_DONE}[marks[0]]
    assert decided.decision is wanted
    assert decided.row == (row._replace(fenced_until_ms=DEADLINE_MS) if wanted is Decision.NOT_DONE else row)


@pytest.mark.parametrize("mark", list(Mark))
@pytest.mark.parametrize("deadline_ms", [DEADLINE_MS - 1, DEADLINE_MS, DEADLINE_MS + 1])
def test_a_probes_denial_fences_the_attempts_that_were_sent_before_it(mark: Mark, deadline_ms: int) -> None:
    row = Row(side(mark), fenced_until_ms=DEADLINE_MS)
    decision = decide(row, at(Direction.ACTION, BEGAN_AT + 1, deadline_ms=deadline_ms)).decision
    is_closed = mark in (NEVER, REJECTED) and deadline_ms <= DEADLINE_MS
    assert decision is (Decision.FENCED if is_closed else ACTIONS[mark, NEVER][Relation.LATER.value])


def test_a_later_denial_never_lowers_the_fence_of_an_earlier_one() -> None:
    row = decide(Row(fenced_until_ms=DEADLINE_MS + 5), at(Direction.PROBE, 2)).row
    assert row.fenced_until_ms == DEADLINE_MS + 5


def begin(row: Row, what: Attempt) -> tuple[Row, Run]:
    decision, after = decide(row, what)
    assert decision is R
    return after, Run(what, row)


def test_a_success_is_on_record_and_answers_every_attempt_from_then_on() -> None:
    row, run = begin(NO_RECORD, at(Direction.ACTION, 1))
    conclusion = after_success(row, run, '{"n":1}')
    assert conclusion == Conclusion(None, Row(action=Side(DONE, 1, '{"n":1}')))
    for attempt in (1, 2, 9):
        assert decide(conclusion.row, at(Direction.ACTION, attempt)) == Decided(A, conclusion.row)


@pytest.mark.parametrize("direction", [Direction.ACTION, Direction.COMPENSATION])
def test_of_two_calls_at_once_the_first_to_end_is_the_answer_of_both(direction: Direction) -> None:
    row, first = begin(NO_RECORD, at(direction, 1))
    row, second = begin(row, at(direction, 2))
    row = after_success(row, second, '{"by":2}').row
    assert after_success(row, first, '{"by":1}') == Conclusion(A, row)
    assert after_rejection(row, first, '{"code":"no"}') == Conclusion(A, row)


@pytest.mark.parametrize("direction", [Direction.ACTION, Direction.COMPENSATION])
def test_the_success_of_an_earlier_attempt_keeps_the_fence_where_it_is(direction: Direction) -> None:
    row, first = begin(NO_RECORD, at(direction, 1))
    row, _ = begin(row, at(direction, 2))
    after = after_success(row, first, "{}").row
    assert (after.action if direction is Direction.ACTION else after.undo) == Side(DONE, 2, "{}")


@pytest.mark.parametrize("direction", [Direction.ACTION, Direction.COMPENSATION])
def test_a_rejection_is_repeated_to_its_own_attempt_alone(direction: Direction) -> None:
    row, run = begin(NO_RECORD, at(direction, 2))
    row = after_rejection(row, run, '{"code":"no"}').row
    assert (row.action if direction is Direction.ACTION else row.undo) == Side(REJECTED, 2, '{"code":"no"}')
    assert [decide(row, at(direction, attempt)).decision for attempt in (1, 2, 3)] == [P, A, R]


@pytest.mark.parametrize("attempt", [1, 2])
def test_a_rejection_after_a_call_in_doubt_is_not_recorded(attempt: int) -> None:
    in_doubt, _ = begin(NO_RECORD, at(Direction.ACTION, 1))
    row, run = begin(in_doubt, at(Direction.ACTION, attempt))
    assert after_rejection(row, run, "{}") == Conclusion(None, row), "still begun: it may have happened"
    assert decide(row, at(Direction.COMPENSATION, 1, proof=True)).decision is R, "so it is undone by its handler"
    assert decide(row, at(Direction.PROBE, 1)).decision is Decision.IN_DOUBT


def test_a_rejection_beside_a_later_attempt_is_not_recorded() -> None:
    row, first = begin(NO_RECORD, at(Direction.ACTION, 1))
    row, _ = begin(row, at(Direction.ACTION, 2))
    assert after_rejection(row, first, "{}") == Conclusion(None, row)


def test_an_action_that_ends_after_its_undo_opens_the_undo_again() -> None:
    row, action = begin(NO_RECORD, at(Direction.ACTION, 1))
    row, undo = begin(row, at(Direction.COMPENSATION, 1))
    row = after_success(row, undo, "{}").row
    assert decide(row, at(Direction.COMPENSATION, 2)).decision is A
    row = after_success(row, action, "{}").row
    assert row == Row(Side(DONE, 1, "{}"), Side(NEVER, 1))
    assert decide(row, at(Direction.COMPENSATION, 2)).decision is R


def test_an_undo_that_ran_while_its_action_ended_has_to_run_again() -> None:
    row, action = begin(NO_RECORD, at(Direction.ACTION, 1))
    row, undo = begin(row, at(Direction.COMPENSATION, 1))
    row = after_success(row, action, "{}").row
    assert after_success(row, undo, "{}") == Conclusion(Decision.OVERLAPPED, row)
    row, again = begin(row, at(Direction.COMPENSATION, 2))
    assert after_success(row, again, "{}").row == Row(Side(DONE, 1, "{}"), Side(DONE, 2, "{}"))


@pytest.mark.parametrize("decision", [decision for decision in Decision if decision is not R])
def test_every_decision_but_a_call_is_answered_or_skipped(decision: Decision) -> None:
    reply = reply_to(command(direction=Direction.COMPENSATION), decision, Row(undo=Side(DONE, 1, '{"n":1}')))
    if decision is P:
        assert reply is None
        return
    assert reply is not None
    replied = understood(reply)
    if decision in REFUSALS:
        assert replied.fault is not None
        assert (replied.outcome, replied.fault.code) == REFUSALS[decision][:2]
    else:
        assert body_of(reply) == ("{}" if decision is E else '{"n":1}')


def test_a_recorded_rejection_is_answered_word_for_word() -> None:
    row = Row(action=Side(REJECTED, 1, '{"code":"no_funds","message":"not enough"}'))
    reply = reply_to(command(), A, row)
    assert reply is not None
    fault = understood(reply).fault
    assert fault is not None
    assert (fault.code, fault.message) == ("no_funds", "not enough")
