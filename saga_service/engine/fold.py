"""A batch's events folded over its sagas. Pure: it can be done again with fresher states, and is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from saga_service.core.advance import advance, advance_unknown
from saga_service.core.definition import Definition
from saga_service.core.effects import Ended, HistoryEntry, ParentReply, Sent, Transition
from saga_service.core.events import Event, OperationRequested, Signalled, Started
from saga_service.core.ids import SagaId
from saga_service.core.state import SagaState
from saga_service.core.vocabulary import SAGA_STUCK, Verdict
from saga_service.engine.decode import Received
from saga_service.engine.deferral import NO_DEFERRAL, DeferralPolicy, asked_of, deferred
from saga_service.engine.ports import Asked, Deferred, RequestResult, Write
from saga_service.wire.dead_letters import DeadLetter, NamedSaga, dead_letter
from saga_service.wire.entries import Entry
from saga_service.wire.saga_spec import UnreadableDocument
from saga_service.wire.transport import REQUESTS, WANTS_RESULT

DefinitionOf = Callable[[str, str], Definition | None]
"""Finds a definition by saga and version. May raise UnreadableDocument."""


@dataclass(slots=True)
class Folded:
    """All that a batch's events come to."""

    states: dict[SagaId, SagaState] = field(default_factory=dict)
    """Every saga that changed, as it is after the batch."""
    writes: list[Write] = field(default_factory=list)
    history: list[HistoryEntry] = field(default_factory=list)
    commands: list[Sent] = field(default_factory=list)
    ended: list[Ended] = field(default_factory=list)
    replies: list[ParentReply] = field(default_factory=list)
    """Replies of child sagas to their parents."""
    dead_letters: list[DeadLetter] = field(default_factory=list)
    results: list[RequestResult] = field(default_factory=list)
    deferred: list[Deferred] = field(default_factory=list)
    """Entries that cannot be handled yet, or not by this release."""
    asked: list[Asked] = field(default_factory=list)
    """Sagas of which entries of streams ask something: no earlier request of theirs may be open."""
    refusals: list[tuple[SagaId, str]] = field(default_factory=list)
    """Refused events that have no dead letter, each with its reason: a log line has to tell of them."""
    stuck: list[str] = field(default_factory=list)
    """The definition's name of each saga that got stuck."""
    without_effect: set[SagaId] = field(default_factory=set)
    """Sagas of which some event changed nothing and which nothing else changes. If the state was an old copy, that
    verdict may be wrong, and no revision check will catch it: the caller has to be sure of the state."""


def fold(
    received: Iterable[Received],
    states: Mapping[SagaId, SagaState],
    definition_of: DefinitionOf,
    now_ms: int,
    deferral: DeferralPolicy = NO_DEFERRAL,
) -> Folded:
    """Apply the events in their order, each to the state that the one before it left.

    An event for a saga that is not there is applied after the rest of the batch. Its start may still be in the hands
    of another lane or another replica. Its entry is deferred as long as `deferral` allows, and refused after that.
    """
    batch = _Fold(states, definition_of, now_ms, deferral)
    for item in received:
        batch.add(item)
    return batch.finish()


class _Fold:
    """The fold of one batch in the making."""

    def __init__(
        self, states: Mapping[SagaId, SagaState], definition_of: DefinitionOf, now_ms: int, deferral: DeferralPolicy
    ) -> None:
        self._before = states
        self._current = dict(states)
        self._definition_of = definition_of
        self._now_ms = now_ms
        self._deferral = deferral
        self._early: list[Received] = []
        self._idle: set[SagaId] = set()
        self._folded = Folded()

    def add(self, item: Received) -> None:
        """Apply the event. One that is addressed to a saga which is not there waits for the rest of the batch: its
        start may be among it."""
        if _is_addressed(item.event) and item.event.saga_id not in self._current:
            self._early.append(item)
        else:
            self._apply_event(item)

    def _apply_event(self, item: Received) -> None:
        try:
            transition = self._advance(item.event)
        except UnreadableDocument as error:
            self._leave_to_others(item, str(error))
            return
        if self._may_be_early(item, transition):
            self._idle.add(item.event.saga_id)
            self._defer(item.entry, item.event)
            return
        self._note_asked(item)
        if transition.reply is not None:
            self._folded.replies.append(transition.reply)
        if item.entry is not None and item.entry.request is not None:
            self._folded.results.append(_result(item.entry.request.number, item.event, transition))
        if transition.verdict is Verdict.APPLIED:
            self._apply(transition)
            if transition.reason:
                # What could not be used of it is kept for people.
                self._refuse(item, transition.reason)
            return
        self._idle.add(item.event.saga_id)
        if transition.verdict is Verdict.REFUSED:
            self._refuse(item, transition.reason)

    def _note_asked(self, item: Received) -> None:
        if item.entry is None or item.entry.request is not None:
            return
        asked = asked_of(item.event)
        if asked is not None:
            state = self._current.get(asked.saga_id)
            self._folded.asked.append(asked if state is None else Asked(asked.saga_id, state.key))

    def finish(self) -> Folded:
        for item in self._early:
            self._apply_event(item)
        folded = self._folded
        folded.writes = [Write(state, _revision(self._before.get(saga_id))) for saga_id, state in folded.states.items()]
        folded.without_effect = self._idle - folded.states.keys()
        return folded

    def _advance(self, event: Event) -> Transition:
        state = self._current.get(event.saga_id)
        if state is not None:
            saga, version = state.saga, state.version
        elif isinstance(event, Started):
            saga, version = event.saga, event.version
        else:
            return advance_unknown(event, self._now_ms)
        definition = self._definition_of(saga, version)
        if definition is None:
            reason = f"version {version} of the definition of saga '{saga}' is not known here"
            return Transition(Verdict.REFUSED, state, reason=reason)
        return advance(definition, state, event, self._now_ms)

    def _may_be_early(self, item: Received, transition: Transition) -> bool:
        """Whether the event may have overtaken the start of its saga."""
        if transition.state is not None or item.entry is None:
            return False
        return _is_addressed(item.event) and self._deferral.may_wait(item.entry, self._now_ms)

    def _leave_to_others(self, item: Received, reason: str) -> None:
        """A replica of another release may read the definition; this one changes nothing. A timer's lease runs out."""
        self._defer(item.entry, item.event)
        if item.entry is None:
            self._folded.refusals.append((item.event.saga_id, reason))

    def _defer(self, entry: Entry | None, event: Event) -> None:
        if entry is not None:
            self._folded.deferred.append(deferred(entry, self._now_ms, asked_of(event)))

    def _apply(self, transition: Transition) -> None:
        state, folded = transition.state, self._folded
        if state is not None and state is not (before := self._current.get(state.id)):
            self._current[state.id] = folded.states[state.id] = state
            if state.status is SAGA_STUCK and (before is None or before.status is not SAGA_STUCK):
                folded.stuck.append(state.saga)
        folded.history.extend(transition.history)
        folded.commands.extend(transition.commands)
        if transition.ended is not None:
            folded.ended.append(transition.ended)

    def _refuse(self, item: Received, reason: str) -> None:
        if item.entry is None or _has_another_answer(item.event, item.entry):
            self._folded.refusals.append((item.event.saga_id, reason))
        else:
            self._folded.dead_letters.append(dead_letter(item.entry, reason, self._now_ms, _named(item.event)))


def _named(event: Event) -> NamedSaga:
    match event:
        case Started():
            return NamedSaga(event.saga_id, event.key)
        case Signalled() | OperationRequested() if event.by_key is not None:
            return NamedSaga(event.saga_id, event.by_key.key)
        case _:
            return NamedSaga(event.saga_id)


def _is_addressed(event: Event) -> bool:
    return isinstance(event, Signalled | OperationRequested)


def _result(request_id: int, event: Event, transition: Transition) -> RequestResult:
    return RequestResult(request_id, transition.verdict.value, transition.reason, event.saga_id)


def _has_another_answer(event: Event, entry: Entry) -> bool:
    """Whether the sender hears of the refusal without a dead letter: a person who waits, a parent saga."""
    if isinstance(event, OperationRequested) and event.answers is not None:
        return True
    return entry.stream == REQUESTS and (isinstance(event, OperationRequested) or WANTS_RESULT in entry.fields)


def _revision(state: SagaState | None) -> int:
    return 0 if state is None else state.revision
