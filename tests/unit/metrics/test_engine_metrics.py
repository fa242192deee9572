"""What a batch counts for: sagas and their steps by what became of them, each once, and for how long."""

from __future__ import annotations

from dataclasses import replace

import pytest

from saga_service.core.definition import Definition
from saga_service.core.events import Event, OperationRequested, Replied, TimerDue, TransportLost
from saga_service.core.ids import CommandName, SagaId
from saga_service.core.state import Fault, SagaState
from saga_service.core.transitions import Stimulus
from saga_service.core.vocabulary import ACTION, COMPENSATION, Direction, Operation, Outcome
from saga_service.engine.decode import Received
from saga_service.engine.failures import Failure, Remedy
from saga_service.engine.fold import fold
from saga_service.engine.observer import CommittedBatch
from saga_service.metrics import declarations
from saga_service.metrics.declarations import Metric
from saga_service.metrics.engine_metrics import OUTCOMES, EngineMetrics, LaneMetrics
from saga_service.metrics.measurements import Labels, Measurements
from saga_service.wire.dead_letters import dead_letter
from saga_service.wire.entries import Entry, RequestRow
from tests.support.builders import ONCE, SAGA_ID, START_MS, definition, started, step

ORDER = definition(step("reserve"), step("charge", compensation_retry=ONCE))
TIMED_OUT = Fault("timeout", "too late")


class Counted:
    """A saga in memory whose every event is a batch of its own, and counted."""

    def __init__(self, defined: Definition = ORDER) -> None:
        self.measurements = Measurements()
        self.metrics = EngineMetrics(self.measurements)
        self.definition = defined
        self.states: dict[SagaId, SagaState] = {}
        self.now_ms = START_MS

    def happen(self, *events: Event, after_ms: int = 0) -> None:
        self.now_ms += after_ms
        received = [Received(event, None) for event in events]
        folded = fold(received, self.states, lambda *_: self.definition, self.now_ms)
        self.states |= folded.states
        self.metrics.committed(CommittedBatch(len(events), 0.004, folded, folded.dead_letters, 0))

    def answer(
        self, name: str, outcome: Outcome, direction: Direction = ACTION, attempt: int = 1, after_ms: int = 0
    ) -> None:
        fault = None if outcome is Outcome.SUCCEEDED else TIMED_OUT
        self.happen(Replied(CommandName(SAGA_ID, name, direction, attempt), outcome, {}, fault), after_ms=after_ms)

    def counted(self, metric: Metric) -> dict[Labels, float]:
        return {labels: value for labels, value in self.measurements.counter(metric).items() if value}

    def durations(self, metric: Metric) -> dict[Labels, tuple[int, object]]:
        series = self.measurements.histogram(metric).series
        return {labels: (sum(each.counts), pytest.approx(each.sum)) for labels, each in series.items()}


def test_a_saga_that_completes_counts_as_one_start_one_end_and_each_of_its_steps() -> None:
    saga = Counted()
    saga.happen(started(ORDER))
    saga.answer("reserve", Outcome.SUCCEEDED, after_ms=300)
    saga.answer("charge", Outcome.SUCCEEDED, after_ms=700)

    assert saga.counted(declarations.STARTS) == {("order",): 1}
    assert saga.counted(declarations.ENDS) == {("order", "completed"): 1}
    assert saga.counted(declarations.STEPS) == {
        ("order", "reserve", "action", "succeeded"): 1,
        ("order", "charge", "action", "succeeded"): 1,
    }
    assert saga.durations(declarations.STEP_DURATION) == {
        ("order", "reserve", "action"): (1, 0.3),
        ("order", "charge", "action"): (1, 0.7),
    }
    assert saga.durations(declarations.DURATION) == {("order", "completed"): (1, 1.0)}
    assert saga.counted(declarations.BATCHES) == {(): 3}
    assert saga.durations(declarations.COMMIT) == {(): (3, 0.012)}


def test_an_entry_that_comes_twice_counts_once() -> None:
    saga = Counted()
    saga.happen(started(ORDER), started(ORDER))
    for _ in range(2):
        saga.answer("reserve", Outcome.SUCCEEDED)
    assert saga.counted(declarations.STARTS) == {("order",): 1}
    assert saga.counted(declarations.STEPS) == {("order", "reserve", "action", "succeeded"): 1}


def test_an_undo_is_measured_from_its_first_command_over_all_attempts() -> None:
    saga = Counted(definition(step("reserve"), step("charge", retry=ONCE)))
    saga.happen(started(saga.definition))
    saga.answer("reserve", Outcome.SUCCEEDED)
    saga.answer("charge", Outcome.REJECTED, after_ms=5_000)
    saga.answer("reserve", Outcome.FAILED, COMPENSATION, after_ms=1_000)
    saga.happen(TimerDue(SAGA_ID), after_ms=500)
    saga.answer("reserve", Outcome.SUCCEEDED, COMPENSATION, attempt=2, after_ms=300)

    assert saga.counted(declarations.ENDS) == {("order", "compensated"): 1}
    assert saga.counted(declarations.STEPS)["order", "reserve", "compensation", "failed"] == 1
    assert saga.counted(declarations.RETRIES) == {("order", "reserve", "compensation"): 1}
    assert saga.durations(declarations.STEP_DURATION)["order", "reserve", "compensation"] == (1, 1.8)


def test_a_saga_that_gets_stuck_counts_once_for_each_time() -> None:
    saga = Counted(definition(step("reserve", compensation_retry=ONCE), step("charge", retry=ONCE)))
    saga.happen(started(saga.definition))
    saga.answer("reserve", Outcome.SUCCEEDED)
    saga.answer("charge", Outcome.REJECTED)
    saga.answer("reserve", Outcome.REJECTED, COMPENSATION)
    assert saga.counted(declarations.STUCKS) == {("order",): 1}
    saga.happen(OperationRequested(saga_id=SAGA_ID, operation=Operation.RETRY, actor="ann"))
    saga.answer("reserve", Outcome.REJECTED, COMPENSATION, attempt=2)
    assert saga.counted(declarations.STUCKS) == {("order",): 2}
    assert saga.counted(declarations.ENDS) == {}


def test_what_is_sent_again_after_a_loss_is_no_retry() -> None:
    saga = Counted()
    saga.happen(started(ORDER))
    saga.happen(TransportLost(SAGA_ID))
    assert saga.counted(declarations.RESENDS) == {("order",): 1}
    assert saga.counted(declarations.RETRIES) == {}


def test_failed_attempts_at_a_commit_count_by_what_failed_and_what_was_done() -> None:
    saga = Counted()
    saga.metrics.failed(Failure.LOST_RACE, Remedy.READ_AFRESH)
    saga.metrics.failed(Failure.LOST_RACE, Remedy.READ_AFRESH)
    saga.metrics.failed(Failure.OUTAGE, Remedy.WAIT)
    assert saga.counted(declarations.BATCH_FAILURES) == {("lost_race", "read_afresh"): 2, ("outage", "wait"): 1}


def test_dead_letters_count_by_their_stream_and_deferrals_and_refusals_at_all() -> None:
    saga = Counted()
    folded = fold([Received(TransportLost(SAGA_ID), None)], {}, lambda *_: None, START_MS)
    letters = [dead_letter(Entry("saga:events", "1-0", {}), "broken", 1)]
    saga.metrics.committed(CommittedBatch(1, 0.0, folded, letters, 2))
    assert saga.counted(declarations.DEAD_LETTERS) == {("saga:events",): 1}
    assert saga.counted(declarations.DEFERRALS) == {(): 2}
    assert saga.counted(declarations.REFUSALS) == {(): 1}
    assert saga.durations(declarations.COMMIT) == {}, "there was nothing to write"


def test_two_versions_of_a_definition_may_have_a_step_at_different_places() -> None:
    saga = Counted()
    saga.happen(started(ORDER))
    saga.answer("reserve", Outcome.SUCCEEDED, after_ms=100)
    saga.definition, saga.states = replace(definition(step("check"), step("reserve")), version="v2"), {}
    saga.happen(started(saga.definition))
    saga.answer("check", Outcome.SUCCEEDED, after_ms=1_000)
    saga.answer("reserve", Outcome.SUCCEEDED, after_ms=200)
    assert saga.durations(declarations.STEP_DURATION)["order", "reserve", "action"] == (2, 0.3)


def test_every_event_of_a_step_has_an_outcome_unless_an_attempt_goes_on() -> None:
    without = {stimulus for stimulus in Stimulus if stimulus.value not in OUTCOMES}
    assert {stimulus.value.rpartition("_")[2] for stimulus in without} == {"progressed", "due", "requested"}
    assert OUTCOMES["action_timed_out"] == ("action", "timed_out")
    assert OUTCOMES["probe_denied"] == ("probe", "denied")
    assert OUTCOMES["signal_received"] == ("action", "signal_received")
    assert OUTCOMES["resolved_compensated"] == ("compensation", "resolved_compensated")


def test_an_entry_waits_from_its_xadd_until_a_lane_takes_it_and_one_from_postgres_does_not_count() -> None:
    measurements = Measurements()
    lane = LaneMetrics(measurements, lambda: 10_500)
    replies = [Entry("saga:replies", "10000-0", {}), Entry("saga:replies", "10400-3", {})]
    by_sql = Entry("saga.requests", "1-0", {}, request=RequestRow(1, 0, 1))
    lane.taken([*replies, Entry("saga:events", "10499-0", {}), by_sql])
    lane.published(3, 0.002)

    waits = measurements.histogram(declarations.ENTRY_WAIT).series
    assert {labels: (sum(each.counts), round(each.sum, 6)) for labels, each in waits.items()} == {
        ("saga:replies",): (2, 0.6),
        ("saga:events",): (1, 0.001),
    }
    assert measurements.counter(declarations.MESSAGES) == {(): 3}
