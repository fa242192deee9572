"""What is not deployed on this replica, and is on record: sagas that are under way still need it."""

from __future__ import annotations

from collections.abc import Collection

import pytest

from saga_service.core.effects import ChildRequest
from saga_service.core.ids import CommandName, saga_id_from_key, saga_id_of_child
from saga_service.core.vocabulary import ChildOperation, Direction
from saga_service.engine.deferral import ATTEMPTS_MIN
from saga_service.engine.failures import StoreUnavailable
from saga_service.wire.children import write_child_request
from saga_service.wire.dead_letters import NamedSaga
from saga_service.wire.entries import Entry
from saga_service.wire.saga_spec import SagaSpec
from tests.support.builders import SAGA_ID, PlainBlueprint, approval, definition, delivered, entry
from tests.support.fakes import NAMES, Faults, FaultyStore, ServiceInMemory, backoffs

__all__ = ["backoffs"]

DELIVERY = definition("drive", name="delivery")
START = CommandName(SAGA_ID, "deliver", Direction.ACTION, 1)
CHILD_ID = saga_id_of_child("delivery", START)


class OnRecord:
    """Fulfils `engine.ports.Records`."""

    def __init__(self, *specs: SagaSpec, waiting: dict[str, list[str]] | None = None) -> None:
        self.specs = {spec.definition.name: spec for spec in specs}
        self.waiting = waiting or {}
        self.unreadable: set[str] = set()
        """Stored by a later release."""
        self.faults = Faults()
        self.asked: list[str] = []

    async def deployed(self, sagas: Collection[str]) -> dict[str, SagaSpec | None]:
        self.asked += sagas
        self.faults.strike()
        known = {saga: self.specs[saga] for saga in sagas if saga in self.specs}
        return known | {saga: None for saga in sagas if saga in self.unreadable}

    async def waiting_for(self, signals: Collection[str]) -> dict[str, list[str]]:
        self.asked += signals
        self.faults.strike()
        return {signal: self.waiting[signal] for signal in signals if signal in self.waiting}


async def past_all_deferral(service: ServiceInMemory) -> None:
    service.now_ms += 60_000
    for _ in range(ATTEMPTS_MIN):
        await service.process(*(deferred.entry for deferred in service.store.deferred.values()))


@pytest.fixture
def store() -> FaultyStore:
    return FaultyStore()


def start_of_child() -> Entry:
    request = ChildRequest(ChildOperation.START, CHILD_ID, "delivery", START, {}, None)
    return delivered(write_child_request(request, NAMES))


async def test_a_child_saga_not_deployed_here_begins_by_what_is_on_record(store: FaultyStore) -> None:
    """While a new version is rolled out, or after its definition was taken out: its parent was promised it."""
    service = ServiceInMemory(store, registry=OnRecord(PlainBlueprint(DELIVERY)))
    await service.process(start_of_child())
    assert (store.sagas[CHILD_ID].saga, store.sagas[CHILD_ID].steps[0].status) == ("delivery", "dispatched")


async def test_a_child_saga_deployed_nowhere_is_refused_to_its_parent(store: FaultyStore) -> None:
    service = ServiceInMemory(store, registry=OnRecord())
    await service.process(start_of_child())
    assert store.sagas == {}
    # The parent of this test is not there either, so its answer becomes a dead letter: it says all the same.
    [letter] = store.dead_letters.values()
    assert letter.reason == f"no saga with the id {SAGA_ID} is known"


async def test_a_start_of_what_only_other_replicas_deploy_is_deferred(store: FaultyStore) -> None:
    """While a new version is rolled out: the newer replica has put it on record before it read anything."""
    old = ServiceInMemory(store, registry=OnRecord(PlainBlueprint(DELIVERY)), deferral_max_ms=60_000)
    await old.process(entry({"type": "delivery"}))
    assert (store.dead_letters, store.sagas) == ({}, {})
    new = ServiceInMemory(store, DELIVERY, deferral_max_ms=60_000)
    new.catalog.event_type = "delivery"
    await new.process(*(deferred.entry for deferred in store.deferred.values()))
    assert [state.saga for state in store.sagas.values()] == ["delivery"]
    assert store.deferred == {}


async def test_what_starts_a_saga_by_an_event_is_what_is_deployed_and_no_more(store: FaultyStore) -> None:
    service = ServiceInMemory(store, registry=OnRecord(PlainBlueprint(DELIVERY)), deferral_max_ms=60_000)
    await service.process(entry({"type": "delivery"}))
    await past_all_deferral(service)
    [letter] = store.dead_letters.values()
    assert "no saga is started by an event of type 'delivery'" in letter.reason


async def test_the_saga_that_a_replica_with_its_definition_would_start_is_named_by_its_dead_letter(
    store: FaultyStore,
) -> None:
    service = ServiceInMemory(store, registry=OnRecord(PlainBlueprint(DELIVERY)), deferral_max_ms=60_000)
    await service.process(entry({"type": "delivery", "subject": "A-1", "data": "{}"}))
    would_start = NamedSaga(saga_id_from_key("delivery", "A-1"), "A-1")
    await past_all_deferral(service)
    [letter] = store.dead_letters.values()
    assert NamedSaga(letter.saga_id, letter.key) == would_start


async def test_a_start_waits_for_a_replica_that_can_read_the_definition(store: FaultyStore) -> None:
    registry = OnRecord()
    registry.unreadable = {"delivery"}
    service = ServiceInMemory(store, registry=registry, deferral_max_ms=60_000)
    await service.process(entry({"type": "delivery"}, entry_id="1900-0"), start_of_child())
    assert (store.sagas, store.dead_letters, len(store.deferred)) == ({}, {}, 2)


async def test_a_type_that_nobody_has_ever_deployed_is_a_dead_letter_at_once(store: FaultyStore) -> None:
    service = ServiceInMemory(store, registry=OnRecord(), deferral_max_ms=60_000)
    await service.process(entry({"type": "delivry"}))
    [letter] = store.dead_letters.values()
    assert "no saga is started by an event of type 'delivry'" in letter.reason


async def test_a_signal_finds_a_saga_whose_version_is_not_deployed_here(
    store: FaultyStore,
) -> None:
    waits = definition(approval("approval"), name="refund")
    other = ServiceInMemory(store, waits)
    await other.process(entry({"type": "order", "subject": "R-1"}))
    service = ServiceInMemory(store, registry=OnRecord(waiting={"approved": ["refund"]}))
    store.definitions["refund", "v1"] = waits
    await service.process(entry({"type": "approved", "subject": "R-1"}, entry_id="1900-0"))
    assert store.sagas[saga_id_from_key("refund", "R-1")].status == "completed"


async def test_entries_of_one_saga_keep_their_order_when_they_are_resolved(store: FaultyStore) -> None:
    """Two signals of one name: the first belongs to the first step that waits for it."""
    waits = definition(approval("first"), approval("second"), name="refund")
    store.definitions["refund", "v1"] = waits
    await ServiceInMemory(store, waits).process(entry({"type": "order", "subject": "R-1"}))
    service = ServiceInMemory(store, registry=OnRecord(waiting={"approved": ["refund"]}))
    signals = [
        entry({"type": "approved", "subject": "R-1", "id": who, "data": f'{{"by": "{who}"}}'}, entry_id=f"190{place}-0")
        for place, who in enumerate(("ann", "bob"))
    ]
    await service.process(*signals)
    saga = store.sagas[saga_id_from_key("refund", "R-1")]
    assert [step.output for step in saga.steps] == [{"by": "ann"}, {"by": "bob"}]


async def test_an_entry_that_is_resolved_stays_before_those_that_came_after_it(store: FaultyStore) -> None:
    waits = definition(approval("first"), approval("second"), name="refund")
    store.definitions["refund", "v1"] = waits
    await ServiceInMemory(store, waits).process(entry({"type": "order", "subject": "R-1"}))
    service = ServiceInMemory(store, registry=OnRecord(waiting={"approved": ["refund"]}))
    by_key = entry({"type": "approved", "subject": "R-1", "id": "a", "data": '{"by": "ann"}'}, entry_id="1900-0")
    saga_id = saga_id_from_key("refund", "R-1")
    by_id = entry({"type": "approved", "saga_id": saga_id, "id": "b", "data": '{"by": "bob"}'}, entry_id="1901-0")
    await service.process(by_key, by_id)
    assert [step.output for step in store.sagas[saga_id].steps] == [{"by": "ann"}, {"by": "bob"}]


async def test_nothing_is_asked_about_what_is_deployed_here(store: FaultyStore) -> None:
    registry = OnRecord()
    await ServiceInMemory(store, registry=registry).process(entry({"type": "order"}))
    assert registry.asked == []


async def test_while_postgres_is_away_what_is_not_known_here_waits(store: FaultyStore, backoffs: list[float]) -> None:
    registry = OnRecord(PlainBlueprint(DELIVERY))
    registry.faults.then(StoreUnavailable("away"))
    await ServiceInMemory(store, registry=registry).process(start_of_child())
    assert (CHILD_ID in store.sagas, len(backoffs)) == (True, 1)
