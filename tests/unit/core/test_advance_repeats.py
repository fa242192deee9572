"""What came before changes nothing, and what cannot be is refused with a reason."""

from __future__ import annotations

import pytest

from saga_service.core.advance import advance
from saga_service.core.effects import Transition
from saga_service.core.events import Event, Replied, TimerDue, TransportLost
from saga_service.core.ids import CommandName
from saga_service.core.state import SagaState
from saga_service.core.vocabulary import Direction, Outcome, StepStatus, Verdict
from tests.support.builders import SAGA_ID, START_MS, child, definition, in_short, running, started, step


def _reply(step: str, attempt: int = 1, direction: Direction = Direction.ACTION) -> Replied:
    return Replied(CommandName(SAGA_ID, step, direction, attempt), Outcome.SUCCEEDED, output={})


def _assert_unchanged(transition: Transition, before: SagaState | None, verdict: Verdict) -> None:
    assert transition == Transition(verdict, before, reason=transition.reason)
    assert transition.state is before
    assert transition.reason


def test_a_repeated_start_changes_nothing() -> None:
    saga = running("reserve")
    before = saga.state
    _assert_unchanged(saga.start(), before, Verdict.REPEATED)
    saga.succeed("reserve")
    ended = saga.state
    _assert_unchanged(saga.start({"amount": 99}), ended, Verdict.REPEATED)


def test_a_start_under_the_id_of_a_saga_of_another_name_is_refused() -> None:
    saga = running("reserve")
    event = started(definition("flight", name="trip"))
    transition = advance(saga.definition, saga.state, event, START_MS)
    _assert_unchanged(transition, saga.state, Verdict.REFUSED)
    assert transition.reason == f"the saga {SAGA_ID} is there already; its name is 'order', not 'trip'"


def test_a_repeated_success_changes_nothing() -> None:
    saga = running("reserve", "charge")
    saga.succeed("reserve", {"place": "A4"})
    before = saga.state
    _assert_unchanged(saga.succeed("reserve", {"place": "B7"}), before, Verdict.REPEATED)


def test_a_repeated_failure_changes_nothing() -> None:
    saga = running("reserve")
    saga.fail("reserve")
    before = saga.state
    saga.now_ms += 100
    _assert_unchanged(saga.fail("reserve"), before, Verdict.REPEATED)


def test_a_repeated_rejection_changes_nothing() -> None:
    saga = running("reserve", "charge")
    saga.succeed("reserve")
    saga.reject("charge")
    before = saga.state
    _assert_unchanged(saga.reject("charge"), before, Verdict.REPEATED)


def test_a_repeated_undo_changes_nothing() -> None:
    saga = running("reserve", "charge")
    saga.succeed("reserve")
    saga.reject("charge")
    saga.undo_succeeds("reserve")
    before = saga.state
    _assert_unchanged(saga.undo_succeeds("reserve"), before, Verdict.REPEATED)
    _assert_unchanged(saga.undo_fails("reserve"), before, Verdict.REPEATED)
    _assert_unchanged(saga.undo_rejected("reserve"), before, Verdict.REPEATED)


@pytest.mark.parametrize("outcome", [Outcome.FAILED, Outcome.REJECTED])
def test_the_late_failure_of_an_older_attempt_settles_its_doubt_once(outcome: Outcome) -> None:
    saga = running("reserve")
    saga.timer_when_due()
    saga.timer_when_due()
    assert saga.step("reserve").unanswered == (1,)
    command = CommandName(SAGA_ID, "reserve", Direction.ACTION, 1)
    assert saga.apply(Replied(command, outcome)).verdict is Verdict.APPLIED
    assert (saga.step("reserve").status, saga.step("reserve").unanswered) == (StepStatus.DISPATCHED, ())
    before = saga.state
    _assert_unchanged(saga.apply(Replied(command, outcome)), before, Verdict.REPEATED)


def test_a_sign_of_life_of_an_older_attempt_changes_nothing() -> None:
    saga = running("reserve")
    saga.timer_when_due()
    saga.timer_when_due()
    before = saga.state
    command = CommandName(SAGA_ID, "reserve", Direction.ACTION, 1)
    _assert_unchanged(saga.apply(Replied(command, Outcome.PROGRESS)), before, Verdict.REPEATED)


@pytest.mark.parametrize("outcome", [Outcome.FAILED, Outcome.REJECTED, Outcome.PROGRESS])
def test_a_repeated_failure_of_an_older_attempt_changes_nothing(outcome: Outcome) -> None:
    saga = running("reserve")
    saga.fail("reserve")
    saga.timer_when_due()
    before = saga.state
    command = CommandName(SAGA_ID, "reserve", Direction.ACTION, 1)
    _assert_unchanged(saga.apply(Replied(command, outcome)), before, Verdict.REPEATED)


@pytest.mark.parametrize("outcome", [Outcome.FAILED, Outcome.REJECTED, Outcome.PROGRESS])
def test_what_only_an_older_attempt_of_the_undo_failed_at_changes_nothing(outcome: Outcome) -> None:
    saga = running("reserve", "charge")
    saga.succeed("reserve")
    saga.reject("charge")
    saga.timer_when_due()
    saga.timer_when_due()
    before = saga.state
    command = CommandName(SAGA_ID, "reserve", Direction.COMPENSATION, 1)
    _assert_unchanged(saga.apply(Replied(command, outcome)), before, Verdict.REPEATED)


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (_reply("reserve", 2), "action 2 of step 'reserve' was never sent (1 attempts were)"),
        (_reply("charge", 1), "action 1 of step 'charge' was never sent (0 attempts were)"),
        (
            _reply("reserve", 1, Direction.COMPENSATION),
            "compensation 1 of step 'reserve' was never sent (0 attempts were)",
        ),
        (_reply("teleport", 1), "saga 'order' has no step 'teleport'"),
        (_reply("", 1), "saga 'order' has no step ''"),
    ],
)
def test_a_reply_to_a_command_that_was_never_sent_is_refused(event: Replied, reason: str) -> None:
    saga = running("reserve", "charge")
    before = saga.state
    transition = saga.apply(event)
    _assert_unchanged(transition, before, Verdict.REFUSED)
    assert transition.reason == reason


@pytest.mark.parametrize("event", [_reply("reserve"), TimerDue(SAGA_ID), TransportLost(SAGA_ID)])
def test_anything_but_a_start_is_refused_where_no_saga_is_known(event: Event) -> None:
    transition = advance(definition("reserve"), None, event, START_MS)
    _assert_unchanged(transition, None, Verdict.REFUSED)


@pytest.mark.parametrize(
    ("lost", "sent_again"),
    [
        (None, ["reserve 1", "deliver 1"]),
        ({"service"}, ["reserve 1"]),
        ({"saga.child"}, ["deliver 1"]),
        ({"service", "saga.child"}, ["reserve 1", "deliver 1"]),
        ({"another"}, []),
    ],
    ids=["everything", "the commands", "the child starts", "both by name", "another stream"],
)
def test_only_what_was_lost_is_sent_again(lost: set[str] | None, sent_again: list[str]) -> None:
    saga = running(step("reserve", after=()), child("deliver", after=()))
    transition = saga.apply(TransportLost(SAGA_ID, None if lost is None else frozenset(lost)))
    assert [in_short(sent) for sent in transition.commands] == sent_again
    assert transition.verdict is (Verdict.APPLIED if sent_again else Verdict.REPEATED)


def test_the_same_event_on_the_same_state_gives_the_same_answer() -> None:
    defined = definition("reserve", "charge")
    first = advance(defined, None, started(defined), START_MS)
    assert first == advance(defined, None, started(defined), START_MS)
    assert advance(defined, first.state, _reply("reserve"), START_MS) == advance(
        defined, first.state, _reply("reserve"), START_MS
    )
