"""The conditions that a saga can be in, each led to from every status that the table names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from saga_service.core.transitions import (
    SAGA_TRANSITIONS,
    STATUS_OF,
    SagaCondition,
)
from saga_service.core.vocabulary import (
    OnUnknown,
    Operation,
    SagaStatus,
    Verdict,
)
from tests.support.builders import NO_VALUE, ONCE, SagaInMemory, definition, running, step


@dataclass(frozen=True)
class ConditionCase:
    before: SagaStatus
    condition: SagaCondition
    lead: Callable[[], tuple[SagaInMemory, SagaStatus]]
    """Leads a saga to the condition; returns it with the status that it had just before."""


def _under_way() -> tuple[SagaInMemory, SagaStatus]:
    saga = running("reserve", "charge")
    before = saga.state.status
    saga.succeed("reserve")
    assert saga.sent_names == ["reserve 1", "charge 1"]
    return saga, before


def _all_done() -> tuple[SagaInMemory, SagaStatus]:
    saga = running("reserve")
    before = saga.state.status
    saga.succeed("reserve")
    return saga, before


def _given_up() -> tuple[SagaInMemory, SagaStatus]:
    saga = running("reserve", "charge")
    saga.succeed("reserve")
    before = saga.state.status
    saga.reject("charge")
    return saga, before


def _undo_left() -> tuple[SagaInMemory, SagaStatus]:
    saga = running("reserve", "charge", "ship")
    saga.succeed("reserve")
    saga.succeed("charge")
    saga.reject("ship")
    before = saga.state.status
    saga.undo_succeeds("charge")
    assert saga.sent_names[-1] == "undo reserve 1"
    return saga, before


def _all_undone() -> tuple[SagaInMemory, SagaStatus]:
    saga, _ = _given_up()
    before = saga.state.status
    saga.undo_succeeds("reserve")
    return saga, before


def _undo_failed() -> tuple[SagaInMemory, SagaStatus]:
    saga, _ = _given_up()
    before = saga.state.status
    saga.undo_rejected("reserve")
    return saga, before


def _reopened() -> tuple[SagaInMemory, SagaStatus]:
    saga, _ = _all_undone()
    before = saga.state.status
    saga.succeed("charge")
    return saga, before


def _late_but_nothing_to_undo() -> tuple[SagaInMemory, SagaStatus]:
    saga = running("reserve", step("notify", undoable=False))
    saga.succeed("reserve")
    saga.reject("notify")
    saga.undo_succeeds("reserve")
    before = saga.state.status
    saga.succeed("notify")
    return saga, before


def _late_success_while_stuck() -> tuple[SagaInMemory, SagaStatus]:
    saga, _ = _undo_failed()
    before = saga.state.status
    saga.succeed("charge")
    return saga, before


def _late_undo_goes_on() -> tuple[SagaInMemory, SagaStatus]:
    saga = running("reserve", "charge", "ship")
    saga.succeed("reserve")
    saga.succeed("charge")
    saga.reject("ship")
    saga.undo_rejected("charge")
    before = saga.state.status
    saga.undo_succeeds("charge")
    return saga, before


def _late_undo_ends_it() -> tuple[SagaInMemory, SagaStatus]:
    saga, _ = _undo_failed()
    before = saga.state.status
    saga.undo_succeeds("reserve")
    return saga, before


def _undo_requested() -> tuple[SagaInMemory, SagaStatus]:
    saga, _ = _all_done()
    before = saga.state.status
    saga.operate(Operation.COMPENSATE)
    return saga, before


def _undo_requested_of_nothing() -> tuple[SagaInMemory, SagaStatus]:
    saga = running(step("notify", undoable=False))
    saga.succeed("notify")
    before = saga.state.status
    saga.operate(Operation.COMPENSATE)
    return saga, before


def _undo_requested_that_cannot_be_sent() -> tuple[SagaInMemory, SagaStatus]:
    saga = running("reserve")
    saga.succeed("reserve")
    saga.definition = definition(step("reserve", sent=NO_VALUE))
    before = saga.state.status
    saga.operate(Operation.COMPENSATE)
    return saga, before


def _late_success_of_a_skipped_step() -> tuple[SagaInMemory, SagaStatus]:
    saga = running("reserve")
    saga.operate(Operation.SKIP, "reserve")
    before = saga.state.status
    saga.succeed("reserve")
    return saga, before


def _late_success_that_cannot_be_undone() -> tuple[SagaInMemory, SagaStatus]:
    saga = running("reserve")
    saga.reject("reserve")
    saga.definition = definition(step("reserve", sent=NO_VALUE))
    before = saga.state.status
    saga.succeed("reserve")
    return saga, before


def _parked() -> tuple[SagaInMemory, SagaStatus]:
    saga = running(step("reserve", on_unknown=OnUnknown.HOLD), "charge")
    before = saga.state.status
    saga.timer_when_due()
    return saga, before


def _set_going_again() -> tuple[SagaInMemory, SagaStatus]:
    saga, _ = _parked()
    before = saga.state.status
    saga.succeed("reserve")
    return saga, before


def _done_after_all() -> tuple[SagaInMemory, SagaStatus]:
    saga = running(step("reserve", on_unknown=OnUnknown.HOLD))
    saga.timer_when_due()
    before = saga.state.status
    saga.succeed("reserve")
    return saga, before


def _nothing_to_do() -> tuple[SagaInMemory, SagaStatus]:
    saga = running(step("notify", undoable=False))
    before = saga.state.status
    saga.reject("notify")
    return saga, before


def _paused(lead: Callable[[], tuple[SagaInMemory, SagaStatus]]) -> Callable[[], tuple[SagaInMemory, SagaStatus]]:
    def pause() -> tuple[SagaInMemory, SagaStatus]:
        saga, _ = lead()
        before = saga.state.status
        saga.operate(Operation.PAUSE)
        return saga, before

    return pause


def _resumed(
    lead: Callable[[], tuple[SagaInMemory, SagaStatus]], meanwhile: Callable[[SagaInMemory], object] = bool
) -> Callable[[], tuple[SagaInMemory, SagaStatus]]:
    def resume() -> tuple[SagaInMemory, SagaStatus]:
        saga, _ = lead()
        saga.operate(Operation.PAUSE)
        meanwhile(saga)
        before = saga.state.status
        saga.operate(Operation.RESUME)
        return saga, before

    return resume


def _begun() -> tuple[SagaInMemory, SagaStatus]:
    saga = running("reserve")
    return saga, saga.state.status


def _answered_while_paused() -> tuple[SagaInMemory, SagaStatus]:
    saga = running("reserve")
    saga.operate(Operation.PAUSE)
    before = saga.state.status
    saga.succeed("reserve")
    return saga, before


CONDITION_CASES = [
    ConditionCase(SagaStatus.RUNNING, SagaCondition.UNDER_WAY, _under_way),
    ConditionCase(SagaStatus.RUNNING, SagaCondition.ALL_DONE, _all_done),
    ConditionCase(SagaStatus.RUNNING, SagaCondition.UNDOING, _given_up),
    ConditionCase(SagaStatus.RUNNING, SagaCondition.ALL_UNDONE, _nothing_to_do),
    ConditionCase(SagaStatus.RUNNING, SagaCondition.PARKED, _parked),
    ConditionCase(SagaStatus.RUNNING, SagaCondition.PAUSED, _paused(_begun)),
    ConditionCase(SagaStatus.COMPENSATING, SagaCondition.UNDOING, _undo_left),
    ConditionCase(SagaStatus.COMPENSATING, SagaCondition.ALL_UNDONE, _all_undone),
    ConditionCase(SagaStatus.COMPENSATING, SagaCondition.PARKED, _undo_failed),
    ConditionCase(SagaStatus.COMPENSATING, SagaCondition.PAUSED, _paused(_given_up)),
    ConditionCase(SagaStatus.PAUSED, SagaCondition.UNDER_WAY, _resumed(_begun)),
    ConditionCase(SagaStatus.PAUSED, SagaCondition.ALL_DONE, _resumed(_begun, lambda saga: saga.succeed("reserve"))),
    ConditionCase(SagaStatus.PAUSED, SagaCondition.PARKED, _resumed(_parked)),
    ConditionCase(SagaStatus.PAUSED, SagaCondition.UNDOING, _resumed(_given_up)),
    ConditionCase(SagaStatus.PAUSED, SagaCondition.ALL_UNDONE, _resumed(_begun, lambda saga: saga.reject("reserve"))),
    ConditionCase(SagaStatus.PAUSED, SagaCondition.PAUSED, _answered_while_paused),
    ConditionCase(SagaStatus.COMPLETED, SagaCondition.ALL_DONE, _late_success_of_a_skipped_step),
    ConditionCase(SagaStatus.COMPLETED, SagaCondition.UNDOING, _undo_requested),
    ConditionCase(SagaStatus.COMPLETED, SagaCondition.ALL_UNDONE, _undo_requested_of_nothing),
    ConditionCase(SagaStatus.COMPLETED, SagaCondition.PARKED, _undo_requested_that_cannot_be_sent),
    ConditionCase(SagaStatus.COMPENSATED, SagaCondition.UNDOING, _reopened),
    ConditionCase(SagaStatus.COMPENSATED, SagaCondition.ALL_UNDONE, _late_but_nothing_to_undo),
    ConditionCase(SagaStatus.COMPENSATED, SagaCondition.PARKED, _late_success_that_cannot_be_undone),
    ConditionCase(SagaStatus.STUCK, SagaCondition.UNDER_WAY, _set_going_again),
    ConditionCase(SagaStatus.STUCK, SagaCondition.ALL_DONE, _done_after_all),
    ConditionCase(SagaStatus.STUCK, SagaCondition.PARKED, _late_success_while_stuck),
    ConditionCase(SagaStatus.STUCK, SagaCondition.UNDOING, _late_undo_goes_on),
    ConditionCase(SagaStatus.STUCK, SagaCondition.ALL_UNDONE, _late_undo_ends_it),
    ConditionCase(SagaStatus.STUCK, SagaCondition.PAUSED, _paused(_parked)),
]


@pytest.mark.parametrize("case", CONDITION_CASES, ids=lambda case: f"{case.before}: {case.condition}".replace(" ", "-"))
def test_every_condition_gives_the_saga_the_status_of_the_table(case: ConditionCase) -> None:
    saga, before = case.lead()
    assert before is case.before
    assert saga.status == STATUS_OF[case.condition]
    assert case.condition in SAGA_TRANSITIONS[case.before]


def test_there_is_a_case_for_every_condition_in_the_table() -> None:
    in_table = {(before, finding) for before, findings in SAGA_TRANSITIONS.items() for finding in findings}
    assert {(case.before, case.condition) for case in CONDITION_CASES} == in_table


def test_nothing_but_asking_for_its_undo_leads_out_of_a_completed_saga() -> None:
    saga, _ = _all_done()
    for refused in (
        saga.operate(Operation.CANCEL),
        saga.operate(Operation.PAUSE),
        saga.operate(Operation.RETRY),
        saga.operate(Operation.SKIP, "reserve"),
    ):
        assert refused.verdict is Verdict.REFUSED
    assert saga.operate(Operation.COMPENSATE).verdict is Verdict.APPLIED


def test_a_completed_saga_takes_no_reply_and_no_timer() -> None:
    saga = running(step("reserve", retry=ONCE), "charge")
    saga.succeed("reserve")
    saga.succeed("charge")
    ended = saga.state
    for event in (
        saga.succeed("reserve"),
        saga.fail("charge"),
        saga.reject("charge"),
        saga.progress("charge"),
        saga.timer(),
        saga.lose_transport(),
        saga.start(),
    ):
        assert event.verdict is Verdict.REPEATED
        assert event.state is ended
    assert saga.undo_succeeds("reserve", attempt=1).verdict is Verdict.REFUSED
