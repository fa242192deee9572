"""The deadline of the whole saga: it turns the saga round, once."""

from __future__ import annotations

from saga_service.core.state import Fault
from saga_service.core.vocabulary import Course, Kind, OnUnknown, Operation, SagaStatus, Verdict
from tests.support.builders import ONCE, START_MS, SagaInMemory, child, nap, running, step

DEADLINE_MS = 5_000
PAST = Fault("deadline", "the saga was not done by its deadline")


def _late(*steps: str) -> SagaInMemory:
    saga = running(*steps, deadline_ms=DEADLINE_MS)
    saga.succeed(steps[0])
    saga.now_ms = START_MS + DEADLINE_MS
    return saga


def test_a_saga_that_is_not_done_by_its_deadline_compensates() -> None:
    saga = _late("reserve", "charge")
    assert saga.state.wake_at_ms == START_MS + DEADLINE_MS
    saga.timer()
    assert (saga.history[-1].event, saga.history[-1].fault, saga.state.fault) == ("deadline_passed", PAST, PAST)
    assert (saga.status, saga.statuses("charge")) == (SagaStatus.COMPENSATING, ["dispatched"])
    saga.succeed("charge")
    assert saga.sent_names[2:] == ["undo charge 1"]


def test_a_millisecond_before_its_deadline_it_goes_on() -> None:
    saga = _late("reserve", "charge")
    saga.now_ms -= 1
    assert saga.timer().verdict is Verdict.REPEATED
    assert saga.status == SagaStatus.RUNNING


def test_the_deadline_counts_once() -> None:
    saga = _late("reserve", "charge")
    saga.timer()
    assert saga.state.deadline_ms is None
    before = saga.state
    saga.now_ms += 1
    assert not saga.timer().history
    assert saga.state.revision == before.revision


def test_an_ended_saga_does_not_heed_its_deadline() -> None:
    saga = _late("reserve")
    assert (saga.status, saga.state.wake_at_ms) == (SagaStatus.COMPLETED, None)
    before = saga.state
    assert saga.timer().verdict is Verdict.REPEATED
    assert saga.state is before


def test_a_compensating_saga_does_not_heed_its_deadline() -> None:
    saga = _late("reserve", "charge")
    saga.now_ms -= 1
    saga.reject("charge")
    before = saga.state
    saga.now_ms += 1
    saga.timer()
    assert saga.state._replace(wake_at_ms=None) == before._replace(wake_at_ms=None)


def test_the_deadline_compensates_a_stuck_saga() -> None:
    saga = running("reserve", step("charge", on_unknown=OnUnknown.HOLD, timeout_ms=10), deadline_ms=DEADLINE_MS)
    saga.succeed("reserve")
    saga.now_ms += 10
    saga.timer()
    assert saga.status == SagaStatus.STUCK
    saga.now_ms = START_MS + DEADLINE_MS
    saga.timer()
    assert (saga.status, saga.sent_names[-1]) == (SagaStatus.COMPENSATING, "undo charge 1")


def test_the_deadline_compensates_a_step_parked_before_the_pivot() -> None:
    saga = running("reserve", step("ship", kind=Kind.RETRIABLE, retry=ONCE), deadline_ms=DEADLINE_MS)
    saga.succeed("reserve")
    saga.reject("ship")
    saga.now_ms = START_MS + DEADLINE_MS
    saga.timer()
    assert (saga.status, saga.sent_names[-1], saga.state.fault) == (SagaStatus.COMPENSATING, "undo reserve 1", PAST)


def test_the_deadline_of_a_paused_saga_sends_nothing_until_it_is_resumed() -> None:
    saga = running("reserve", nap("rest", 60_000), deadline_ms=DEADLINE_MS)
    saga.succeed("reserve")
    saga.operate(Operation.PAUSE)
    saga.now_ms = START_MS + DEADLINE_MS
    saga.timer()
    assert (saga.status, saga.state.course, saga.sent_names) == (SagaStatus.PAUSED, Course.BACKWARD, ["reserve 1"])
    saga.operate(Operation.RESUME)
    assert saga.sent_names[-1] == "undo reserve 1"


def test_the_deadline_calls_off_a_child_saga() -> None:
    saga = running(child("deliver"), deadline_ms=DEADLINE_MS)
    saga.now_ms += DEADLINE_MS
    saga.timer()
    assert saga.asked_of_children == ["start deliver 1", "cancel deliver 1"]
    assert saga.history[-1].sent == (saga.requests[-1],)


def test_nothing_begins_after_the_deadline_however_late_its_timer_comes() -> None:
    saga = running("reserve", nap("rest", 20_000), step("charge", kind=Kind.PIVOT), deadline_ms=25_000)
    saga.succeed("reserve")
    saga.now_ms += 31_000
    saga.timer()
    assert (saga.sent_names, saga.status) == (["reserve 1", "undo reserve 1"], SagaStatus.COMPENSATING)


def test_what_is_due_at_the_very_deadline_is_done_first() -> None:
    saga = running("reserve", nap("rest", DEADLINE_MS), deadline_ms=DEADLINE_MS)
    saga.succeed("reserve")
    saga.now_ms += DEADLINE_MS
    saga.timer()
    assert saga.status == SagaStatus.COMPLETED
