"""Copies of sagas that this replica has just written, so that their next reply needs no read.

A copy is right as long as no other replica has moved the saga on. Nothing wrong is ever written from an old copy, for
the commit checks the revision; but every old copy costs its batch a second try. So after a conflict the copies are not
trusted for a while: with several replicas at work, reading first is cheaper.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import TypeGuard

from saga_service.core.events import BusinessKey, Event, OperationRequested, Signalled, Started
from saga_service.core.ids import SagaId
from saga_service.core.state import SagaState
from saga_service.core.vocabulary import ENDED
from saga_service.engine.decode import Received
from saga_service.engine.deferral import DeferralPolicy
from saga_service.engine.ports import KeyedSaga, Store

DISTRUST_MS = 5_000


class SagaCache:
    """At most `sagas_max` copies, the least recently used going first."""

    def __init__(self, sagas_max: int) -> None:
        self._sagas_max = sagas_max
        self._copies: OrderedDict[SagaId, SagaState] = OrderedDict()
        self._trusted_from_ms = 0

    def find(self, saga_ids: Iterable[SagaId], now_ms: int) -> dict[SagaId, SagaState]:
        """The copies there are, or none while they are not trusted."""
        if now_ms < self._trusted_from_ms:
            return {}
        copies = self._copies
        return {saga_id: copies[saga_id] for saga_id in saga_ids if saga_id in copies}

    def keep(self, states: Iterable[SagaState]) -> None:
        """These were committed just now. An ended saga is let go: hardly anything more is heard of it."""
        for state in states:
            self._copies.pop(state.id, None)
            if state.status not in ENDED:
                self._copies[state.id] = state
        while len(self._copies) > self._sagas_max:
            self._copies.popitem(last=False)

    def compare(self, states: Iterable[SagaState], now_ms: int) -> None:
        """Hold the copies against what was read just now. An old one means that another replica works on our sagas:
        none of them is trusted for a while."""
        copies = self._copies
        if any(state.id in copies and copies[state.id].revision < state.revision for state in states):
            self._trusted_from_ms = now_ms + DISTRUST_MS
            copies.clear()


# MERGED from engine.reading:
# The sagas of one batch: from the cache, and from Postgres where the cache has none or may be wrong.


@dataclass(slots=True)
class Sagas:
    """The batch's sagas as far as they are known, and those of them that Postgres was asked for just now."""

    states: dict[SagaId, SagaState]
    certain: set[SagaId] = field(default_factory=set)


class SagaReader:
    """All raise StoreUnavailable."""

    def __init__(self, store: Store, cache: SagaCache, deferral: DeferralPolicy, now_ms: Callable[[], int]) -> None:
        self._store = store
        self._cache = cache
        self._deferral = deferral
        self._now_ms = now_ms

    async def read(self, received: list[Received], trust_copies: bool) -> Sagas:
        touched = {item.event.saga_id for item in received}
        if not trust_copies:
            sagas = Sagas({})
            await self.read_into(sagas, touched)
            return sagas
        sagas = Sagas(self._cache.find(touched, self._now_ms()))
        # A saga that is only being started is taken to be new; if it is not, the commit finds out.
        continued = {item.event.saga_id for item in received if not isinstance(item.event, Started)}
        await self.read_into(sagas, continued - sagas.states.keys())
        return sagas

    async def find_by_key(self, received: list[Received], sagas: Sagas) -> list[Received]:
        """The id that follows from a key is that of a saga which was started by it. Another saga may have the key as
        well, a child; it is asked for where there is none of the first kind."""
        unknown = [item for item in received if _is_unknown(item.event, sagas)]
        if not unknown:
            return received
        started = {item.event.saga_id for item in received if isinstance(item.event, Started)}
        keys = {key for item in unknown if item.event.saga_id not in started and (key := _key(item.event)) is not None}
        if not keys:
            return received
        found = _Found(await self._store.ids_with_key(sorted(keys)))
        told = [self._by_id(item, found) if _is_unknown(item.event, sagas) else item for item in received]
        ids = {item.event.saga_id for item in told} - {item.event.saga_id for item in received}
        await self.read_into(sagas, ids - sagas.states.keys())
        return told

    def _by_id(self, item: Received, found: _Found) -> Received:
        event, key = item.event, _key(item.event)
        assert isinstance(event, Signalled | OperationRequested), "only these are said to a saga by its key"
        if key is None:
            return item
        # While it may be early, it may well be meant for a saga that is only being started.
        may_be_early = item.entry is not None and self._deferral.may_wait(item.entry, self._now_ms())
        saga_id = found.only(key, has_ended=False) or (None if may_be_early else found.only(key, has_ended=True))
        return item if saga_id is None else Received(replace(event, saga_id=saga_id), item.entry)

    async def read_into(self, sagas: Sagas, saga_ids: set[SagaId]) -> None:
        if not saga_ids:
            return
        for saga_id in saga_ids:
            sagas.states.pop(saga_id, None)
        loaded = await self._store.load(sorted(saga_ids))
        self._cache.compare(loaded, self._now_ms())
        sagas.states.update((state.id, state) for state in loaded)
        sagas.certain |= saga_ids


def _is_unknown(event: Event, sagas: Sagas) -> TypeGuard[Signalled | OperationRequested]:
    """Whether something is said to a saga that is not there."""
    return isinstance(event, Signalled | OperationRequested) and event.saga_id not in sagas.states


def _key(event: Event) -> BusinessKey | None:
    return event.by_key if isinstance(event, Signalled | OperationRequested) else None


class _Found:
    """Sagas by their keys."""

    def __init__(self, sagas: list[KeyedSaga]) -> None:
        self._sagas = sagas

    def only(self, key: BusinessKey, *, has_ended: bool) -> SagaId | None:
        """The one of its kind with this key; None where there is none, or more than one."""
        ids = [each.saga_id for each in self._sagas if each.key == key and each.has_ended is has_ended]
        return ids[0] if len(ids) == 1 else None
