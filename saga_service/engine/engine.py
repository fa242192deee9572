"""The one door: a batch of entries and events goes in, one commit is made of it, and what is to be published comes out.

    decode -> load -> fold -> commit -> (publish -> acknowledge, by the lane that called)

A crash between any two of these is harmless: before the commit nothing happened; after it the batch's messages are in
the outbox, and its entries, if delivered again, are repeats. `engine.failures` has the table of what is done where a
step fails.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import assert_never

from saga_service.base.clock import Backoff
from saga_service.engine.batch import BatchDecoder, Decoded, Item
from saga_service.engine.commit_log import log_commit, log_failure
from saga_service.engine.decode import Received
from saga_service.engine.deferral import DeferralPolicy, SlowSagas, asked_of, next_slow_attempt_ms
from saga_service.engine.failures import (
    REMEDIES,
    STATEMENT_FAILURES,
    Failure,
    Place,
    Remedy,
    RevisionConflict,
    StoreConflict,
    StoreUnavailable,
    dead_letter_reason,
    failure_of,
)
from saga_service.engine.fold import Folded, fold
from saga_service.engine.observer import CommittedBatch, EngineObserver, NoEngineObserver, attempt_to_tell
from saga_service.engine.outbox import Outgoing
from saga_service.engine.ports import Batch, Deferred, StartsBacklog, Store
from saga_service.engine.saga_loader import SagaLoader, Sagas
from saga_service.wire.dead_letters import DeadLetter
from saga_service.wire.entries import Entry, Message
from saga_service.wire.transport import TransportError


@dataclass(frozen=True, slots=True)
class Committed:
    """What is durable now and still has to leave: messages to add, then entries to acknowledge, by stream."""

    outbox_id: int | None
    messages: list[Message]
    handled: dict[str, list[str]]
    wake_at_ms: int | None
    """The earliest moment at which some saga of the batch has to be checked."""


@dataclass(slots=True)
class _Attempt:
    """A part of a batch that is tried as one."""

    items: Sequence[Item]
    place: Place
    decoded: Decoded | None = None
    trusts_copies: bool = True
    lost_races: int = 0
    is_suspected: bool = True
    """True once a statement of it has failed while Postgres took others. A batch as it came is not suspected yet."""
    reason: str = ""
    """The reason of the dead letter."""
    due_at_ms: int = 0
    """When a deferred item is tried again."""
    outages: Backoff = field(default_factory=Backoff)
    races: Backoff = field(default_factory=lambda: Backoff(first_s=0.005, most_s=1.0))


@dataclass(frozen=True, slots=True)
class _Written:
    """A commit, as this process remembers it."""

    committed: Committed
    folded: Folded
    dead_letters: list[DeadLetter]
    deferred: int
    commit_s: float


class Engine:
    """Takes batches to their commits. Several calls of `process` may be under way at once."""

    def __init__(
        self,
        store: Store,
        decoder: BatchDecoder,
        loader: SagaLoader,
        outgoing: Outgoing,
        *,
        deferral: DeferralPolicy,
        now_ms: Callable[[], int],
        starts: StartsBacklog | None = None,
        observer: EngineObserver | None = None,
    ) -> None:
        self._store = store
        self._decoder = decoder
        self._loader = loader
        self._outgoing = outgoing
        self._deferral = deferral
        self._now_ms = now_ms
        self._starts = starts
        self._observer = observer or NoEngineObserver()
        self._slow = SlowSagas()

    async def process(self, items: Sequence[Item]) -> AsyncGenerator[Committed, None]:
        """Take a batch all the way to its commit, however long Postgres is away.

        Yields one result, or several where the batch was taken apart, each as soon as it is durable. Raises
        StoreBroken.
        """
        attempts = self._attempts(items)
        while attempts:
            attempt = attempts.pop()
            try:
                written = await self._try(attempt)
            except Exception as error:  # noqa: BLE001 - whatever one item does to a batch, the others must go on
                attempts.extend(reversed(await self._remedy(attempt, error)))
                continue
            # Nothing from here on may fail the attempt: it is durable.
            self._remember(written, len(attempt.items))
            yield written.committed

    def _attempts(self, items: Sequence[Item]) -> list[_Attempt]:
        """The batch as one attempt, but for items of slow sagas: each is tried apart, and after the others."""
        if self._slow:
            self._slow.forget_old(self._now_ms())
        if not self._slow:
            return [_attempt_at(items, is_suspected=False)]
        apart: list[Item] = []
        others: list[Item] = []
        for item in items:
            saga_id = self._decoder.saga_of(item)
            (apart if saga_id is not None and saga_id in self._slow else others).append(item)
        whole = [_attempt_at(others, is_suspected=False)] if others else []
        return [*(_attempt_at([item]) for item in reversed(apart)), *whole]

    async def _try(self, attempt: _Attempt) -> _Written:
        decoded = attempt.decoded = attempt.decoded or self._decode(attempt)
        if not decoded.is_resolved:
            self._loader.definitions.add(await self._decoder.resolve(decoded))
        if self._slow:
            self._hold_back(decoded)
        folded = await self._load_and_fold(decoded.received, attempt.trusts_copies)
        return await self._commit(decoded, folded)

    def _decode(self, attempt: _Attempt) -> Decoded:
        match attempt.place:
            case Place.DEFERRAL | Place.DEFERRAL_OF_ROW:
                [entry] = attempt.items
                assert isinstance(entry, Entry), "a timer is left to its lease"
                return self._decoder.defer(entry, attempt.due_at_ms)
            case Place.DEAD_LETTER | Place.BARE_DEAD_LETTER:
                with_fields = attempt.place is Place.DEAD_LETTER
                return self._decoder.quarantine(attempt.items[0], attempt.reason, with_fields=with_fields)
            case Place.TOGETHER | Place.ALONE | Place.ALONE_AGAIN:
                return self._decoder.decode(attempt.items)
            case _:
                assert_never(attempt.place)

    def _hold_back(self, decoded: Decoded) -> None:
        """Defer untried what belongs to a slow saga whose next attempt has not come."""
        now_ms, in_order = self._now_ms(), decoded.in_order
        decoded.in_order = []
        for item in in_order:
            until_ms = self._slow.held_until_ms(item.event.saga_id, now_ms) if isinstance(item, Received) else None
            if until_ms is None or not isinstance(item, Received):
                decoded.in_order.append(item)
                continue
            if item.entry is not None:
                decoded.deferred.append(Deferred(item.entry, until_ms, asked_of(item.event)))

    async def _load_and_fold(self, received: list[Received], trust_copies: bool) -> Folded:
        """Fold the events; and once more where a copy that may be old let some event have no effect."""
        sagas = await self._loader.load(received, trust_copies)
        deferral = await self._patience(received)
        received = await self._loader.find_by_key(received, sagas, deferral)
        folded = await self._fold(received, sagas, deferral)
        doubtful = folded.without_effect - sagas.certain
        if not doubtful:
            return folded
        await self._loader.load_afresh(sagas, doubtful)
        return await self._fold(received, sagas, deferral)

    async def _fold(self, received: list[Received], sagas: Sagas, deferral: DeferralPolicy) -> Folded:
        await self._loader.definitions.load(sagas.versions())
        return fold(received, sagas.states, self._loader.definitions.find, self._now_ms(), deferral)

    async def _patience(self, received: list[Received]) -> DeferralPolicy:
        """The policy with what the backlog of starts adds to it. The backlog is looked at only where some entry has
        waited for as long as the clock allows."""
        deferral, now_ms = self._deferral, self._now_ms()
        waited = (item.entry for item in received if item.entry is not None and item.entry.request is not None)
        if self._starts is None or not any(deferral.is_overdue(entry, now_ms) for entry in waited):
            return deferral
        try:
            handled_ms = await self._starts.handled_up_to_ms()
        except TransportError:
            # Starts may lie unread wherever they are.
            handled_ms = 0
        return replace(deferral, starts_handled_up_to_ms=handled_ms)

    async def _commit(self, decoded: Decoded, folded: Folded) -> _Written:
        refused_requests = [refused.letter for refused in decoded.refused_requests]
        dead_letters = [*decoded.dead_letters, *refused_requests, *folded.dead_letters]
        messages = self._outgoing.messages(folded, dead_letters)
        batch = Batch(
            folded.writes,
            folded.history,
            [*decoded.reported, *dead_letters],
            messages,
            results=[
                *(refused.result for refused in decoded.refused_requests),
                *decoded.reported_requests,
                *folded.results,
            ],
            deferred=[*decoded.deferred, *folded.deferred],
            asked=folded.asked,
            parked=decoded.parked,
        )
        began_s, outbox_id, commit_s = time.perf_counter(), None, 0.0
        if not batch.is_empty():
            outbox_id = await self._write(batch)
            commit_s = time.perf_counter() - began_s
        wake_at_ms = min((write.state.wake_at_ms for write in folded.writes if write.state.wake_at_ms), default=None)
        committed = Committed(outbox_id, messages, decoded.handled, wake_at_ms)
        return _Written(committed, folded, dead_letters, len(batch.deferred), commit_s)

    async def _write(self, batch: Batch) -> int | None:
        rows = self._outgoing.rows
        batch.published = rows.take_published()
        try:
            return await self._store.commit(batch)
        except BaseException:
            rows.give_back(batch.published)
            raise

    def _remember(self, written: _Written, items: int) -> None:
        folded, letters = written.folded, written.dead_letters
        self._loader.keep(folded.states.values())
        if self._slow:
            self._slow.discard(folded.states)
        attempt_to_tell(lambda: log_commit(folded, letters), "a commit cannot be logged")
        batch = CommittedBatch(items, written.commit_s, folded, letters, written.deferred)
        attempt_to_tell(lambda: self._observer.committed(batch), "a commit cannot be counted")

    async def _remedy(self, attempt: _Attempt, error: Exception) -> list[_Attempt]:
        """Follow the table: the attempts that take the place of the failed one."""
        failure = await self._what_failed(attempt, error)
        remedy = REMEDIES[failure][attempt.place]
        log_failure(failure, remedy, attempt.items, error, attempt.lost_races)
        self._observer.failed(failure, remedy)
        match remedy:
            case Remedy.WAIT:
                await attempt.outages.wait()
                return [attempt]
            case Remedy.READ_AFRESH:
                # Nothing was written. Some copy was old, or some start a repeat: that explains the first lost race.
                if not attempt.trusts_copies:
                    await attempt.races.wait()
                attempt.trusts_copies = False
                return [attempt]
            case Remedy.WITHOUT_REQUESTS:
                # Another replica was quicker, or this one in a commit whose end it never heard of. An operation without
                # a step may mean another one by now. Requests that are still open come again after their lease.
                assert attempt.decoded is not None, "a request was in the batch"
                attempt.decoded = attempt.decoded.without_requests()
                return [attempt]
            case Remedy.PUT_BACK:
                # In the hands of another replica or lane, or deferred. What comes later is claimed again after it.
                assert attempt.decoded is not None, "a request was in the batch"
                attempt.decoded = attempt.decoded.put_back(self._now_ms())
                return [attempt]
            case Remedy.HALVE:
                middle = len(attempt.items) // 2
                return [_attempt_at(attempt.items[:middle]), _attempt_at(attempt.items[middle:])]
            case Remedy.TRY_AGAIN:
                return [_Attempt(attempt.items, Place.ALONE_AGAIN)]
            case Remedy.DEFER:
                return self._deferral_of(attempt.items[0], failure)
            case Remedy.LEAVE:
                return []
            case Remedy.QUARANTINE:
                return [_Attempt(attempt.items, Place.DEAD_LETTER, reason=dead_letter_reason(error))]
            case Remedy.DROP_FIELDS:
                reason = f"{attempt.reason}; its fields could not be kept: {error}"
                return [_Attempt(attempt.items, Place.BARE_DEAD_LETTER, reason=reason)]
            case Remedy.END:
                raise error
            case _:
                assert_never(remedy)

    async def _what_failed(self, attempt: _Attempt, error: Exception) -> Failure:
        attempt.lost_races += isinstance(error, RevisionConflict | StoreConflict)
        failure = failure_of(error, attempt.lost_races)
        if failure not in STATEMENT_FAILURES:
            return failure
        was_suspected, attempt.is_suspected = attempt.is_suspected, await self._probe()
        if not attempt.is_suspected:
            return Failure.OUTAGE
        return failure if was_suspected else Failure.SUSPECTED

    async def _probe(self) -> bool:
        """True if Postgres takes a commit that concerns no saga."""
        try:
            await self._store.probe()
        except StoreUnavailable:
            return False
        return True

    def _deferral_of(self, item: Item, failure: Failure) -> list[_Attempt]:
        entry = item if isinstance(item, Entry) else None
        saga_id, due_at_ms = self._decoder.saga_of(item), next_slow_attempt_ms(entry, self._now_ms())
        if failure in STATEMENT_FAILURES and saga_id is not None:
            # What else comes for the saga is due at the same moment: after this item, and not before it.
            self._slow.add(saga_id, due_at_ms)
        if entry is None:
            return []
        place = Place.DEFERRAL if entry.request is None else Place.DEFERRAL_OF_ROW
        return [_Attempt([item], place, due_at_ms=due_at_ms)]


def _attempt_at(items: Sequence[Item], *, is_suspected: bool = True) -> _Attempt:
    return _Attempt(items, Place.TOGETHER if len(items) > 1 else Place.ALONE, is_suspected=is_suspected)
