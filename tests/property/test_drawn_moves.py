"""The drawn moves are those that happen: none is missing, and each can happen."""

from __future__ import annotations

from random import Random

import pytest

from saga_service.core.transitions import EVALUATION_MOVES, SAGA_TRANSITIONS, STATUS_OF, STEP_MOVES
from saga_service.core.vocabulary import DUE_RETRY, Kind, OnUnknown, Operation, Resolution
from tests.property.traced_moves import EvaluationMove, RuleMove, SagaMove, TracedMoves
from tests.property.walks import walk
from tests.support.builders import NO_VALUE, ONCE, SagaInMemory, definition, running, step

SEED, WALKS = 8, 5_000

BY_RULE: set[RuleMove] = {
    (status, stimulus, target) for (status, stimulus), targets in STEP_MOVES.items() for target in targets
}
BY_EVALUATION: set[EvaluationMove] = {
    (status, target) for statuses, target in EVALUATION_MOVES.values() for status in statuses
}
OF_SAGA: set[SagaMove] = {
    (before, STATUS_OF[condition]) for before, conditions in SAGA_TRANSITIONS.items() for condition in conditions
}


def a_parked_step_is_resolved_as_failed_while_the_pivot_waits() -> None:
    saga = running(step("charge", kind=Kind.PIVOT), step("notify", after=(), retry=ONCE))
    saga.fail("notify")
    assert (saga.status, saga.statuses("notify")) == ("stuck", ["failed"]), "the pivot in flight may be done"
    saga.fail("charge")
    saga.operate(Operation.RESOLVE, "notify", resolution=Resolution.FAILED)
    assert (saga.status, saga.statuses("notify")) == ("compensated", ["failed"])


def a_parked_step_is_retried_and_cannot_be_sent() -> None:
    saga = running(step("charge", kind=Kind.RETRIABLE, retry=ONCE))
    saga.fail("charge")
    assert saga.statuses("charge") == ["failed"]
    _operate_without_input(saga, kind=Kind.RETRIABLE)
    assert saga.statuses("charge") == ["failed"]


def a_step_that_waits_for_its_retry_is_retried_and_cannot_be_sent() -> None:
    saga = running("charge")
    saga.fail("charge")
    assert saga.statuses("charge") == ["pending"]
    _operate_without_input(saga)
    assert saga.statuses("charge") == ["failed"]


def an_undo_that_came_before_the_effect_is_sent_again() -> None:
    saga = running(step("charge", on_unknown=OnUnknown.COMPENSATE))
    saga.timer_when_due()
    saga.succeed("charge")
    saga.undo_succeeds("charge")
    assert (saga.statuses("charge"), saga.step("charge").due) == (["compensating"], DUE_RETRY)


def an_undo_that_waits_for_its_retry_is_retried_and_cannot_be_sent() -> None:
    saga = running("charge")
    saga.succeed("charge")
    saga.operate(Operation.COMPENSATE)
    saga.undo_fails("charge")
    assert saga.statuses("charge") == ["compensating"]
    _operate_without_input(saga)
    assert saga.statuses("charge") == ["compensation_failed"]


def a_probe_confirms_while_the_next_attempt_is_in_flight() -> None:
    saga = running(step("charge", on_unknown=OnUnknown.PROBE))
    saga.timer_when_due()
    saga.operate(Operation.RETRY, "charge")
    assert saga.statuses("charge") == ["dispatched"]
    saga.it_happened("charge")
    assert saga.statuses("charge") == ["succeeded"]


def a_probe_confirms_while_the_next_attempt_waits() -> None:
    saga = running(step("charge", on_unknown=OnUnknown.PROBE))
    saga.timer_when_due()
    saga.it_did_not_happen("charge")
    assert saga.statuses("charge") == ["pending"]
    saga.it_happened("charge")
    assert saga.statuses("charge") == ["succeeded"]


def _operate_without_input(saga: SagaInMemory, kind: Kind = Kind.COMPENSATABLE) -> None:
    saga.definition = definition(step("charge", kind=kind, sent=NO_VALUE))
    saga.operate(Operation.RETRY)


RARE_CASES = (
    a_probe_confirms_while_the_next_attempt_is_in_flight,
    a_probe_confirms_while_the_next_attempt_waits,
    a_parked_step_is_resolved_as_failed_while_the_pivot_waits,
    a_parked_step_is_retried_and_cannot_be_sent,
    a_step_that_waits_for_its_retry_is_retried_and_cannot_be_sent,
    an_undo_that_came_before_the_effect_is_sent_again,
    an_undo_that_waits_for_its_retry_is_retried_and_cannot_be_sent,
)


@pytest.fixture(scope="module")
def seen() -> TracedMoves:
    """Every move of many walks, and of the named cases that walks seldom come to."""
    moves = TracedMoves()
    with pytest.MonkeyPatch.context() as patch:
        moves.trace(patch)
        random = Random(SEED)
        for _ in range(WALKS):
            walk(random)
        for case in RARE_CASES:
            case()
    return moves


def test_every_move_of_a_step_by_its_rule_is_drawn(seen: TracedMoves) -> None:
    changes = {move for move in seen.by_rule if move[0] is not move[2]}
    assert changes - BY_RULE == set(), f"drawn nowhere; seed {SEED}"


def test_every_move_of_a_step_by_an_evaluation_is_drawn(seen: TracedMoves) -> None:
    assert seen.by_evaluation - BY_EVALUATION == set(), f"drawn nowhere; seed {SEED}"


def test_every_move_of_a_saga_is_drawn(seen: TracedMoves) -> None:
    assert seen.of_saga - OF_SAGA == set(), f"drawn nowhere; seed {SEED}"


def test_every_drawn_move_of_a_step_by_its_rule_happens(seen: TracedMoves) -> None:
    assert BY_RULE - seen.by_rule == set(), f"it never happens, or is rare and needs a named case; seed {SEED}"


def test_every_drawn_move_of_a_step_by_an_evaluation_happens(seen: TracedMoves) -> None:
    assert BY_EVALUATION - seen.by_evaluation == set(), f"it never happens; seed {SEED}"


def test_every_drawn_move_of_a_saga_happens(seen: TracedMoves) -> None:
    assert OF_SAGA - seen.of_saga == set(), f"it never happens; seed {SEED}"
