"""Successes that come late: none is dropped, and what was given up on meanwhile is undone."""

from __future__ import annotations

from saga_service.core.vocabulary import Due, Kind, OnUnknown, Operation, SagaStatus, StepStatus, Verdict
from tests.support.builders import ONCE, RETRY, SagaInMemory, in_short, only_command, running, step


def _given_up_by_failure() -> SagaInMemory:
    """`charge` failed for good and `reserve` is being undone."""
    saga = running("reserve", step("charge", retry=ONCE))
    saga.succeed("reserve")
    saga.fail("charge")
    assert saga.sent_names[-1] == "undo reserve 1"
    return saga


def test_while_the_step_waits_for_its_retry() -> None:
    saga = running("reserve", "charge")
    saga.timer_when_due()
    assert saga.step("reserve").due is Due.RETRY
    transition = saga.succeed("reserve", {"place": "A4"}, attempt=1)
    assert transition.verdict is Verdict.APPLIED
    assert saga.step("reserve").status is StepStatus.SUCCEEDED
    assert saga.sent_names == ["reserve 1", "charge 1"]
    assert saga.sent[-1].outputs == {"reserve": {"place": "A4"}}


def test_while_the_step_waits_after_a_failure_reported_wrongly() -> None:
    saga = running("reserve", "charge")
    saga.fail("reserve")
    saga.succeed("reserve", attempt=1)
    assert saga.sent_names == ["reserve 1", "charge 1"]


def test_while_the_later_attempt_is_in_flight() -> None:
    saga = running("reserve", "charge")
    saga.timer_when_due()
    saga.timer_when_due()
    transition = saga.succeed("reserve", {"by": "the first"}, attempt=1)
    assert transition.history[0].attempt == 1
    assert saga.sent_names == ["reserve 1", "reserve 2", "charge 1"]
    before = saga.state
    for late in (saga.succeed("reserve", {"by": "the second"}, attempt=2), saga.fail("reserve", attempt=2)):
        assert late.verdict is Verdict.REPEATED
        assert saga.state is before
    assert saga.step("reserve").output == {"by": "the first"}


def test_a_late_success_of_a_step_given_up_on_is_undone_in_its_turn() -> None:
    saga = _given_up_by_failure()
    transition = saga.succeed("charge", {"payment": 7})
    assert transition.verdict is Verdict.APPLIED
    assert transition.commands == ()
    charge = saga.step("charge")
    assert (charge.status, charge.output) == (StepStatus.SUCCEEDED, {"payment": 7})
    assert charge.effect_revision == saga.state.revision
    # One undo at a time: the one that was under way is finished first.
    saga.undo_succeeds("reserve")
    assert saga.sent_names[-1] == "undo charge 1"
    assert saga.sent[-1].outputs["charge"] == {"payment": 7}
    assert saga.status == SagaStatus.COMPENSATING
    saga.undo_succeeds("charge")
    assert saga.status == SagaStatus.COMPENSATED
    assert len(saga.ends) == 1


def test_an_undo_that_is_sent_once_more_keeps_its_turn_before_the_late_one() -> None:
    saga = _given_up_by_failure()
    saga.succeed("charge")
    assert [in_short(command) for command in saga.lose_transport().commands] == ["undo reserve 1"]


def test_among_several_left_the_late_one_is_undone_first() -> None:
    saga = running("reserve", "pack", step("charge", retry=ONCE))
    saga.succeed("reserve")
    saga.succeed("pack")
    saga.fail("charge")
    saga.succeed("charge")
    for name in ("pack", "charge", "reserve"):
        saga.undo_succeeds(name)
    assert saga.sent_names[3:] == ["undo pack 1", "undo charge 1", "undo reserve 1"]
    assert saga.status == SagaStatus.COMPENSATED


def test_after_the_saga_had_ended_it_is_opened_again_and_undone() -> None:
    saga = _given_up_by_failure()
    saga.undo_succeeds("reserve")
    assert saga.status == SagaStatus.COMPENSATED
    ended_at_ms = saga.state.ended_at_ms
    assert ended_at_ms is not None
    saga.now_ms += 5_000
    transition = saga.succeed("charge", {"payment": 7})
    assert saga.status == SagaStatus.COMPENSATING
    assert saga.state.ended_at_ms is None
    assert transition.ended is None
    assert saga.sent_names[-1] == "undo charge 1"
    assert saga.state.wake_at_ms == saga.step("charge").due_at_ms
    saga.now_ms += 10
    assert saga.undo_succeeds("charge").ended == saga.ends[1]
    assert saga.status == SagaStatus.COMPENSATED
    assert saga.ends[1].at_ms == ended_at_ms + 5_010
    assert [(ended.status, ended.revision) for ended in saga.ends] == [
        (SagaStatus.COMPENSATED, 4),
        (SagaStatus.COMPENSATED, 6),
    ]


def test_a_late_success_without_compensation_is_only_recorded() -> None:
    saga = running("reserve", step("notify", retry=ONCE, undoable=False))
    saga.succeed("reserve")
    saga.fail("notify")
    saga.undo_succeeds("reserve")
    ended_at_ms = saga.state.ended_at_ms
    saga.now_ms += 5_000
    transition = saga.succeed("notify", {"mail": 1})
    assert transition.verdict is Verdict.APPLIED
    assert (transition.commands, transition.ended) == ((), None)
    assert saga.step("notify").status is StepStatus.SUCCEEDED
    assert (saga.status, saga.state.ended_at_ms) == (SagaStatus.COMPENSATED, ended_at_ms)
    assert len(saga.ends) == 1
    assert [line.revision for line in saga.history] == [1, 2, 3, 4, 5]


def test_while_the_saga_is_stuck_it_is_recorded_and_nothing_is_sent() -> None:
    saga = _given_up_by_failure()
    saga.undo_rejected("reserve")
    transition = saga.succeed("charge")
    assert transition.commands == ()
    assert saga.status == SagaStatus.STUCK
    assert saga.step("charge").status is StepStatus.SUCCEEDED
    # The debt is paid once the saga can go on.
    saga.undo_succeeds("reserve")
    assert saga.sent_names[-1] == "undo charge 1"
    saga.undo_succeeds("charge")
    assert saga.status == SagaStatus.COMPENSATED


def test_an_unknown_step_that_succeeded_keeps_its_place_in_the_order() -> None:
    saga = running("reserve", step("notify", retry=ONCE, undoable=False))
    saga.succeed("reserve")
    saga.timer_when_due()
    order = saga.step("notify").effect_revision
    assert order == saga.state.revision
    saga.succeed("notify")
    notify = saga.step("notify")
    assert (notify.status, notify.effect_revision, bool(notify.unanswered)) == (StepStatus.SUCCEEDED, order, False)


def _succeeded_while_undoing() -> SagaInMemory:
    saga = running(step("charge", retry=ONCE))
    saga.timer_when_due()
    assert saga.step("charge").status is StepStatus.COMPENSATING
    noted = saga.succeed("charge", {"payment": 7})
    assert (noted.verdict, noted.commands) == (Verdict.APPLIED, ())
    return saga


def test_a_success_after_the_undo_is_undone_though_its_attempt_failed() -> None:
    """An attempt that is delivered twice may be carried out twice: one run fails, the other has its effect."""
    saga = running(step("charge", on_unknown=OnUnknown.COMPENSATE))
    saga.timer_when_due()
    saga.fail("charge", attempt=1)
    saga.undo_succeeds("charge")
    assert saga.status == SagaStatus.COMPENSATED
    again = saga.succeed("charge", {"payment": 7}, attempt=1)
    assert (again.verdict, saga.sent_names[-1]) == (Verdict.APPLIED, "undo charge 2")
    saga.undo_succeeds("charge")
    assert saga.succeed("charge", {"payment": 7}, attempt=1).verdict is Verdict.REPEATED


def test_a_step_given_up_on_is_not_retried_once_its_doubt_is_settled() -> None:
    saga = running("reserve", step("charge", kind=Kind.PIVOT))
    saga.succeed("reserve")
    saga.timer_when_due()
    saga.timer_when_due()
    saga.reject("charge", attempt=2)
    assert (saga.status, saga.statuses("charge")) == (SagaStatus.STUCK, ["unknown"])
    settled = saga.fail("charge", attempt=1)
    assert (in_short(only_command(settled)), saga.status) == ("undo reserve 1", SagaStatus.COMPENSATING)
    before = saga.state
    assert saga.reject("charge", attempt=2).verdict is Verdict.REPEATED
    assert saga.state is before


def test_the_undo_after_a_late_success_has_a_budget_of_its_own() -> None:
    saga = _succeeded_while_undoing()
    saga.undo_fails("charge")
    for _ in range(RETRY.attempts_max):
        saga.timer_when_due()
        assert saga.status == SagaStatus.COMPENSATING
        saga.undo_fails("charge")
    assert saga.status == SagaStatus.STUCK


def test_a_late_success_keeps_an_earlier_undo_from_counting() -> None:
    saga = running(step("charge", retry=ONCE))
    saga.timer_when_due()
    saga.undo_rejected("charge")
    saga.succeed("charge", {"payment": 7})
    assert saga.undo_succeeds("charge").verdict is Verdict.REPEATED
    saga.operate(Operation.RETRY)
    saga.undo_succeeds("charge")
    assert saga.status == SagaStatus.COMPENSATED


def test_a_paused_saga_undoes_once_more_when_it_is_resumed() -> None:
    saga = _succeeded_while_undoing()
    saga.operate(Operation.PAUSE)
    saga.undo_succeeds("charge")
    assert saga.timer().commands == ()
    saga.operate(Operation.RESUME)
    assert in_short(only_command(saga.timer())) == "undo charge 2"


def _with_one_branch_held() -> SagaInMemory:
    """The hold gives `left` a place in the order of undoing, before that of `right`."""
    left = step("left", after=(), on_unknown=OnUnknown.HOLD, timeout_ms=1_000)
    saga = running(left, step("right", after=()), step("join", after=("left", "right")))
    saga.now_ms += 1_000
    saga.timer()
    saga.succeed("right")
    return saga


def test_after_a_late_failure_effects_are_undone_in_their_order() -> None:
    saga = _with_one_branch_held()
    saga.fail("left", attempt=1)
    saga.timer_when_due()
    saga.succeed("left")
    saga.reject("join")
    assert saga.sent_names[-1] == "undo left 1"


def test_after_a_requested_retry_effects_are_undone_in_their_order() -> None:
    saga = _with_one_branch_held()
    saga.operate(Operation.RETRY, "left")
    saga.succeed("left")
    saga.reject("join")
    assert saga.sent_names[-1] == "undo left 1"


def test_a_success_during_the_undo_is_undone_once_more() -> None:
    """The undo that is under way was sent before, and its worker may have found nothing to undo."""
    saga = _succeeded_while_undoing()
    charge = saga.step("charge")
    assert (charge.status, charge.output, bool(charge.unanswered)) == (StepStatus.COMPENSATING, {"payment": 7}, False)
    before = saga.state
    assert saga.succeed("charge", {"payment": 7}).verdict is Verdict.REPEATED
    assert saga.state is before
    saga.undo_succeeds("charge")
    assert saga.status == SagaStatus.COMPENSATING
    again = only_command(saga.timer())
    assert (in_short(again), again.outputs) == ("undo charge 2", {"charge": {"payment": 7}})
    assert saga.undo_succeeds("charge", attempt=1).verdict is Verdict.REPEATED, "the one before decides nothing"
    saga.undo_succeeds("charge")
    assert saga.status == SagaStatus.COMPENSATED
    before = saga.state
    assert saga.succeed("charge", {"payment": 7}).verdict is Verdict.REPEATED
    assert saga.state is before


def test_a_late_rejection_settles_that_an_unknown_step_did_not_happen() -> None:
    saga = running("reserve", step("notify", retry=ONCE, undoable=False))
    saga.succeed("reserve")
    saga.timer_when_due()
    assert saga.step("notify").status is StepStatus.UNKNOWN
    assert saga.reject("notify").verdict is Verdict.APPLIED
    assert (saga.step("notify").status, bool(saga.step("notify").unanswered)) == (StepStatus.FAILED, False)
    before = saga.state
    assert saga.reject("notify").verdict is Verdict.REPEATED
    assert saga.state is before
