"""What `plan` says would be undone is what is undone when the saga is cancelled at that moment."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from saga_service.core.definition import Definition
from saga_service.core.undo_plan import Plan, plan
from saga_service.core.vocabulary import Direction, Operation, Outcome, Resolution, SagaStatus, StepStatus, UndoOrder
from tests.property.life import Life, Move, moves
from tests.property.sagas import definitions


@given(definition=definitions(), moves=moves, is_child=st.booleans())
def test_a_plan_is_what_comes_to_pass(definition: Definition, moves: list[Move], is_child: bool) -> None:
    life = Life(definition, is_child=is_child)
    for move in moves:
        life.go_on(move)
    planned = plan(definition, life.saga)
    sent_before = len(life.sent)
    under_way = {name.step for name in life.in_flight() if name.direction is Direction.COMPENSATION}
    life.ask_for(Operation.RESUME)
    life.ask_for(Operation.COMPENSATE)
    if planned.stays_because is not None:
        assert not any(sent.direction is Direction.COMPENSATION for sent in life.sent[sent_before:])
        return
    _what_is_in_flight_fails(life)
    _all_is_undone(life)
    undone = [sent.step for sent in life.sent[sent_before:] if sent.direction is Direction.COMPENSATION]
    _is_as_planned(definition, planned, [*under_way, *dict.fromkeys(undone)], life)


def _what_is_in_flight_fails(life: Life) -> None:
    """So that nothing takes effect which had not before."""
    for name in life.in_flight():
        if name.direction is Direction.ACTION:
            life.answer(name, Outcome.REJECTED)


def _all_is_undone(life: Life) -> None:
    for _ in range(6 * len(life.saga.steps) + 6):
        in_flight = life.in_flight()
        if life.saga.status is SagaStatus.COMPENSATED:
            return
        if in_flight:
            life.answer(in_flight[0], Outcome.SUCCEEDED)
        elif life.saga.status is SagaStatus.STUCK:
            [given_up] = [step.name for step in life.saga.steps if step.status is StepStatus.COMPENSATION_FAILED][:1]
            life.ask_for(Operation.RESOLVE, given_up, Resolution.COMPENSATED)
        else:
            life.let_come_due()
    raise AssertionError("it is never undone")


def _is_as_planned(definition: Definition, planned: Plan, undone: list[str], life: Life) -> None:
    in_plan = [undo.step for wave in planned.waves for undo in wave]
    beyond = {step for step in undone if step not in in_plan}
    assert beyond <= set(planned.awaited), "beyond the plan only what was in flight, and in doubt, is undone"
    by_hand = {line.step for line in life.history if line.event == "resolved_compensated"}
    as_planned = [step for step in dict.fromkeys(undone) if step in in_plan]
    left = [step for step in in_plan if step not in as_planned]
    assert set(left) <= by_hand, "what was planned and not sent was undone by hand"
    if definition.undo is UndoOrder.REVERSE:
        assert as_planned == [step for step in in_plan if step not in left], "in this order"
