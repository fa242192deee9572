"""Definitions that are not deployed here: read from the store, or left to replicas that can read them."""

from __future__ import annotations

from dataclasses import replace

import pytest
import structlog

from saga_service.core.definition import Definition
from saga_service.core.events import TimerDue
from saga_service.core.vocabulary import SagaStatus
from saga_service.engine.saga_loader import DISTRUST_MS
from saga_service.wire.entries import Entry
from saga_service.wire.transport import RECOVERY
from tests.support.builders import SAGA_ID, entry, resend
from tests.support.fakes import (
    NAMES,
    ORDER,
    ServiceInMemory,
    backoffs,
    saga_id,
    start,
    success,
)

__all__ = ["backoffs"]


@pytest.fixture
def service() -> ServiceInMemory:
    return ServiceInMemory()


def malformed(entry_id: str = "1900-0") -> Entry:
    return entry({"type": "order", "data": "{" * 100}, NAMES.events, entry_id)


def _another_replica_was_found_at_work(service: ServiceInMemory) -> None:
    """A while ago: the copies went with it, and new ones are trusted again."""
    newer = [state._replace(revision=state.revision + 1) for state in service.store.sagas.values()]
    service.cache.compare(newer, service.now_ms)
    service.now_ms += DISTRUST_MS


async def test_a_timer_whose_definition_is_unknown_everywhere_is_logged(
    service: ServiceInMemory,
) -> None:
    await service.process(start())
    state = service.store.sagas[SAGA_ID]
    service.store.sagas[SAGA_ID] = state._replace(version="v0")
    _another_replica_was_found_at_work(service)
    with structlog.testing.capture_logs() as logs:
        await service.process_apart(TimerDue(SAGA_ID))
    assert [line["saga_id"] for line in logs if line["log_level"] == "warning"] == [SAGA_ID]


async def _started_by_an_older_version(service: ServiceInMemory, *numbers: int) -> Definition:
    old = replace(ORDER, version="v0")
    service.store.definitions["order", "v0"] = old
    await service.process(*map(start, numbers))
    for number in numbers:
        state = service.store.sagas[saga_id(number)]
        service.store.sagas[saga_id(number)] = state._replace(version="v0")
    _another_replica_was_found_at_work(service)
    service.journal.clear()
    return old


async def test_a_saga_goes_on_by_its_own_version_read_from_the_store_once(
    service: ServiceInMemory,
) -> None:
    await _started_by_an_older_version(service, 1, 2)
    await service.process(success("reserve", 1), success("reserve", 2, entry_id="1801-0"))
    await service.process(success("charge", 1, entry_id="1802-0"))
    assert service.store.sagas[saga_id(1)].status is SagaStatus.COMPLETED
    assert service.journal == ["load 2", "definition order v0", "commit", "commit"]


async def _stored_by_a_later_release(service: ServiceInMemory, *numbers: int) -> None:
    await _started_by_an_older_version(service, *numbers)
    service.store.unreadable["order", "v0"] = "the definition has document format 9"


async def test_a_reply_waits_for_a_replica_that_can_read_its_definition(
    service: ServiceInMemory,
) -> None:
    await _stored_by_a_later_release(service, 1)
    committed = await service.process(success("reserve", 1), start(2))
    assert service.store.dead_letters == {}
    assert service.store.sagas.keys() == {saga_id(1), saga_id(2)}
    assert committed.handled[NAMES.replies] == ["1800-0"], "it is kept in Postgres"

    newer = ServiceInMemory(service.store)
    service.store.unreadable.clear()
    await newer.process(*(deferred.entry for deferred in service.store.deferred.values()))
    assert (service.store.sagas[saga_id(1)].revision, service.store.deferred) == (2, {})


async def test_replies_of_an_unreadable_definition_never_become_dead_letters(
    service: ServiceInMemory,
) -> None:
    await _stored_by_a_later_release(service, 1)
    await service.process(success("reserve", 1))
    for _ in range(20):
        service.now_ms += 600_000
        await service.process(*(deferred.entry for deferred in service.store.deferred.values()))
    assert (service.store.dead_letters, len(service.store.deferred)) == ({}, 1)


async def test_a_timer_is_left_to_a_replica_that_can_read_its_definition(
    service: ServiceInMemory,
) -> None:
    await _stored_by_a_later_release(service, 1)
    with structlog.testing.capture_logs() as logs:
        await service.process(TimerDue(SAGA_ID))
    assert (service.store.dead_letters, service.store.parked, service.store.deferred) == ({}, [], {})
    assert [line["reason"] for line in logs] == ["the definition has document format 9"]


async def test_a_recovery_waits_for_a_replica_that_can_read_the_definition(
    service: ServiceInMemory,
) -> None:
    """A recovery comes once, and no lease brings it back."""
    first = await service.process(start())
    await _stored_by_a_later_release(service)
    service.store.sagas[SAGA_ID] = service.store.sagas[SAGA_ID]._replace(version="v0")
    _another_replica_was_found_at_work(service)
    await service.process(resend())
    assert {deferred.entry.stream for deferred in service.store.deferred.values()} == {RECOVERY}

    newer = ServiceInMemory(service.store)
    service.store.unreadable.clear()
    again = await newer.process(*(deferred.entry for deferred in service.store.deferred.values()))
    assert again.messages[0] == first.messages[0]


async def test_a_version_unknown_everywhere_is_read_once_and_its_reply_refused(
    service: ServiceInMemory,
) -> None:
    await _started_by_an_older_version(service, 1, 2)
    service.store.definitions.clear()
    await service.process(success("reserve", 1), success("reserve", 2, entry_id="1801-0"))
    assert {letter.reason for letter in service.store.dead_letters.values()} == {
        "version v0 of the definition of saga 'order' is not known here"
    }
    assert service.journal == ["load 2", "definition order v0", "commit"]
