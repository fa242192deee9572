"""The sagas of one batch: from the cache, and from Postgres where the cache has none or may be wrong."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeGuard

from saga_service.core.events import Asked, BusinessKey, Event, Signalled, Started
from saga_service.core.ids import SagaId
from saga_service.core.state import SagaState
from saga_service.engine.cache import SagaCache
from saga_service.engine.decoding import Received
from saga_service.engine.ports import Store


@dataclass(slots=True)
class Sagas:
    """The batch's sagas as far as they are known, and those of them that Postgres was asked for just now."""

    states: dict[SagaId, SagaState]
    certain: set[SagaId] = field(default_factory=set)


class SagaReader:
    """All raise StoreUnavailable."""

    def __init__(self, store: Store, cache: SagaCache, now_ms: Callable[[], int]) -> None:
        self._store = store
        self._cache = cache
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
        unknown = [item.event for item in received if _is_unknown(item.event, sagas)]
        if not unknown:
            return received
        started = {item.event.saga_id for item in received if isinstance(item.event, Started)}
        keys = {event.by_key for event in unknown if event.by_key is not None and event.saga_id not in started}
        if not keys:
            return received
        found = await self._store.ids_with_key(sorted(keys))
        known = {key: ids[0] for key, ids in found.items() if len(ids) == 1}
        if known:
            await self.read_into(sagas, set(known.values()) - sagas.states.keys())
        return [_by_id(item, known) if _is_unknown(item.event, sagas) else item for item in received]

    async def read_into(self, sagas: Sagas, saga_ids: set[SagaId]) -> None:
        if not saga_ids:
            return
        for saga_id in saga_ids:
            sagas.states.pop(saga_id, None)
        loaded = await self._store.load(sorted(saga_ids))
        self._cache.compare(loaded, self._now_ms())
        sagas.states.update((state.id, state) for state in loaded)
        sagas.certain |= saga_ids


def _is_unknown(event: Event, sagas: Sagas) -> TypeGuard[Signalled | Asked]:
    """Whether something is said to a saga that is not there."""
    return isinstance(event, Signalled | Asked) and event.saga_id not in sagas.states


def _by_id(item: Received, known: Mapping[BusinessKey, SagaId]) -> Received:
    event = item.event
    assert isinstance(event, Signalled | Asked), "only these are said to a saga by its key"
    found = None if event.by_key is None else known.get(event.by_key)
    if found is None:
        return item
    return Received(replace(event, saga_id=found), item.entry)
