"""What is said to a saga that nobody knows yet: another lane, or another replica, may have its start in hand."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from saga_service.core.effects import ChildRequest
from saga_service.core.ids import CommandName, command_id, saga_id_of_child
from saga_service.core.state import SagaState
from saga_service.core.vocabulary import ChildOperation, Direction, Operation, SagaStatus
from saga_service.engine.deferral import ATTEMPTS_MIN, PAUSE_MS_MAX, PAUSE_MS_MIN
from saga_service.wire.children import write_child_request
from saga_service.wire.entries import Entry
from saga_service.wire.transport import TransportUnavailable
from tests.support.builders import SAGA_ID, START_MS, approval, definition, delivered, entry, started
from tests.support.builders import SagaInMemory as Saga
from tests.support.fakes import NAMES, FaultyStore, ServiceInMemory, saga_id, start

APPROVED = definition(approval("approval"), "charge")
KEPT_MS = 60_000


@pytest.fixture
def store() -> FaultyStore:
    return FaultyStore()


@pytest.fixture
def service(store: FaultyStore) -> ServiceInMemory:
    return ServiceInMemory(store, APPROVED, deferral_max_ms=KEPT_MS)


def signal(entry_id: str = "1900-0", **fields: str) -> Entry:
    return entry({"type": "approved", "subject": "order-1", "saga": "order", **fields}, entry_id=entry_id)


def cancel() -> Entry:
    return entry({"type": f"saga.{Operation.CANCEL}", "subject": "order-1", "saga": "order"}, entry_id="1900-1")


async def past_all_deferral(service: ServiceInMemory) -> None:
    service.now_ms += KEPT_MS
    for _ in range(ATTEMPTS_MIN):
        await service.process(*waiting(service.store))


def waiting(store: FaultyStore) -> list[Entry]:
    return [deferred.entry for deferred in store.deferred.values()]


async def test_a_signal_that_overtakes_its_sagas_start_is_deferred(
    service: ServiceInMemory, store: FaultyStore
) -> None:
    committed = await service.process(signal())
    assert committed.handled == {"saga:events": ["1900-0"]}, "what waits in Postgres is off the stream"
    assert (store.dead_letters, len(store.deferred)) == ({}, 1)
    await service.process(start())
    committed = await service.process(*waiting(store))
    assert committed.handled == {}, "it was acknowledged already"
    assert store.deferred == {}
    assert [step.status for step in store.sagas[saga_id()].steps] == ["succeeded", "dispatched"]


async def test_a_cancel_that_overtakes_its_sagas_start_is_deferred_too(
    service: ServiceInMemory, store: FaultyStore
) -> None:
    await service.process(cancel(), start())
    await service.process(*waiting(store))
    assert store.sagas[saga_id()].status is SagaStatus.COMPENSATED


async def test_a_start_counts_first_in_a_batch_in_which_a_signal_s_deferral_ends(
    service: ServiceInMemory, store: FaultyStore
) -> None:
    await service.process(signal())
    service.now_ms += KEPT_MS
    for _ in range(ATTEMPTS_MIN - 2):
        await service.process(*waiting(store))
    await service.process(*waiting(store), start())
    assert (store.dead_letters, store.deferred) == ({}, {})
    assert [step.status for step in store.sagas[saga_id()].steps] == ["succeeded", "dispatched"]


@pytest.mark.parametrize("said", [signal, cancel])
async def test_a_start_counts_first_where_nothing_is_deferred(store: FaultyStore, said: Callable[[], Entry]) -> None:
    service = ServiceInMemory(store, APPROVED, deferral_max_ms=0)
    await service.process(said(), start())
    assert store.dead_letters == {}
    assert store.sagas[saga_id()].revision == 2


async def test_a_child_s_start_counts_before_a_signal_by_the_child_s_key(store: FaultyStore) -> None:
    service = ServiceInMemory(store, APPROVED, deferral_max_ms=0, key_field="amount")
    started_by = CommandName(SAGA_ID, "approve", Direction.ACTION, 1)
    child_id = saga_id_of_child("order", started_by)
    request = ChildRequest(ChildOperation.START, child_id, "order", started_by, {"amount": 5}, None)
    await service.process(signal(subject="5"), delivered(write_child_request(request, NAMES), "1900-1"))
    assert store.dead_letters == {}
    assert [step.status for step in store.sagas[child_id].steps] == ["succeeded", "dispatched"]


async def test_a_deferred_signal_delivered_again_is_the_same_signal(
    service: ServiceInMemory, store: FaultyStore
) -> None:
    await service.process(signal())
    await service.process(start())
    await service.process(*waiting(store))
    before = store.sagas[saga_id()]
    await service.process(signal())
    assert store.sagas[saga_id()] == before


async def test_an_entry_whose_saga_never_comes_is_a_dead_letter_as_it_came(
    service: ServiceInMemory, store: FaultyStore
) -> None:
    await service.process(signal())
    [kept] = waiting(store)
    await past_all_deferral(service)
    letter = store.dead_letters["saga:events", "1900-0"]
    assert letter.reason == "no saga 'order' with the key 'order-1' is known"
    assert (store.deferred, store.results[kept.request.number if kept.request else 0].verdict) == ({}, "refused")


async def test_after_a_long_outage_a_deferred_entry_has_several_attempts(
    service: ServiceInMemory, store: FaultyStore
) -> None:
    """Its start may have lain unread for as long."""
    await service.process(signal())
    service.now_ms += 10 * KEPT_MS
    await service.process(*waiting(store))
    assert (store.dead_letters, len(store.deferred)) == ({}, 1)


async def test_a_deferred_entry_is_tried_less_and_less_often(service: ServiceInMemory, store: FaultyStore) -> None:
    pauses_ms = []
    await service.process(signal())
    for _ in range(12):
        [deferred] = store.deferred.values()
        pauses_ms.append(deferred.due_at_ms - service.now_ms)
        service.now_ms = deferred.due_at_ms
        await service.process(deferred.entry)
    assert pauses_ms == sorted(pauses_ms)
    assert (pauses_ms[0], pauses_ms[-1] <= PAUSE_MS_MAX) == (PAUSE_MS_MIN, True)
    assert sum(pauses_ms) < KEPT_MS


async def test_without_deferral_an_unknown_saga_is_refused_at_once(store: FaultyStore) -> None:
    await ServiceInMemory(store, APPROVED).process(signal())
    assert (list(store.dead_letters), store.deferred) == ([("saga:events", "1900-0")], {})


async def test_a_parent_is_answered_once_and_not_before_the_waiting_is_over(
    service: ServiceInMemory, store: FaultyStore
) -> None:
    """Of a child that was done, and was removed since."""
    command = command_id(SAGA_ID, "trip", Direction.COMPENSATION, 1)
    undo = {"type": "saga.compensate", "saga": "order", "saga_id": saga_id(9), "command_id": command, "is_done": "true"}
    committed = await service.process(entry(undo, entry_id="1900-7"))
    assert (committed.messages, len(store.deferred)) == ([], 1)
    await past_all_deferral(service)
    [replies] = [commit.messages for commit in store.commits if commit.messages]
    assert [message.stream for message in replies] == ["saga:replies"]
    assert store.deferred == {}


def child_with_key(key: str, number: int = 1) -> SagaState:
    """Its id follows from its parent's command."""
    parent = CommandName(SAGA_ID, "trip", Direction.ACTION, number)
    saga = Saga(APPROVED, now_ms=START_MS)
    saga.apply(started(APPROVED, saga_id=saga_id_of_child("order", parent))._replace(key=key, parent=parent))
    return saga.state


async def test_a_child_saga_hears_a_signal_by_its_key(service: ServiceInMemory, store: FaultyStore) -> None:
    child = child_with_key("order-1")
    store.sagas[child.id] = child
    await service.process(signal())
    assert store.sagas[child.id].steps[0].status == "succeeded"
    assert store.deferred == {}


async def test_a_saga_that_was_started_by_its_key_comes_first(service: ServiceInMemory, store: FaultyStore) -> None:
    child = child_with_key("order-1")
    store.sagas[child.id] = child
    await service.process(start())
    await service.process(signal())
    assert (store.sagas[child.id], store.sagas[saga_id()].steps[0].status) == (child, "succeeded")


async def test_an_ended_child_is_addressed_once_no_other_saga_has_come(
    service: ServiceInMemory, store: FaultyStore
) -> None:
    ended = child_with_key("order-1")
    store.sagas[ended.id] = ended._replace(status=SagaStatus.COMPLETED, ended_at_ms=START_MS)
    compensate = entry({"type": "saga.compensate", "subject": "order-1", "saga": "order"}, entry_id="1900-2")
    await service.process(compensate)
    assert (store.sagas[ended.id].status, len(store.deferred)) == (SagaStatus.COMPLETED, 1)
    await past_all_deferral(service)
    assert store.sagas[ended.id].status != SagaStatus.COMPLETED


async def test_a_key_of_several_child_sagas_means_none_of_them(service: ServiceInMemory, store: FaultyStore) -> None:
    for number in (1, 2):
        child = child_with_key("order-1", number)
        store.sagas[child.id] = child
    await service.process(signal())
    await past_all_deferral(service)
    assert list(store.dead_letters) == [("saga:events", "1900-0")]


class Backlog:
    """Starts that have been handled up to some moment; a Redis that is away where there is none."""

    def __init__(self) -> None:
        self.handled_ms: int | None = None
        self.looks = 0

    async def handled_up_to_ms(self) -> int:
        self.looks += 1
        if self.handled_ms is None:
            raise TransportUnavailable("away")
        return self.handled_ms


@pytest.fixture
def backlog() -> Backlog:
    return Backlog()


@pytest.fixture
def behind(store: FaultyStore, backlog: Backlog) -> ServiceInMemory:
    """A service that has a backlog of starts."""
    return ServiceInMemory(store, APPROVED, deferral_max_ms=KEPT_MS, starts=backlog)


async def test_a_signal_waits_while_a_start_of_its_time_may_lie_unread(
    behind: ServiceInMemory, store: FaultyStore, backlog: Backlog
) -> None:
    await behind.process(signal())
    backlog.handled_ms = START_MS + KEPT_MS - 1
    behind.now_ms += 50 * KEPT_MS
    await past_all_deferral(behind)
    assert (store.dead_letters, len(store.deferred)) == ({}, 1)
    await behind.process(start())
    await behind.process(*waiting(store))
    assert store.deferred == {}
    assert [step.status for step in store.sagas[saga_id()].steps] == ["succeeded", "dispatched"]


async def test_a_signal_is_refused_once_every_start_of_its_time_has_been_handled(
    behind: ServiceInMemory, store: FaultyStore, backlog: Backlog
) -> None:
    await behind.process(signal())
    backlog.handled_ms = START_MS + KEPT_MS
    await past_all_deferral(behind)
    assert (list(store.dead_letters), store.deferred) == ([("saga:events", "1900-0")], {})


async def test_a_signal_waits_while_nobody_knows_what_lies_unread(behind: ServiceInMemory, store: FaultyStore) -> None:
    await behind.process(signal())
    await past_all_deferral(behind)
    assert (store.dead_letters, len(store.deferred)) == ({}, 1)


async def test_the_backlog_is_looked_at_once_for_a_batch_and_only_before_a_refusal(
    behind: ServiceInMemory, store: FaultyStore, backlog: Backlog
) -> None:
    backlog.handled_ms = START_MS + 10 * KEPT_MS
    await behind.process(*(signal(f"1900-{number}", subject=f"order-{number}") for number in range(20)))
    await behind.process(*waiting(store))
    assert backlog.looks == 0
    await past_all_deferral(behind)
    assert (len(store.dead_letters), backlog.looks) == (20, 1)
