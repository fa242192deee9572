"""The failure path of a batch: every cell of the table, and what its remedies come to."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from saga_service.core.events import TimerDue
from saga_service.core.ids import command_id
from saga_service.core.vocabulary import Direction, Operation
from saga_service.engine.batch import BatchDecoder, Item
from saga_service.engine.deferral import SLOW_PAUSE_MS_MAX, SLOW_PAUSE_MS_MIN, SLOW_SAGA_REMEMBERED_MS
from saga_service.engine.failures import (
    RACES_MAX,
    REMEDIES,
    STATEMENT_FAILURES,
    Failure,
    Place,
    Remedy,
    RequestsAnswered,
    RequestsOutOfOrder,
    RevisionConflict,
    StoreBroken,
    StoreConflict,
    StoreDenied,
    StoreFailed,
    StoreRefused,
    StoreTimedOut,
    StoreUnavailable,
    failure_of,
)
from saga_service.engine.ports import Batch
from saga_service.wire.dead_letters import dead_letter, write_dead_letter
from saga_service.wire.encryption import UnknownKey
from saga_service.wire.entries import Entry, RequestRow
from saga_service.wire.replies import write_success
from saga_service.wire.transport import OWN_TYPES_PREFIX, REQUESTS
from tests.support.builders import SAGA_ID, START_MS, TIMEOUT_MS, delivered, entry
from tests.support.fakes import NAMES, FaultyStore, ServiceInMemory, backoffs, saga_id, start

__all__ = ["backoffs"]

DRAWN = """
                                             | together    | alone       | again       | deferral   | of a row   | letter     | bare letter
postgres is away                             | wait        | wait        | wait        | wait       | wait       | wait       | wait
postgres lets us in no more                  | wait        | wait        | wait        | wait       | wait       | wait       | wait
a statement failed, for the first time       | wait        | wait        | wait        | wait       | wait       | wait       | wait
a statement timed out                        | halve       | defer       | defer       | wait       | leave      | defer      | defer
postgres met an internal error               | halve       | defer       | defer       | wait       | leave      | defer      | defer
another transaction was in the way           | read afresh | read afresh | read afresh | read afresh| read afresh| read afresh| read afresh
another replica was quicker                  | read afresh | read afresh | read afresh | read afresh| read afresh| read afresh| read afresh
another replica was quicker again and again  | halve       | defer       | defer       | wait       | leave      | defer      | defer
a request was answered meanwhile             | without requests | without requests | without requests | without requests | without requests | without requests | without requests
an earlier request of the saga is open       | put back    | put back    | put back    | put back   | put back   | put back   | put back
the data is refused                          | halve       | quarantine  | quarantine  | quarantine | quarantine | drop the fields | end
an internal error                            | halve       | try again   | quarantine  | quarantine | quarantine | drop the fields | end
postgres does not fit this release           | end         | end         | end         | end        | end        | end        | end
"""  # noqa: E501
CELLS = {
    (Failure(name), place): Remedy(remedy)
    for name, *remedies in ([part.strip() for part in line.split("|")] for line in DRAWN.strip().splitlines()[1:])
    for place, remedy in zip(Place, remedies, strict=True)
}

ERRORS: dict[Failure, list[Exception]] = {
    Failure.OUTAGE: [StoreUnavailable("gone")],
    Failure.DENIED: [StoreDenied("password authentication failed")],
    Failure.SUSPECTED: [StoreTimedOut("statement timeout"), StoreTimedOut("lock timeout")],
    Failure.TIMED_OUT: [StoreTimedOut("lock timeout")],
    Failure.INTERNAL: [StoreFailed("tuple concurrently updated")],
    Failure.CONFLICT: [StoreConflict("could not serialize access")],
    Failure.LOST_RACE: [RevisionConflict()],
    Failure.CONTENDED: [RevisionConflict() for _ in range(RACES_MAX)],
    Failure.ANSWERED: [RequestsAnswered()],
    Failure.OUT_OF_ORDER: [RequestsOutOfOrder()],
    Failure.REFUSED: [StoreRefused("a NUL")],
    Failure.BUG: [ZeroDivisionError("a bug")],
    Failure.BROKEN: [StoreBroken("no such function")],
}
"""What the store raises, one commit after the other, for it to be this failure."""
NOT_BY_THEMSELVES = (Failure.SUSPECTED, Failure.CONTENDED)
"""Failures that no error is by itself: they follow from what happened before."""

WAYS_THERE: dict[Place, list[Exception]] = {
    Place.TOGETHER: [],
    Place.ALONE: [],
    Place.ALONE_AGAIN: [ZeroDivisionError("a bug")],
    Place.DEFERRAL: [StoreTimedOut("lock timeout"), StoreTimedOut("lock timeout")],
    Place.DEFERRAL_OF_ROW: [StoreTimedOut("lock timeout"), StoreTimedOut("lock timeout")],
    Place.DEAD_LETTER: [StoreRefused("a NUL")],
    Place.BARE_DEAD_LETTER: [StoreRefused("a NUL"), StoreRefused("too large")],
}
"""What the store raises before, for it to happen there."""

CARRIED_OUT, DEFERRED, DEAD_LETTER, BARE, NOTHING = "carried out", "deferred", "a dead letter", "a bare one", "nothing"
OUTCOMES: dict[Place, str] = {
    Place.TOGETHER: CARRIED_OUT,
    Place.ALONE: CARRIED_OUT,
    Place.ALONE_AGAIN: CARRIED_OUT,
    Place.DEFERRAL: DEFERRED,
    Place.DEFERRAL_OF_ROW: DEFERRED,
    Place.DEAD_LETTER: DEAD_LETTER,
    Place.BARE_DEAD_LETTER: BARE,
}
"""What becomes of an item that is tried on where it is."""
CHANGES: dict[Remedy, str] = {
    Remedy.DEFER: DEFERRED,
    Remedy.LEAVE: NOTHING,
    Remedy.QUARANTINE: DEAD_LETTER,
    Remedy.DROP_FIELDS: BARE,
}
"""What becomes of it by a remedy that moves it elsewhere."""


@pytest.fixture
def service() -> ServiceInMemory:
    return ServiceInMemory()


def a_request(number: int = 7) -> Entry:
    fields = {"type": f"{OWN_TYPES_PREFIX}{Operation.PAUSE}", "saga_id": saga_id(), "actor": "ann"}
    row = RequestRow(number, START_MS, 1)
    return Entry(REQUESTS, str(number), {name.encode(): value.encode() for name, value in fields.items()}, request=row)


def test_the_table_is_the_one_that_is_drawn() -> None:
    assert {(failure, place): REMEDIES[failure][place] for failure in Failure for place in Place} == CELLS


@pytest.mark.usefixtures("backoffs")
@pytest.mark.parametrize(("failure", "place"), CELLS, ids=lambda each: each.name.lower())
async def test_what_is_done_is_what_the_table_says(service: ServiceInMemory, failure: Failure, place: Place) -> None:
    remedy = CELLS[failure, place]
    store, item = service.store, start()
    if place is Place.DEFERRAL_OF_ROW:
        await service.process(start())
        item = a_request()
    way, errors = WAYS_THERE[place], ERRORS[failure]
    if failure in STATEMENT_FAILURES and place in (Place.TOGETHER, Place.ALONE):
        # A batch as it came is tried whole once more.
        errors = errors * 2
    if failure is Failure.SUSPECTED:
        # At the end of an outage.
        store.probe_faults.then(*(None for error in way if isinstance(error, StoreTimedOut)), StoreUnavailable("gone"))
    store.commit_faults.then(*way, *errors)
    items = [item, start(2)] if place is Place.TOGETHER else [item]
    with capture_logs() as logs:
        if remedy is Remedy.END:
            with pytest.raises(type(ERRORS[failure][0])):
                await service.process_apart(*items)
        else:
            await service.process_apart(*items)
    logged = [line["failure"] for line in logs if "failure" in line]
    if failure not in (Failure.LOST_RACE, Failure.CONFLICT):
        # A first lost race is not worth a line.
        assert failure.value in logged
    if remedy is Remedy.END:
        assert not service.publisher.acknowledged
        return
    outcome = CHANGES.get(remedy, OUTCOMES[place])
    if place is Place.DEFERRAL_OF_ROW and remedy is Remedy.WITHOUT_REQUESTS:
        outcome = NOTHING
    assert _outcome(store, item) == outcome
    if place is Place.TOGETHER:
        assert saga_id(2) in store.sagas


def _outcome(store: FaultyStore, item: Entry) -> str:
    if store.deferred:
        [deferred] = store.deferred.values()
        assert deferred.entry.id == item.id
        return DEFERRED
    if store.dead_letters:
        [letter] = store.dead_letters.values()
        assert (letter.stream, letter.entry_id) == (item.stream, item.id)
        return BARE if "its fields could not be kept" in letter.reason else DEAD_LETTER
    return CARRIED_OUT if item.stream == NAMES.events and saga_id() in store.sagas else NOTHING


@pytest.mark.parametrize(
    ("error", "failure"),
    [
        *((errors[0], failure) for failure, errors in ERRORS.items() if failure not in NOT_BY_THEMSELVES),
        (UnknownKey("the key 'lost' is not known here"), Failure.REFUSED),
    ],
)
def test_every_error_has_its_row(error: Exception, failure: Failure) -> None:
    assert failure_of(error, lost_races=1) is failure


def lock(store: FaultyStore, *numbers: int) -> None:
    """Somebody keeps the rows of these sagas locked."""
    locked = {saga_id(number) for number in numbers}
    store.times_out = lambda batch: any(write.state.id in locked for write in batch.writes)


def unlock(store: FaultyStore) -> None:
    store.times_out = lambda _: False


class TickingService(ServiceInMemory):
    """A service whose clock goes on by a millisecond whenever it is read."""

    def _clock_ms(self) -> int:
        self.now_ms += 1
        return self.now_ms


async def with_sagas(count: int, *, deferral_max_ms: int = 0) -> ServiceInMemory:
    service = ServiceInMemory(deferral_max_ms=deferral_max_ms)
    await service.process(*map(start, range(1, count + 1)))
    service.journal.clear()
    return service


def reply(number: int, step: str = "reserve", attempt: int = 1) -> Entry:
    command = command_id(saga_id(number), step, Direction.ACTION, attempt)
    return delivered(write_success(NAMES.replies, command, saga_id(number), {"by": step}), f"18{number:02}-{attempt}")


def revisions(service: ServiceInMemory, count: int) -> list[int]:
    return [service.store.sagas[saga_id(number)].revision for number in range(1, count + 1)]


def due(store: FaultyStore) -> list[Entry]:
    return [deferred.entry for deferred in store.deferred.values()]


async def test_one_locked_row_delays_its_saga_alone_and_makes_no_dead_letter() -> None:
    service = await with_sagas(8)
    lock(service.store, 3)
    committed = await service.process_apart(*map(reply, range(1, 9)))
    assert revisions(service, 8) == [2, 2, 1, 2, 2, 2, 2, 2]
    assert [entry.id for entry in due(service.store)] == ["1803-1"]
    assert not service.store.dead_letters
    handled = [entry_id for one in committed for entry_id in one.handled[NAMES.replies]]
    assert sorted(handled) == [f"180{number}-1" for number in range(1, 9)], "what is kept in Postgres is off the stream"


async def test_an_entry_of_a_locked_saga_is_carried_out_when_the_lock_is_gone() -> None:
    service = await with_sagas(2)
    lock(service.store, 1)
    await service.process_apart(reply(1), reply(2))
    unlock(service.store)
    service.now_ms += SLOW_PAUSE_MS_MIN
    await service.process_apart(*due(service.store))
    assert (revisions(service, 2), service.store.deferred) == ([2, 2], {})


async def test_a_locked_saga_is_tried_less_and_less_often_and_never_given_up(service: ServiceInMemory) -> None:
    service = await with_sagas(1, deferral_max_ms=1_000)
    lock(service.store, 1)
    await service.process_apart(reply(1))
    pauses_ms = []
    for _ in range(20):
        [deferred] = service.store.deferred.values()
        pauses_ms.append(deferred.due_at_ms - service.now_ms)
        service.now_ms = deferred.due_at_ms
        await service.process_apart(deferred.entry)
    assert pauses_ms == sorted(pauses_ms)
    assert (pauses_ms[0], pauses_ms[-1]) == (SLOW_PAUSE_MS_MIN, SLOW_PAUSE_MS_MAX)
    assert not service.store.dead_letters


async def test_what_else_comes_for_a_locked_saga_waits_with_it_untried() -> None:
    """Each entry tried would cost one more time-out, and entries of one saga keep their order."""
    service = await with_sagas(4)
    lock(service.store, 1)
    await service.process_apart(reply(1), reply(2))
    service.journal.clear()
    await service.process_apart(reply(1, attempt=2), reply(3))
    assert (service.journal.count("time out"), revisions(service, 4)) == (0, [1, 2, 2, 1])
    assert [entry.id for entry in due(service.store)] == ["1801-1", "1801-2"]
    assert len({deferred.due_at_ms for deferred in service.store.deferred.values()}) == 1


async def test_entries_of_a_locked_saga_are_due_at_one_moment_though_time_passes() -> None:
    """The first to fail must not be due after those that wait for it."""
    ticking = TickingService()
    await ticking.process(start())
    lock(ticking.store, 1)
    await ticking.process_apart(reply(1), reply(1, attempt=2))
    assert [entry.id for entry in due(ticking.store)] == ["1801-1", "1801-2"]
    assert len({deferred.due_at_ms for deferred in ticking.store.deferred.values()}) == 1


async def test_a_locked_saga_costs_others_one_time_out_at_each_attempt() -> None:
    service = await with_sagas(8)
    lock(service.store, 1)
    await service.process_apart(reply(1))
    service.now_ms += SLOW_PAUSE_MS_MIN
    service.journal.clear()
    await service.process_apart(*due(service.store), *map(reply, range(2, 9)))
    assert revisions(service, 8) == [1, *[2] * 7]
    assert service.journal == ["commit", "time out", "probe", "commit"], "the others go first, and together"


async def test_a_saga_whose_lock_is_gone_is_tried_together_with_others_again() -> None:
    service = await with_sagas(2)
    lock(service.store, 1)
    await service.process_apart(reply(1))
    unlock(service.store)
    service.now_ms += SLOW_PAUSE_MS_MIN
    await service.process_apart(*due(service.store))
    await service.process(reply(1, "charge"), reply(2))
    assert revisions(service, 2) == [3, 2]


async def test_a_locked_saga_that_another_replica_went_on_with_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every batch has a look at each of its items as long as any saga is slow."""
    service = await with_sagas(2)
    lock(service.store, 1)
    await service.process_apart(reply(1))
    unlock(service.store)
    service.now_ms += SLOW_PAUSE_MS_MIN + SLOW_SAGA_REMEMBERED_MS
    looked_at: list[Item] = []
    monkeypatch.setattr(BatchDecoder, "saga_of", lambda _, item: looked_at.append(item))
    await service.process(reply(1, attempt=2), reply(2))
    assert looked_at == []


async def test_a_timer_of_a_locked_saga_is_left_to_its_lease() -> None:
    service = await with_sagas(1)
    lock(service.store, 1)
    service.now_ms += TIMEOUT_MS
    assert await service.process_apart(TimerDue(SAGA_ID)) == []
    assert (service.store.deferred, service.store.dead_letters) == ({}, {})


async def test_a_locked_request_is_left_to_its_lease_and_holds_up_nobody() -> None:
    """The row that would be deferred is the locked one."""
    service = await with_sagas(2)
    service.store.times_out = lambda batch: bool(batch.results or batch.deferred)
    await service.process_apart(a_request(), reply(2))
    assert (revisions(service, 2), service.store.results, service.store.deferred) == ([1, 2], {}, {})


async def test_a_workers_dead_letter_that_was_deferred_goes_into_the_table_once(service: ServiceInMemory) -> None:
    letter = dead_letter(entry({"id": "?"}, "saga:commands:service", "5-0"), "not a command", START_MS)
    service.store.commit_faults.then(*[StoreTimedOut("lock timeout")] * 2)
    await service.process_apart(delivered(write_dead_letter(letter, NAMES), "6-0"))
    [kept] = due(service.store)
    await service.process(kept)
    assert service.store.deferred == {}, "it has its result"
    assert list(service.store.dead_letters) == [("saga:commands:service", "5-0")]


@pytest.mark.parametrize("probed", [StoreTimedOut("lock timeout"), StoreUnavailable("gone")])
async def test_a_postgres_in_which_every_statement_times_out_is_waited_out(
    backoffs: list[float], probed: Exception
) -> None:
    service = await with_sagas(4)
    service.store.commit_faults.then(*[StoreTimedOut("statement timeout")] * 30)
    service.store.probe_faults.then(*[probed] * 30)
    committed = await service.process_apart(*map(reply, range(1, 5)))
    assert len(committed) == 1, "the batch was not taken apart"
    assert (len(backoffs), revisions(service, 4)) == (30, [2, 2, 2, 2])
    assert (service.store.deferred, service.store.dead_letters) == ({}, {})


async def test_an_outage_that_ends_just_before_the_probe_takes_no_batch_apart(backoffs: list[float]) -> None:
    service = await with_sagas(4)
    service.store.commit_faults.then(*[StoreTimedOut("statement timeout")] * 3)
    service.store.probe_faults.then(StoreTimedOut("lock timeout"), None, StoreTimedOut("lock timeout"))
    committed = await service.process_apart(*map(reply, range(1, 5)))
    assert (len(committed), len(backoffs), revisions(service, 4)) == (1, 3, [2, 2, 2, 2])


async def test_a_read_that_times_out_is_a_statement_like_any_other() -> None:
    store = (await with_sagas(2)).store
    service = ServiceInMemory(store)
    store.load_faults.then(*[StoreTimedOut("statement timeout")] * 3)
    await service.process_apart(reply(1), reply(2))
    assert (revisions(service, 2), [entry.id for entry in due(store)]) == ([1, 2], ["1801-1"])


@pytest.mark.parametrize("lost", [RevisionConflict("hot"), StoreConflict("could not serialize access")], ids=repr)
async def test_a_saga_that_loses_every_race_holds_up_no_other(backoffs: list[float], lost: Exception) -> None:
    service = await with_sagas(4)
    hot = saga_id(2)

    def loses(batch: Batch) -> bool:
        if any(write.state.id == hot for write in batch.writes):
            raise lost
        return False

    service.store.refuses = loses
    with capture_logs() as logs:
        await service.process_apart(*map(reply, range(1, 5)))
    assert revisions(service, 4) == [2, 1, 2, 2]
    assert [entry.id for entry in due(service.store)] == ["1802-1"]
    assert len(backoffs) < 4 * RACES_MAX, "a bound"
    logged = [line for line in logs if line.get("failure") == Failure.CONTENDED]
    assert [line["log_level"] for line in logged] == ["warning"] * len(logged)
    assert logged[-1]["lost_races"] == RACES_MAX
