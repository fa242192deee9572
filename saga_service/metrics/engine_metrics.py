"""What the service's engine and lanes do, counted: once for each batch, when the batch is durable.

A crash between a commit and its counting loses these counts, and a repeat of an entry changes nothing and so counts
nothing: sagas and steps are never counted twice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from saga_service.core.effects import Command, HistoryEntry
from saga_service.core.ids import SagaId
from saga_service.core.state import SagaState
from saga_service.core.transitions import CONDITION_NOT_MET, DIRECTION_OF, STARTED, Stimulus
from saga_service.core.vocabulary import ACTION, COMPENSATION, Direction
from saga_service.engine.batch import Item
from saga_service.engine.failures import Failure, Remedy
from saga_service.engine.observer import CommittedBatch
from saga_service.metrics import declarations
from saga_service.metrics.measurements import Counter, Labels, Measurements, Series
from saga_service.wire.entries import Entry

_NO_OUTCOME = {
    Stimulus.ACTION_PROGRESSED,
    Stimulus.ACTION_RETRY_DUE,
    Stimulus.PROBE_RETRY_DUE,
    Stimulus.COMPENSATION_PROGRESSED,
    Stimulus.COMPENSATION_RETRY_DUE,
    Stimulus.RETRY_REQUESTED,
}
"""Events of steps after which an attempt is still under way, or begins."""


def _outcome(stimulus: Stimulus) -> tuple[str, str]:
    direction = DIRECTION_OF[stimulus]
    if direction is None:
        undone = stimulus is Stimulus.RESOLVED_COMPENSATED
        return (COMPENSATION if undone else ACTION).value, stimulus.value
    return direction.value, stimulus.value.removeprefix(f"{direction.value}_")


OUTCOMES: Mapping[str, tuple[str, str]] = {
    CONDITION_NOT_MET: (ACTION.value, CONDITION_NOT_MET),
    **{stimulus.value: _outcome(stimulus) for stimulus in Stimulus if stimulus not in _NO_OUTCOME},
}
"""The labels `direction` and `outcome` by the event in a saga's history."""

_DONE: Mapping[str, Direction] = {
    Stimulus.ACTION_SUCCEEDED.value: ACTION,
    Stimulus.PROBE_CONFIRMED.value: ACTION,
    Stimulus.SIGNAL_RECEIVED.value: ACTION,
    Stimulus.WAIT_ENDED.value: ACTION,
    Stimulus.RESOLVED_SUCCEEDED.value: ACTION,
    Stimulus.COMPENSATION_SUCCEEDED.value: COMPENSATION,
    Stimulus.RESOLVED_COMPENSATED.value: COMPENSATION,
}
"""Events by which a step, or its undo, is done."""


class _KnownEvent:
    """One kind of event at one step of one version: where it counts, and how often it was met in the present batch."""

    __slots__ = ("counter", "duration", "is_action", "labels", "met", "position")

    def __init__(self) -> None:
        self.counter: Counter | None = None
        """None for an event that counts nowhere."""
        self.labels: Labels = ()
        self.met = 0
        self.duration: Series | None = None
        """None for an event by which nothing is done."""
        self.position = 0
        """The place of the step in its saga: all sagas of one version have the same ones."""
        self.is_action = True


class EngineMetrics:
    """Fulfils `engine.observer.EngineObserver`."""

    def __init__(self, measurements: Measurements) -> None:
        counter, histogram = measurements.counter, measurements.histogram
        self._starts = counter(declarations.STARTS)
        self._ends = counter(declarations.ENDS)
        self._stucks = counter(declarations.STUCKS)
        self._duration = histogram(declarations.DURATION)
        self._steps = counter(declarations.STEPS)
        self._step_duration = histogram(declarations.STEP_DURATION)
        self._retries = counter(declarations.RETRIES)
        self._resends = counter(declarations.RESENDS)
        self._batches = counter(declarations.BATCHES)
        self._batch_entries = histogram(declarations.BATCH_ENTRIES)
        self._commit = histogram(declarations.COMMIT)
        self._failures = counter(declarations.BATCH_FAILURES)
        self._deferrals = counter(declarations.DEFERRALS)
        self._dead_letters = counter(declarations.DEAD_LETTERS)
        self._refusals = counter(declarations.REFUSALS)
        self._known: dict[tuple[str, str, str | None, str], _KnownEvent] = {}

    def failed(self, failure: Failure, remedy: Remedy) -> None:
        self._failures[failure.name.lower(), remedy.name.lower()] += 1

    def committed(self, batch: CommittedBatch) -> None:
        folded = batch.folded
        self._batches[()] += 1
        self._batch_entries.observe((), batch.items)
        if batch.commit_s:
            self._commit.observe((), batch.commit_s)
        self._count_history(folded.history, folded.states)
        self._count_sent(batch)
        for ended in folded.ended:
            labels = (ended.saga, ended.status._value_)
            self._ends[labels] += 1
            lifetime_ms = ended.at_ms - folded.states[ended.saga_id].created_at_ms
            self._duration.observe(labels, lifetime_ms / 1000)
        for saga in folded.stuck:
            self._stucks[(saga,)] += 1
        for letter in batch.dead_letters:
            self._dead_letters[(letter.stream,)] += 1
        self._deferrals[()] += batch.deferred
        self._refusals[()] += len(folded.refusals)

    def _count_history(self, history: Sequence[HistoryEntry], states: Mapping[SagaId, SagaState]) -> None:
        # Once for each event: it costs one look-up, and the counters are added to once, at the end of the batch.
        known, met = self._known, []
        for entry in history:
            state = states[entry.saga_id]
            event = known.get((state.saga, state.version, entry.step, entry.event))
            if event is None:
                event = self._new_event(entry, state)
            if not event.met:
                met.append(event)
            event.met += 1
            if event.duration is not None:
                step = state.steps[event.position]
                since_ms = step.started_at_ms if event.is_action else step.series_since_ms
                if since_ms is not None:
                    event.duration.add((entry.at_ms - since_ms) / 1000)
        for event in met:
            if event.counter is not None:
                event.counter[event.labels] += event.met
            event.met = 0

    def _new_event(self, entry: HistoryEntry, state: SagaState) -> _KnownEvent:
        event = _KnownEvent()
        if entry.event == STARTED:
            event.counter, event.labels = self._starts, (state.saga,)
        elif entry.step is not None and (outcome := OUTCOMES.get(entry.event)) is not None:
            event.counter, event.labels = self._steps, (state.saga, entry.step, *outcome)
            if (direction := _DONE.get(entry.event)) is not None:
                event.duration = self._step_duration.series_of((state.saga, entry.step, direction.value))
                event.is_action = direction is ACTION
                event.position = [step.name for step in state.steps].index(entry.step)
        self._known[state.saga, state.version, entry.step, entry.event] = event
        return event

    def _count_sent(self, batch: CommittedBatch) -> None:
        for sent in batch.folded.commands:
            if not sent.is_copy and sent.attempt == 1:
                continue
            sender = sent.saga_id if isinstance(sent, Command) else sent.command.saga_id
            saga = batch.folded.states[sender].saga
            if sent.is_copy:
                self._resends[(saga,)] += 1
            else:
                self._retries[(saga, sent.step, sent.direction._value_)] += 1


class LaneMetrics:
    """Fulfils `runtime.lane.LaneObserver`."""

    def __init__(self, measurements: Measurements, now_ms: Callable[[], int]) -> None:
        self._now_ms = now_ms
        self._waits = measurements.histogram(declarations.ENTRY_WAIT)
        self._publish = measurements.histogram(declarations.PUBLISH)
        self._messages = measurements.counter(declarations.MESSAGES)

    def taken(self, items: Sequence[Item]) -> None:
        # Once for each entry. Those of one stream come one behind the other.
        now_ms, stream, series = self._now_ms(), "", None
        for item in items:
            if not isinstance(item, Entry) or item.request is not None:
                continue
            if item.stream != stream or series is None:
                stream = item.stream
                series = self._waits.series_of((stream,))
            series.add((now_ms - int(item.id.partition("-")[0])) / 1000)

    def published(self, messages: int, seconds: float) -> None:
        self._messages[()] += messages
        self._publish.observe((), seconds)
