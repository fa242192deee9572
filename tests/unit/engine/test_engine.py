"""A batch on its way through the one door: what is written, what is published, what is acknowledged."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, MutableMapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
import structlog

from saga_service.base.lifecycle import Shutdown
from saga_service.core.events import TimerDue
from saga_service.core.vocabulary import SagaStatus
from saga_service.engine.engine import Committed
from saga_service.engine.failures import RevisionConflict, StoreBroken, StoreUnavailable
from saga_service.engine.ports import Batch
from saga_service.engine.saga_loader import DISTRUST_MS
from saga_service.runtime.intake import Intake
from saga_service.runtime.lane import Lane
from saga_service.wire.dead_letters import dead_letter, raw_pairs, write_dead_letter
from saga_service.wire.entries import Entry, Message
from tests.support.builders import SAGA_ID, START_MS, TIMEOUT_MS, definition, delivered, entry, resend, step
from tests.support.fakes import (
    BATCH_BYTES_MAX,
    DATA_BYTES_MAX,
    NAMES,
    FaultyStore,
    ServiceInMemory,
    backoffs,
    saga_id,
    start,
    success,
    turns,
)

__all__ = ["backoffs"]


@pytest.fixture
def service() -> ServiceInMemory:
    return ServiceInMemory()


def malformed(entry_id: str = "1900-0") -> Entry:
    return entry({"type": "order", "data": "{" * 100}, NAMES.events, entry_id)


def streams_of(committed: Committed) -> list[str]:
    return [message.stream for message in committed.messages]


async def test_a_batch_is_committed_then_published_then_acknowledged(service: ServiceInMemory) -> None:
    await service.take(start())
    assert service.journal == ["commit", "add to saga:commands:service", "acknowledge 1 of saga:events"]


async def test_a_batch_of_many_sagas_is_one_load_and_one_commit() -> None:
    store = FaultyStore()
    numbers = range(1, 51)
    await ServiceInMemory(store).process(*map(start, numbers))
    other = ServiceInMemory(store)
    await other.process(*(success("reserve", number, entry_id=f"1800-{number}") for number in numbers))
    assert other.journal == ["load 50", "commit"]
    assert {state.revision for state in store.sagas.values()} == {2}


async def test_the_next_reply_of_a_saga_that_was_written_here_needs_no_read(service: ServiceInMemory) -> None:
    await service.process(start())
    await service.process(success("reserve"))
    assert service.journal == ["commit", "commit"]


async def test_a_commit_tells_the_earliest_moment_that_some_saga_waits_for(service: ServiceInMemory) -> None:
    first = await service.process(start(1))
    service.now_ms += 100
    both = await service.process(success("reserve", 1), start(2))
    assert first.wake_at_ms == START_MS + TIMEOUT_MS
    assert both.wake_at_ms == START_MS + TIMEOUT_MS, "the first saga's moment does not move while all goes well"


async def test_the_end_of_a_saga_is_announced(service: ServiceInMemory) -> None:
    await service.process(start())
    await service.process(success("reserve"))
    committed = await service.process(success("charge"))
    assert streams_of(committed) == [NAMES.outcomes]
    assert committed.wake_at_ms is None
    assert service.store.sagas[SAGA_ID].status is SagaStatus.COMPLETED


async def test_a_start_by_somebody_elses_stream_takes_its_fields_as_they_are(service: ServiceInMemory) -> None:
    committed = await service.process(entry({"amount": "7"}, "orders", "1700-5"))
    [state] = service.store.sagas.values()
    assert state.input == {"amount": 7}
    assert committed.handled == {"orders": ["1700-5"]}


async def test_two_events_of_one_saga_are_two_lines_of_history_and_one_write(
    service: ServiceInMemory,
) -> None:
    await service.process(start(), success("reserve"))
    [batch] = service.store.commits
    assert [line.revision for line in batch.history] == [1, 2]
    assert [(write.state.revision, write.expected_revision) for write in batch.writes] == [(2, 0)]


async def test_a_malformed_entry_is_a_dead_letter_and_the_others_go_on(
    service: ServiceInMemory,
) -> None:
    committed = await service.process(malformed(), start())
    [batch] = service.store.commits
    assert [letter.entry_id for letter in batch.dead_letters] == ["1900-0"]
    assert "not valid JSON" in batch.dead_letters[0].reason
    assert [write.state.id for write in batch.writes] == [SAGA_ID]
    assert streams_of(committed) == [NAMES.commands("service"), NAMES.dead_letters]
    assert committed.handled == {NAMES.events: ["1900-0", "1700-1"]}


async def test_an_entry_too_large_is_a_dead_letter_that_says_how_to_let_it_in(service: ServiceInMemory) -> None:
    await service.process(start(padding="x" * DATA_BYTES_MAX))
    [letter] = service.store.dead_letters.values()
    assert "more than the 10,000 allowed" in letter.reason
    assert "SAGA_ENTRY_BYTES_MAX" in letter.reason
    assert not service.store.sagas


async def test_an_entry_as_large_as_is_allowed_is_taken(service: ServiceInMemory) -> None:
    room = DATA_BYTES_MAX - sum(len(name) + len(value) for name, value in start(padding="").fields.items())
    await service.process(start(padding="x" * room))
    assert service.store.sagas.keys() == {SAGA_ID}


async def test_a_refused_event_is_a_dead_letter_and_its_entry_is_acknowledged(service: ServiceInMemory) -> None:
    await service.process(start())
    committed = await service.process(success("reserve", attempt=9))
    [letter] = service.store.dead_letters.values()
    assert letter.reason == "action 9 of step 'reserve' was never sent (1 attempts were)"
    assert committed.handled == {NAMES.replies: ["1800-0"]}
    assert streams_of(committed) == [NAMES.dead_letters]


async def test_a_reply_to_a_saga_that_nobody_knows_is_a_dead_letter(service: ServiceInMemory) -> None:
    committed = await service.process(success("reserve"))
    [letter] = service.store.dead_letters.values()
    assert letter.reason == f"no saga with the id {SAGA_ID} is known"
    assert committed.handled == {NAMES.replies: ["1800-0"]}
    assert service.journal == ["load 1", "commit"], "a saga that was read just now is not read again"


async def test_a_workers_dead_letter_is_stored_and_not_published_again(service: ServiceInMemory) -> None:
    letter = dead_letter(entry({"id": "?"}, "saga:commands:service", "5-0"), "not a command", START_MS)
    committed = await service.process(delivered(write_dead_letter(letter, NAMES), "6-0"))
    assert service.store.dead_letters == {("saga:commands:service", "5-0"): letter}
    assert committed.messages == []
    assert committed.outbox_id is None
    assert committed.handled == {NAMES.dead_letters: ["6-0"]}


async def test_our_own_dead_letter_that_comes_back_is_the_one_in_the_table(service: ServiceInMemory) -> None:
    committed = await service.process(malformed())
    [message] = committed.messages
    commits = len(service.store.commits)
    back = await service.process(delivered(message, "7-0"))
    assert len(service.store.dead_letters) == 1
    assert len(service.store.commits) == commits, "there is nothing to write"
    assert (back.outbox_id, back.messages) == (None, [])
    assert back.handled == {NAMES.dead_letters: ["7-0"]}


async def test_an_entry_that_is_too_large_is_kept_in_the_table_and_nowhere_else(service: ServiceInMemory) -> None:
    large = start(padding="x" * 3 * DATA_BYTES_MAX)
    committed = await service.process(large)
    [letter] = service.store.dead_letters.values()
    assert raw_pairs(letter.raw) == list(large.fields.items())
    [message] = committed.messages
    assert sum(map(len, message.fields)) < DATA_BYTES_MAX
    assert service.store.commits[-1].messages == [message], "nor in the outbox"


async def test_a_dead_letter_with_its_fields_is_stored_whatever_else_it_says(service: ServiceInMemory) -> None:
    letter = dead_letter(entry({"id": "?"}, "saga:commands:service", "5-0"), "not a command", START_MS)
    written = delivered(write_dead_letter(letter, NAMES), "6-0")
    await service.process(replace(written, fields={**written.fields, b"stored_in": b"saga.dead_letters"}))
    assert service.store.dead_letters == {("saga:commands:service", "5-0"): letter}


async def test_a_malformed_entry_of_the_dead_letter_stream_is_not_announced(
    service: ServiceInMemory,
) -> None:
    nonsense = entry({"reason": "none"}, NAMES.dead_letters, "8-0")
    committed = await service.process(nonsense)
    [letter] = service.store.dead_letters.values()
    assert (letter.stream, letter.entry_id) == (NAMES.dead_letters, "8-0")
    assert dict(raw_pairs(letter.raw)) == nonsense.fields
    assert committed.messages == [], "it is on that stream already"
    assert committed.handled == {NAMES.dead_letters: ["8-0"]}


async def test_a_repeated_reply_is_only_acknowledged(service: ServiceInMemory) -> None:
    await service.process(start())
    await service.process(success("reserve"))
    commits = len(service.store.commits)
    again = await service.process(success("reserve", entry_id="1800-9"))
    assert len(service.store.commits) == commits
    assert again.messages == []
    assert again.handled == {NAMES.replies: ["1800-9"]}


async def test_the_same_start_twice_in_one_batch_starts_one_saga(service: ServiceInMemory) -> None:
    committed = await service.process(start(1, "1-0"), start(1, "2-0"))
    assert len(service.store.history) == 1
    assert len(committed.messages) == 1
    assert committed.handled == {NAMES.events: ["1-0", "2-0"]}
    assert not service.store.dead_letters


async def test_a_start_that_another_replica_has_taken_is_only_acknowledged(service: ServiceInMemory) -> None:
    await ServiceInMemory(service.store).process(start())
    committed = await service.process(start(entry_id="2-0"))
    assert len(service.store.history) == 1
    assert committed.messages == []
    assert committed.handled == {NAMES.events: ["2-0"]}


async def _moved_on_elsewhere(here: ServiceInMemory) -> None:
    """Another replica takes the saga that was started here to its second step."""
    await here.process(start())
    await ServiceInMemory(here.store, here.defined).process(success("reserve"))
    here.store.journal = here.journal
    here.journal.clear()


async def test_a_good_reply_is_no_dead_letter_because_of_an_old_copy(service: ServiceInMemory) -> None:
    await _moved_on_elsewhere(service)
    committed = await service.process(success("charge"))
    assert not service.store.dead_letters
    assert service.store.sagas[SAGA_ID].status is SagaStatus.COMPLETED
    assert streams_of(committed) == [NAMES.outcomes]
    assert service.journal == ["load 1", "commit"]


async def test_a_timer_is_not_taken_for_too_early_because_of_an_old_copy() -> None:
    """The copy knows the first step, which has time; elsewhere the second was sent, and its time is up."""
    here = ServiceInMemory(defined=definition("reserve", step("charge", timeout_ms=1_000)))
    await _moved_on_elsewhere(here)
    here.now_ms += 1_000
    await here.process(TimerDue(SAGA_ID))
    assert here.store.sagas[SAGA_ID].steps[1].unanswered
    assert here.store.sagas[SAGA_ID].revision == 3


async def test_what_a_fresh_read_confirms_is_final(service: ServiceInMemory) -> None:
    await _moved_on_elsewhere(service)
    await service.process(success("charge", attempt=3))
    [letter] = service.store.dead_letters.values()
    assert letter.reason == "action 3 of step 'charge' was never sent (1 attempts were)"
    assert service.journal == ["load 1", "commit"]


async def test_an_old_copy_never_writes_over_what_another_replica_wrote(service: ServiceInMemory) -> None:
    await _moved_on_elsewhere(service)
    await service.process(success("reserve", entry_id="1801-0"), start(2))
    assert [line.event for line in service.store.history if line.saga_id == SAGA_ID] == ["started", "action_succeeded"]
    assert service.store.sagas[saga_id(2)].revision == 1


async def test_after_a_conflict_the_batch_is_read_afresh_and_written_once(
    service: ServiceInMemory,
) -> None:
    await service.process(start(1), start(2))
    await ServiceInMemory(service.store).process(success("reserve", 1, entry_id="1800-1"))
    service.store.journal = service.journal
    service.journal.clear()
    committed = await service.process(success("reserve", 1, entry_id="1801-1"), success("reserve", 2), malformed())
    assert service.journal == ["load 2", "commit"]
    assert [line.revision for line in service.store.history if line.saga_id == saga_id(1)] == [1, 2]
    assert [line.revision for line in service.store.history if line.saga_id == saga_id(2)] == [1, 2]
    assert streams_of(committed) == [NAMES.commands("service"), NAMES.dead_letters]
    assert len(service.store.dead_letters) == 1


async def test_copies_are_not_trusted_while_another_replica_is_at_work() -> None:
    other = ServiceInMemory()
    service = ServiceInMemory(other.store)
    await service.process(start(1), start(2))
    await other.process(success("reserve", 1))
    service.store.journal = service.journal
    await service.process(success("charge", 1, entry_id="1801-0"))
    service.journal.clear()

    service.now_ms += DISTRUST_MS - 1
    await service.process(success("reserve", 2, entry_id="1802-0"))
    assert service.journal == ["load 1", "commit"]

    service.now_ms += 1
    service.journal.clear()
    await service.process(success("charge", 2, entry_id="1803-0"))
    assert service.journal == ["commit"]


async def test_a_repeated_start_is_no_reason_to_distrust_the_copies(service: ServiceInMemory) -> None:
    await service.process(start(1), start(2))
    await service.process(start(1, entry_id="1701-0"))
    service.journal.clear()
    await service.process(success("reserve", 2))
    assert service.journal == ["commit"]


async def test_a_postgres_that_does_not_fit_ends_the_service_and_no_entry(service: ServiceInMemory) -> None:
    service.store.commit_faults.lasting = StoreBroken("no such function")
    with pytest.raises(StoreBroken):
        await service.take(start(1), start(2))
    assert service.publisher.messages == []
    assert service.publisher.acknowledged == []


async def test_a_conflict_that_comes_again_and_again_is_no_hot_loop(
    service: ServiceInMemory, backoffs: list[float]
) -> None:
    service.store.commit_faults.then(*[RevisionConflict()] * 6)
    await service.process(start())
    assert service.store.sagas.keys() == {SAGA_ID}
    assert len(backoffs) == 5, "the first costs no wait: an old copy explains it"


async def test_a_batch_waits_for_postgres_and_goes_through_once(
    service: ServiceInMemory, backoffs: list[float]
) -> None:
    service.store.commit_faults.then(*[StoreUnavailable("gone")] * 3)
    committed = await service.process(start())
    assert len(backoffs) == 3
    assert len(service.store.commits) == 1
    assert streams_of(committed) == [NAMES.commands("service")]


async def test_a_batch_waits_for_a_read_as_well(service: ServiceInMemory, backoffs: list[float]) -> None:
    await ServiceInMemory(service.store).process(start())
    service.store.load_faults.then(*[StoreUnavailable("gone")] * 2)
    await service.process(success("reserve"))
    assert len(backoffs) == 2
    assert service.store.sagas[SAGA_ID].revision == 2


@pytest.mark.usefixtures("backoffs")
async def test_an_unnoticed_commit_counts_once_and_the_relay_publishes_its_row(
    service: ServiceInMemory,
) -> None:
    """The link dies during the commit: nobody knows that everything was written."""
    service.store.after_commit_faults.then(StoreUnavailable("connection lost during commit"))
    committed = await service.process(start())
    assert [line.revision for line in service.store.history] == [1]
    assert committed.messages == []
    assert committed.handled == {NAMES.events: ["1700-1"]}
    assert list(service.store.outbox) == [1]
    assert not service.outbox.is_under_way(1)


async def test_published_rows_are_deleted_by_the_next_commit(service: ServiceInMemory) -> None:
    await service.take(start(1))
    assert list(service.store.outbox) == [1]
    assert not service.outbox.is_under_way(1)
    await service.take(start(2))
    assert list(service.store.outbox) == [2]


@pytest.mark.usefixtures("backoffs")
async def test_published_rows_are_given_back_by_a_commit_that_failed(service: ServiceInMemory) -> None:
    await service.take(start(1))
    service.store.commit_faults.then(StoreUnavailable("gone"), RevisionConflict(), StoreUnavailable("gone"))
    await service.take(start(2))
    assert list(service.store.outbox) == [2]


async def test_a_batch_with_nothing_to_write_leaves_the_published_rows_to_others(service: ServiceInMemory) -> None:
    await service.take(start(1))
    await service.take(start(1, "2-0"))
    assert service.outbox.take_published() == [1]


async def test_messages_are_originals_of_the_run_of_redis_that_was_known_before_their_commit(
    service: ServiceInMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit, publish, told = service.store.commit, service.publisher.publish, []

    async def restarting(batch: Batch) -> int | None:
        service.publisher.server_id = "after"
        return await commit(batch)

    async def watched(
        messages: Sequence[Message], handled: Iterable[tuple[str, Sequence[str]]], server_before: str | None = None
    ) -> list[Message]:
        told.append(server_before)
        return await publish(messages, handled)

    monkeypatch.setattr(service.store, "commit", restarting)
    monkeypatch.setattr(service.publisher, "publish", watched)
    service.publisher.server_id = "before"
    await service.take(start())
    assert told == ["before"]


async def test_a_row_is_under_way_while_its_lane_publishes_it_and_no_longer(
    service: ServiceInMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish, under_way = service.publisher.publish, []

    async def watched(
        messages: Sequence[Message], handled: Iterable[tuple[str, Sequence[str]]], server_before: str | None = None
    ) -> list[Message]:
        under_way.append(service.outbox.is_under_way(1))
        return await publish(messages, handled)

    monkeypatch.setattr(service.publisher, "publish", watched)
    await service.take(start())
    assert (under_way, service.outbox.is_under_way(1)) == ([True], False)


async def test_a_log_processor_that_raises_loses_no_message(service: ServiceInMemory) -> None:
    """What is committed is published, whether or not it can be logged."""
    reported: list[dict[str, Any]] = []  # Any: what the loop says of an error
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))

    def raising(*_: object) -> MutableMapping[str, Any]:
        raise ValueError("a field that this processor does not know")

    structlog.configure(processors=[raising])
    await service.take(malformed(), start())
    assert [message.stream for message in service.publisher.messages] == [
        NAMES.commands("service"),
        NAMES.dead_letters,
    ]
    assert [entry_id for _, entry_id in service.publisher.acknowledged] == ["1900-0", "1700-1"]
    assert len(service.store.commits) == 1, "nothing was tried again"
    assert not service.outbox.is_under_way(1)
    assert [str(context["exception"]) for context in reported] == ["a field that this processor does not know"]


async def test_what_is_in_flight_is_sent_again_under_the_same_id(service: ServiceInMemory) -> None:
    first = await service.process(start())
    again = await service.process(resend())
    assert again.messages == first.messages
    assert again.handled == {}
    assert [line.revision for line in service.store.history] == [1]


async def test_a_row_whose_publisher_failed_is_the_relays_again() -> None:
    service = ServiceInMemory()
    service.publisher.faults.then(RuntimeError("a bug"))
    with pytest.raises(RuntimeError):
        await service.take(start())
    assert not service.outbox.is_under_way(1)
    assert service.outbox.take_published() == []
    assert list(service.store.outbox) == [1]


async def test_a_row_of_which_redis_refused_a_part_stays_in_the_outbox(service: ServiceInMemory) -> None:
    refused = Message("saga:commands:service", ("n", "1"))
    service.publisher.refused = [refused]
    await service.take(start())
    assert not service.outbox.is_under_way(1)
    assert service.outbox.take_published() == []
    assert service.outbox.take_refused() == {1: [refused]}


async def test_a_lane_tells_the_timers_what_is_expected_before_it_publishes(service: ServiceInMemory) -> None:
    intake = Intake(BATCH_BYTES_MAX, Shutdown())
    intake.inlet(1).put([start()])
    intake.drained.request()
    lane = Lane(
        intake,
        service.engine,
        service.publisher,
        service.outbox,
        10,
        lambda wake_at_ms: service.journal.append(f"expect {wake_at_ms - START_MS}"),
    )
    await lane.run()
    assert service.journal[:2] == ["commit", f"expect {TIMEOUT_MS}"]


async def test_a_lane_ends_when_the_intake_is_closed_and_empty(service: ServiceInMemory) -> None:
    intake = Intake(BATCH_BYTES_MAX, Shutdown())
    inlet = intake.inlet(10)
    inlet.put([start(1), start(2), start(3)])
    intake.drained.request()
    await Lane(intake, service.engine, service.publisher, service.outbox, 2, lambda _: None).run()
    assert len(service.store.commits) == 2
    assert len(service.publisher.acknowledged) == 3
    await turns(1)
