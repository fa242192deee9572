"""Requests that came by SQL: each is carried out once, whoever was slower than the lease, and whatever link died."""

from __future__ import annotations

import pytest

from saga_service.core.ids import SagaId
from saga_service.core.vocabulary import Operation, SagaStatus, StepStatus
from saga_service.engine.failures import StoreUnavailable
from saga_service.wire.entries import Entry, RequestRow
from saga_service.wire.transport import OWN_TYPES_PREFIX, REQUESTS, WANTS_RESULT
from tests.support.builders import START_MS
from tests.support.fakes import FaultyStore, ServiceInMemory, backoffs, saga_id, start, success

__all__ = ["backoffs"]


def request(number: int, operation: Operation, of: SagaId | None = None, **more: str) -> Entry:
    fields = {"type": f"{OWN_TYPES_PREFIX}{operation.value}", "saga_id": of or saga_id(), "actor": "ann", **more}
    return by_sql(number, {name.encode(): value.encode() for name, value in fields.items()})


def by_sql(number: int, fields: dict[bytes, bytes]) -> Entry:
    return Entry(REQUESTS, str(number), fields, request=RequestRow(number, START_MS, 1))


def skip(number: int) -> Entry:
    """Of whatever is parked: asked twice, it would skip what is parked then."""
    return request(number, Operation.SKIP)


@pytest.fixture
def store() -> FaultyStore:
    return FaultyStore()


@pytest.fixture
async def service(store: FaultyStore) -> ServiceInMemory:
    """With a saga under way."""
    service = ServiceInMemory(store)
    await service.process(start())
    return service


async def test_a_request_answered_by_another_replica_is_not_carried_out_again(
    service: ServiceInMemory, store: FaultyStore
) -> None:
    await ServiceInMemory(store).process(request(7, Operation.PAUSE))
    await ServiceInMemory(store).process(request(8, Operation.RESUME))
    revision = store.sagas[saga_id()].revision

    await service.process(request(7, Operation.PAUSE))

    assert store.sagas[saga_id()].status is SagaStatus.RUNNING
    assert store.sagas[saga_id()].revision == revision
    assert {number: answer.verdict for number, answer in store.results.items()} == {7: "applied", 8: "applied"}


async def test_what_came_with_an_answered_request_goes_on(service: ServiceInMemory, store: FaultyStore) -> None:
    await ServiceInMemory(store).process(request(7, Operation.PAUSE))
    await ServiceInMemory(store).process(request(8, Operation.RESUME))

    reply = success("reserve")
    committed = await service.process(request(7, Operation.PAUSE), reply, request(9, Operation.PAUSE))

    assert committed.handled == {reply.stream: [reply.id]}
    assert [step.status for step in store.sagas[saga_id()].steps] == [StepStatus.SUCCEEDED, StepStatus.DISPATCHED]
    assert store.sagas[saga_id()].status is SagaStatus.RUNNING
    assert 9 not in store.results, "it is still open, and is claimed again after its lease"


async def test_a_link_that_dies_after_the_commit_carries_no_request_out_twice(
    store: FaultyStore, service: ServiceInMemory, backoffs: list[float]
) -> None:
    """A verb without a step would mean the next one that is parked, by then."""
    await service.process(skip(6))
    before = store.sagas[saga_id()].revision
    store.after_commit_faults.then(StoreUnavailable("the link died"))

    await service.process(request(7, Operation.SKIP, step="reserve"))

    assert store.sagas[saga_id()].revision == before + 1
    assert store.results[7].verdict == "applied"
    assert len(backoffs) == 1


async def test_the_same_request_twice_in_a_batch_is_one(service: ServiceInMemory, store: FaultyStore) -> None:
    """Where the first waits for longer than its lease, it is claimed again by the same replica."""
    await service.process(request(7, Operation.PAUSE), request(7, Operation.PAUSE))
    assert store.results[7].verdict == "applied"


async def test_a_malformed_request_is_one_dead_letter(service: ServiceInMemory, store: FaultyStore) -> None:
    bad = by_sql(7, {b"type": b"saga.dance"})
    await service.process(bad)
    await ServiceInMemory(store).process(bad)
    assert store.results[7].verdict == "refused"
    assert list(store.dead_letters) == [(REQUESTS, "7")]
    assert len(store.outbox) == 2, "of the start, and of one dead letter"


@pytest.mark.parametrize(("more", "is_dead_letter"), [({}, True), ({WANTS_RESULT: b"true"}, False)])
async def test_a_refused_signal_is_a_dead_letter_unless_its_result_is_wanted(
    service: ServiceInMemory, store: FaultyStore, more: dict[bytes, bytes], is_dead_letter: bool
) -> None:
    fields = {b"type": b"approved", b"saga_id": saga_id().encode(), b"data": b"{}"}
    await service.process(by_sql(7, fields | more))
    assert store.results[7].verdict == "refused"
    assert bool(store.dead_letters) is is_dead_letter


async def test_a_signal_by_a_stream_has_no_result_even_if_it_wants_one(
    service: ServiceInMemory, store: FaultyStore
) -> None:
    fields = {b"type": b"approved", b"saga_id": saga_id().encode(), b"data": b"{}", WANTS_RESULT: b"true"}
    await service.process(Entry("saga:events", "1900-0", fields))
    assert list(store.dead_letters) == [("saga:events", "1900-0")]
