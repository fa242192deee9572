"""One item that cannot be handled: it becomes a dead letter, and everything else goes on."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import structlog

from saga_service.core.advance import advance
from saga_service.core.definition import Definition
from saga_service.core.effects import Transition
from saga_service.core.events import Event, TimerDue
from saga_service.core.ids import SagaId
from saga_service.core.state import SagaState
from saga_service.engine.engine import Committed
from saga_service.engine.failures import StoreUnavailable
from saga_service.wire.dead_letters import raw_pairs
from saga_service.wire.entries import Entry, RequestRow
from saga_service.wire.events import write_event
from saga_service.wire.transport import RECOVERY, REQUESTS, TIMERS
from tests.support.builders import SAGA_ID, START_MS, TIMEOUT_MS, PlainBlueprint, delivered, entry, resend
from tests.support.fakes import (
    NAMES,
    FaultyStore,
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


def _refuse_saga(store: FaultyStore, *numbers: int) -> None:
    poison = {saga_id(number) for number in numbers}
    store.refuses = lambda batch: any(write.state.id in poison for write in batch.writes)


async def test_one_refused_item_is_a_dead_letter_and_all_others_are_committed(
    service: ServiceInMemory,
) -> None:
    _refuse_saga(service.store, 5)
    committed = await service.process_apart(*(start(number) for number in range(1, 12)))
    assert service.store.sagas.keys() == {saga_id(number) for number in range(1, 12) if number != 5}
    [letter] = service.store.dead_letters.values()
    assert letter.entry_id == "1700-5"
    assert letter.reason == "postgres refuses it: a value that cannot be stored"
    assert _handled(committed) == [f"1700-{number}" for number in range(1, 12)]


async def test_two_such_items_are_both_found(service: ServiceInMemory) -> None:
    _refuse_saga(service.store, 2, 7)
    await service.process_apart(*(start(number) for number in range(1, 9)))
    assert {letter.entry_id for letter in service.store.dead_letters.values()} == {"1700-2", "1700-7"}
    assert len(service.store.sagas) == 6


async def test_a_bug_that_one_item_brings_to_light_costs_that_item_alone(
    service: ServiceInMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stumble(_: object, data: dict[str, object]) -> dict[str, object]:
        if data["amount"] == 13:
            raise ZeroDivisionError("a bug")
        return data

    monkeypatch.setattr(PlainBlueprint, "read_input", stumble)
    unlucky = delivered(write_event(NAMES.events, "order", {"amount": 13}, key="order-2"), "1700-2")
    with structlog.testing.capture_logs() as logs:
        committed = await service.process_apart(start(1), unlucky, start(3))
    assert service.store.sagas.keys() == {saga_id(1), saga_id(3)}
    [letter] = service.store.dead_letters.values()
    assert letter.reason == "internal error, please report: ZeroDivisionError('a bug')"
    assert _handled(committed) == ["1700-1", "1700-2", "1700-3"]
    assert [line["item"] for line in logs if line["log_level"] == "error"] == ["saga:events 1700-2"]


async def test_a_failure_that_does_not_come_again_costs_nobody_a_good_entry(service: ServiceInMemory) -> None:
    service.store.commit_faults.then(KeyError("a hiccup of the client library"))
    committed = await service.process(start(1))
    assert service.store.sagas.keys() == {SAGA_ID}
    assert not service.store.dead_letters
    assert [message.stream for message in committed.messages] == [NAMES.commands("service")]


async def test_an_entry_that_not_even_the_dead_letters_can_hold_ends_no_service(service: ServiceInMemory) -> None:
    """An entry that ends a replica would come again after its restart, and end the next one as well."""
    service.store.refuses = lambda batch: any(len(letter.raw) > 100 for letter in batch.dead_letters)
    committed = await service.process_apart(start(1), malformed("9-0"), start(2))
    [letter] = service.store.dead_letters.values()
    assert (letter.stream, letter.entry_id, raw_pairs(letter.raw)) == (NAMES.events, "9-0", [])
    assert "its fields could not be kept: a value that cannot be stored" in letter.reason
    assert service.store.sagas.keys() == {saga_id(1), saga_id(2)}
    assert _handled(committed) == ["1700-1", "9-0", "1700-2"]


async def test_a_timer_that_fails_by_a_bug_is_parked_where_a_person_sees_it(
    service: ServiceInMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    await service.process(start(1), start(2))
    _stumble_at(monkeypatch, SAGA_ID)
    committed = await service.process_apart(TimerDue(SAGA_ID), success("reserve", 2))
    [letter] = service.store.dead_letters.values()
    assert (letter.stream, letter.entry_id) == (TIMERS, f"{SAGA_ID}:{START_MS}")
    assert letter.reason == "internal error, please report: ZeroDivisionError('a bug')"
    assert SAGA_ID in letter.preview
    assert service.store.parked == [SAGA_ID], "else it would fail again at every lease"
    assert service.store.sagas[saga_id(2)].revision == 2
    assert _handled(committed) == ["1800-0"], "no stream has it"


async def test_a_parked_timer_that_is_replayed_sets_its_saga_going_again(
    service: ServiceInMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    await service.process(start())
    with monkeypatch.context() as while_it_lasts:
        _stumble_at(while_it_lasts, SAGA_ID)
        await service.process_apart(TimerDue(SAGA_ID))
    [letter] = service.store.dead_letters.values()
    service.now_ms += TIMEOUT_MS
    await service.process(Entry(REQUESTS, "7", dict(raw_pairs(letter.raw)), request=RequestRow(7, service.now_ms, 1)))
    assert service.store.sagas[SAGA_ID].steps[0].unanswered
    assert service.store.results[7].verdict == "applied"


async def test_a_replayed_timer_that_fails_again_is_a_dead_letter_again(
    service: ServiceInMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    await service.process(start())
    _stumble_at(monkeypatch, SAGA_ID)
    await service.process_apart(TimerDue(SAGA_ID))
    [letter] = service.store.dead_letters.values()
    again = Entry(REQUESTS, "7", dict(raw_pairs(letter.raw)), request=RequestRow(7, service.now_ms, 1))
    await service.process_apart(again)
    assert list(service.store.dead_letters) == [(TIMERS, letter.entry_id), (REQUESTS, "7")]


async def test_a_recovery_that_fails_by_a_bug_is_parked_and_its_timer_is_not(
    service: ServiceInMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    await service.process(start())
    _stumble_at(monkeypatch, SAGA_ID)
    sent_again = resend()
    await service.process_apart(sent_again)
    assert list(service.store.dead_letters) == [(RECOVERY, sent_again.id)]
    assert service.store.parked == []


def _stumble_at(monkeypatch: pytest.MonkeyPatch, unlucky: SagaId) -> None:
    """A bug in the core that only this saga meets."""

    def stumble(defined: Definition, state: SagaState | None, event: Event, now_ms: int) -> Transition:
        if event.saga_id == unlucky:
            raise ZeroDivisionError("a bug")
        return advance(defined, state, event, now_ms)

    monkeypatch.setattr("saga_service.engine.fold.advance", stumble)


async def test_postgres_going_away_during_a_quarantine_ends_nothing(
    service: ServiceInMemory, backoffs: list[float]
) -> None:
    _refuse_saga(service.store, 1)
    service.store.commit_faults.then(None, StoreUnavailable("gone"))
    committed = await service.process_apart(start(1))
    assert len(backoffs) == 1
    assert [letter.entry_id for letter in service.store.dead_letters.values()] == ["1700-1"]
    assert _handled(committed) == ["1700-1"]


async def test_published_rows_survive_a_batch_that_is_taken_apart(service: ServiceInMemory) -> None:
    await service.take(start(1))
    _refuse_saga(service.store, 2)
    await service.take(start(2), start(3))
    left = [outbox_id for outbox_id in service.store.outbox if not service.outbox.is_under_way(outbox_id)]
    assert 1 not in left


def _handled(committed: Sequence[Committed]) -> list[str]:
    return [entry_id for one in committed for entry_ids in one.handled.values() for entry_id in entry_ids]
