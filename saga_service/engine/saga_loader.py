"""The sagas of a batch and the definitions that drive them: from memory, or from Postgres where memory has none.

Copies of sagas that this replica has just written are kept, so that their next reply needs no read. A copy is right as
long as no other replica has moved the saga on. Nothing wrong is ever written from an old copy, for the commit checks
the revision; but every old copy costs its batch a second try. So after a conflict the copies are not trusted for a
while: with several replicas at work, reading first is cheaper.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeGuard

from saga_service.core.definition import Definition
from saga_service.core.events import BusinessKey, Event, OperationRequested, Signalled, Started
from saga_service.core.ids import SagaId
from saga_service.core.state import SagaState
from saga_service.core.vocabulary import ENDED
from saga_service.engine.decode import Received
from saga_service.engine.deferral import DeferralPolicy
from saga_service.engine.ports import KeyedSaga, Store
from saga_service.wire.saga_spec import UnreadableDocument

DISTRUST_MS = 5_000


class SagaCache:
    """At most `sagas_max` copies of sagas, the least recently used going first."""

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
        """Keep what was committed just now. An ended saga is dropped: hardly any event comes for one."""
        for state in states:
            self._copies.pop(state.id, None)
            if state.status not in ENDED:
                self._copies[state.id] = state
        while len(self._copies) > self._sagas_max:
            self._copies.popitem(last=False)

    def compare(self, states: Iterable[SagaState], now_ms: int) -> None:
        """Hold the copies against what was read just now.

        An old copy means that another replica works on our sagas: no copy is trusted for a while.
        """
        copies = self._copies
        if any(state.id in copies and copies[state.id].revision < state.revision for state in states):
            self._trusted_from_ms = now_ms + DISTRUST_MS
            copies.clear()


class Definitions:
    """Definitions by saga and version: those deployed here, and older or newer ones found in Postgres."""

    def __init__(self, deployed: Mapping[tuple[str, str], Definition], store: Store) -> None:
        self._known = dict(deployed)
        self._unreadable: dict[tuple[str, str], str] = {}
        self._store = store

    def add(self, found: Iterable[Definition]) -> None:
        self._known |= {(each.name, each.version): each for each in found}

    async def load(self, versions: set[tuple[str, str]]) -> None:
        """Read those versions that are not known here. Raises StoreUnavailable."""
        for saga, version in versions - self._known.keys():
            try:
                definition = await self._store.definition(saga, version)
            except UnreadableDocument as error:
                self._unreadable[saga, version] = str(error)
            else:
                if definition is not None:
                    self._known[saga, version] = definition

    def find(self, saga: str, version: str) -> Definition | None:
        """The definition; None where no replica has ever had it.

        Raises UnreadableDocument where this release cannot read it: another replica's may.
        """
        reason = self._unreadable.get((saga, version))
        if reason is not None:
            raise UnreadableDocument(reason)
        return self._known.get((saga, version))


@dataclass(slots=True)
class Sagas:
    """The batch's sagas as far as they are known, and those of them that Postgres was asked for just now."""

    states: dict[SagaId, SagaState]
    certain: set[SagaId] = field(default_factory=set)

    def versions(self) -> set[tuple[str, str]]:
        return {(state.saga, state.version) for state in self.states.values()}


class SagaLoader:
    """Finds the sagas of a batch, and with `definitions` what drives them. All methods raise StoreUnavailable."""

    def __init__(
        self,
        store: Store,
        deployed: Mapping[tuple[str, str], Definition],
        cache: SagaCache,
        now_ms: Callable[[], int],
    ) -> None:
        self.definitions = Definitions(deployed, store)
        self._store = store
        self._cache = cache
        self._now_ms = now_ms

    async def load(self, received: list[Received], trust_copies: bool) -> Sagas:
        """The sagas that the events name by their ids."""
        touched = {item.event.saga_id for item in received}
        if not trust_copies:
            sagas = Sagas({})
            await self.load_afresh(sagas, touched)
            return sagas
        sagas = Sagas(self._cache.find(touched, self._now_ms()))
        # A saga that is only being started is taken to be new; if it is not, the commit finds out.
        continued = {item.event.saga_id for item in received if not isinstance(item.event, Started)}
        await self.load_afresh(sagas, continued - sagas.states.keys())
        return sagas

    async def find_by_key(self, received: list[Received], sagas: Sagas, deferral: DeferralPolicy) -> list[Received]:
        """The events with the ids of the sagas that they name by their keys, which are then loaded too.

        The id that follows from a key is that of a saga which was started by it. A child saga may have the key as well:
        it is asked for where there is none of the first kind.
        """
        unknown = [item for item in received if _names_no_known_saga(item.event, sagas)]
        if not unknown:
            return received
        started = {item.event.saga_id for item in received if isinstance(item.event, Started)}
        keys = {key for item in unknown if item.event.saga_id not in started and (key := _key(item.event)) is not None}
        if not keys:
            return received
        with_keys = [*await self._store.ids_with_key(sorted(keys)), *_starting(received)]
        found = [
            addressed_by_key(item, with_keys, may_wait=self._may_wait(item, deferral))
            if _names_no_known_saga(item.event, sagas)
            else item
            for item in received
        ]
        ids = {item.event.saga_id for item in found} - {item.event.saga_id for item in received}
        await self.load_afresh(sagas, ids - sagas.states.keys())
        return found

    def _may_wait(self, item: Received, deferral: DeferralPolicy) -> bool:
        return item.entry is not None and deferral.may_wait(item.entry, self._now_ms())

    async def load_afresh(self, sagas: Sagas, saga_ids: set[SagaId]) -> None:
        """Read these sagas from Postgres into `sagas`, whatever was known of them."""
        if not saga_ids:
            return
        for saga_id in saga_ids:
            sagas.states.pop(saga_id, None)
        loaded = await self._store.load(sorted(saga_ids))
        self._cache.compare(loaded, self._now_ms())
        sagas.states.update((state.id, state) for state in loaded)
        sagas.certain |= saga_ids

    def keep(self, states: Iterable[SagaState]) -> None:
        """Keep copies of what was committed just now."""
        self._cache.keep(states)


def _names_no_known_saga(event: Event, sagas: Sagas) -> TypeGuard[Signalled | OperationRequested]:
    return isinstance(event, Signalled | OperationRequested) and event.saga_id not in sagas.states


def _key(event: Event) -> BusinessKey | None:
    return event.by_key if isinstance(event, Signalled | OperationRequested) else None


def addressed_by_key(item: Received, sagas: Sequence[KeyedSaga], *, may_wait: bool) -> Received:
    """The event with the id of the only saga that has its key; unchanged where there is none, or more than one.

    An open saga comes before an ended one. An event that may still be deferred is not given to an ended one, because it
    may well be meant for a saga that is only being started.
    """
    event = item.event
    if not isinstance(event, Signalled | OperationRequested) or event.by_key is None:
        return item
    found = _only(sagas, event.by_key, has_ended=False)
    if found is None and not may_wait:
        found = _only(sagas, event.by_key, has_ended=True)
    return item if found is None else Received(replace(event, saga_id=found), item.entry)


def _starting(received: Iterable[Received]) -> list[KeyedSaga]:
    """The child sagas with a key that are started among these events."""
    started = [item.event for item in received if isinstance(item.event, Started) and item.event.parent]
    return [KeyedSaga(BusinessKey(each.saga, each.key), each.saga_id, False) for each in started if each.key]


def _only(sagas: Sequence[KeyedSaga], key: BusinessKey, *, has_ended: bool) -> SagaId | None:
    ids = {each.saga_id for each in sagas if each.key == key and each.has_ended is has_ended}
    return ids.pop() if len(ids) == 1 else None
