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
from saga_service.core.vocabulary import Verdict
from saga_service.engine.decode import Received
from saga_service.engine.deferral import NO_DEFERRAL, DeferralPolicy
from saga_service.engine.ports import Deferred, RequestResult, Write
from saga_service.wire.dead_letters import DeadLetter, dead_letter
from saga_service.wire.entries import Entry
from saga_service.wire.stream_names import REQUESTS, WANTS_RESULT

DefinitionOf = Callable[[str, str], Definition | None]


@dataclass(slots=True)
class Folded:
    """What a batch comes to."""

    states: dict[SagaId, SagaState] = field(default_factory=dict)
    """Every saga that changed, as it is after the batch."""
    writes: list[Write] = field(default_factory=list)
    history: list[HistoryEntry] = field(default_factory=list)
    commands: list[Sent] = field(default_factory=list)
    ended: list[Ended] = field(default_factory=list)
    replies: list[ParentReply] = field(default_factory=list)
    """What child sagas answer their parents."""
    dead_letters: list[DeadLetter] = field(default_factory=list)
    results: list[RequestResult] = field(default_factory=list)
    deferred: list[Deferred] = field(default_factory=list)
    """Entries that speak of sagas which nobody knows yet, and have not waited for long."""
    refusals: list[tuple[SagaId, str]] = field(default_factory=list)
    """Refused events of which no dead letter speaks, and why: a log line has to."""
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
    """Events in their order, each on the state that the one before it left.

    What is said to a saga may overtake its start, which another lane or another replica has in hand. While the patience
    lasts it is early; after that it is refused.
    """
    folded = Folded()
    current = dict(states)
    idle: set[SagaId] = set()
    for item in received:
        event = item.event
        state = current.get(event.saga_id)
        transition = _advance(state, event, definition_of, now_ms)
        if transition.reply is not None:
            folded.replies.append(transition.reply)
        entry = item.entry
        if transition.state is None and entry is not None and isinstance(event, Signalled | OperationRequested):
            idle.add(event.saga_id)
            if deferral.may_wait(entry, now_ms):
                folded.deferred.append(deferral.deferred(entry, now_ms))
                continue
        if entry is not None and entry.request is not None:
            folded.results.append(_answer(entry.request.number, event, transition))
        if transition.verdict is not Verdict.APPLIED:
            idle.add(event.saga_id)
            if transition.verdict is Verdict.REFUSED:
                _refuse(folded, item, transition.reason, now_ms)
            continue
        if transition.state is not state and transition.state is not None:
            current[event.saga_id] = folded.states[event.saga_id] = transition.state
        folded.history.extend(transition.history)
        folded.commands.extend(transition.commands)
        if transition.ended is not None:
            folded.ended.append(transition.ended)
    folded.writes = [Write(state, _revision(states.get(saga_id))) for saga_id, state in folded.states.items()]
    folded.without_effect = idle - folded.states.keys()
    return folded


def _answer(request_id: int, event: Event, transition: Transition) -> RequestResult:
    return RequestResult(request_id, transition.verdict.value, transition.reason, event.saga_id)


def _refuse(folded: Folded, item: Received, reason: str, now_ms: int) -> None:
    if item.entry is None or _is_answered_otherwise(item.event, item.entry):
        folded.refusals.append((item.event.saga_id, reason))
    else:
        folded.dead_letters.append(dead_letter(item.entry, reason, now_ms))


def _is_answered_otherwise(event: Event, entry: Entry) -> bool:
    """Who asks in person is told at once; a parent saga hears of its child's end."""
    if isinstance(event, OperationRequested) and event.answers is not None:
        return True
    return entry.stream == REQUESTS and (isinstance(event, OperationRequested) or WANTS_RESULT in entry.fields)


def _advance(state: SagaState | None, event: Event, definition_of: DefinitionOf, now_ms: int) -> Transition:
    if state is not None:
        saga, version = state.saga, state.version
    elif isinstance(event, Started):
        saga, version = event.saga, event.version
    else:
        return advance_unknown(event, now_ms)
    definition = definition_of(saga, version)
    if definition is None:
        reason = f"version {version} of the definition of saga '{saga}' is not known here"
        return Transition(Verdict.REFUSED, state, reason=reason)
    return advance(definition, state, event, now_ms)


def _revision(state: SagaState | None) -> int:
    return 0 if state is None else state.revision
