"""The loops beside the stream: the relay, the recovery after a loss, the upkeep."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence

import pytest
import structlog

from saga_service.core.events import TransportLost
from saga_service.core.ids import SagaId
from saga_service.engine.errors import StoreUnavailable
from saga_service.engine.outbox import OutboxRows
from saga_service.engine.ports import StreamLost, TransportUnavailable
from saga_service.runtime.intake import Intake
from saga_service.runtime.maintenance import Maintenance
from saga_service.runtime.recovery import Recovery
from saga_service.runtime.relay import ROWS_MAX, Relay
from saga_service.runtime.shutdown import Shutdown
from saga_service.wire.entries import Message
from tests.support.fakes import BATCH_BYTES_MAX, Faults, MemoryPublisher, PausesThatPass, turns

GONE = StoreUnavailable("gone")

# --------------------------------------------------------------------------------------------------------------- relay


class LeftBehind:
    """An outbox whose claims find what they were told to find."""

    def __init__(self) -> None:
        self.claims: deque[list[int]] = deque()
        self.claimed_with: list[tuple[int, int, int]] = []
        self.forgotten: list[int] = []
        self.request: dict[int, list[Message]] = {}
        self.claim_faults = Faults()
        self.forget_faults = Faults()

    async def claim_unpublished(self, now_ms: int, older_than_ms: int, limit: int) -> list[tuple[int, list[Message]]]:
        self.claimed_with.append((now_ms, older_than_ms, limit))
        self.claim_faults.strike()
        rows = self.claims.popleft() if self.claims else []
        return [(row, [Message("saga:outcomes", ("row", str(row)))]) for row in rows]

    async def forget_published(self, ids: Sequence[int]) -> None:
        self.forget_faults.strike()
        self.forgotten.extend(ids)

    async def keep_unpublished(self, outbox_id: int, messages: Sequence[Message]) -> None:
        self.request[outbox_id] = list(messages)


class Relaying:
    def __init__(self, pauses_max: int = 1) -> None:
        self.shutdown = PausesThatPass(pauses_max)
        self.outbox = LeftBehind()
        self.rows = OutboxRows()
        self.publisher = MemoryPublisher()
        self.relay = Relay(
            self.outbox,
            self.rows,
            self.publisher,
            lease_ms=5_000,
            period_s=1.0,
            now_ms=lambda: 70_000,
            shutdown=self.shutdown,
        )

    async def run(self) -> None:
        async with asyncio.timeout(10):
            await self.relay.run()

    @property
    def published(self) -> list[str]:
        return [message.fields[1] for message in self.publisher.messages]


@pytest.fixture
def relaying() -> Relaying:
    return Relaying()


async def test_rows_that_were_left_behind_are_published_and_forgotten(relaying: Relaying) -> None:
    relaying.outbox.claims.append([1, 2])
    await relaying.run()
    assert relaying.published == ["1", "2"]
    assert relaying.outbox.forgotten == [1, 2]
    assert relaying.outbox.claimed_with == [(70_000, 5_000, ROWS_MAX)]


async def test_rows_under_way_here_are_left_to_whoever_publishes_them(relaying: Relaying) -> None:
    relaying.rows.begin(1)
    relaying.outbox.claims.append([1, 2])
    await relaying.run()
    assert relaying.published == ["2"]
    assert relaying.outbox.forgotten == [2]


REFUSED = Message("saga:commands:broken", ("n", "1"))


async def test_of_a_row_that_redis_refuses_in_part_only_that_part_stays(relaying: Relaying) -> None:
    relaying.publisher.refused = [REFUSED]
    relaying.outbox.claims.append([1])
    await relaying.run()
    assert relaying.outbox.forgotten == []
    assert relaying.outbox.request == {1: [REFUSED]}


async def test_what_a_lane_was_refused_is_noted_so_that_the_rest_is_not_added_again(relaying: Relaying) -> None:
    relaying.rows.begin(7)
    relaying.rows.end(7, [REFUSED])
    await relaying.run()
    assert relaying.outbox.request == {7: [REFUSED]}
    assert relaying.outbox.forgotten == []


async def test_a_row_whose_publishing_was_cut_off_is_neither_forgotten_nor_reduced(relaying: Relaying) -> None:
    relaying.rows.begin(7)
    relaying.rows.end(7, None)
    await relaying.run()
    assert not relaying.rows.is_under_way(7)
    assert (relaying.outbox.request, relaying.outbox.forgotten) == ({}, [])


async def test_many_rows_are_published_without_a_pause_between(relaying: Relaying) -> None:
    relaying.outbox.claims.extend([list(range(ROWS_MAX)), list(range(ROWS_MAX, 2 * ROWS_MAX)), []])
    await relaying.run()
    assert len(relaying.published) == 2 * ROWS_MAX
    assert len(relaying.shutdown.pauses_s) == 1


async def test_published_rows_are_deleted_while_nothing_else_happens(relaying: Relaying) -> None:
    relaying.rows.begin(7)
    relaying.rows.end(7, [])
    await relaying.run()
    assert relaying.outbox.forgotten == [7]
    assert relaying.rows.take_published() == []


async def test_postgres_away_costs_no_row_and_ends_no_loop() -> None:
    relaying = Relaying(pauses_max=4)
    relaying.rows.end(7, [])
    relaying.outbox.forget_faults.then(GONE)
    relaying.outbox.claim_faults.then(GONE)
    relaying.outbox.claims.append([8])
    await relaying.run()
    assert relaying.outbox.forgotten == [7, 8]
    assert relaying.published == ["8"]


async def test_a_row_that_was_published_but_could_not_be_forgotten_is_found_again() -> None:
    """It is published twice, which workers tolerate; never is one forgotten that was not published."""
    relaying = Relaying(pauses_max=2)
    relaying.outbox.claims.extend([[1], [1]])
    relaying.outbox.forget_faults.then(GONE)
    await relaying.run()
    assert relaying.published == ["1", "1"]
    assert relaying.outbox.forgotten == [1]


# ------------------------------------------------------------------------------------------------------------ recovery


class Pages:
    """Sagas in flight, by id."""

    def __init__(self, count: int) -> None:
        self.saga_ids = [SagaId(f"saga-{number:05}") for number in range(count)]
        self.pages: list[tuple[str | None, int]] = []
        self.faults = Faults()

    async def in_flight(self, after_id: SagaId | None, limit: int) -> list[SagaId]:
        self.pages.append((after_id, limit))
        await asyncio.sleep(0)
        self.faults.strike()
        return [saga_id for saga_id in self.saga_ids if after_id is None or saga_id > after_id][:limit]


class Recovering:
    def __init__(self, sagas: int, shutdown: Shutdown | None = None, inlet_max: int = 10) -> None:
        self.shutdown = Shutdown() if shutdown is None else shutdown
        self.pages = Pages(sagas)
        self.intake = Intake(BATCH_BYTES_MAX)
        self.recovery = Recovery(self.pages, self.intake.inlet(inlet_max), self.shutdown)
        self.sent: list[str] = []

    async def run_until(self, sagas: int) -> None:
        """Run beside a lane until so many were sent again, then stop; fails where it does not end."""
        async with asyncio.timeout(10), asyncio.TaskGroup() as group:
            group.create_task(self.recovery.run())
            while len(self.sent) < sagas:
                items = await self.intake.take(7)
                self.sent.extend(item.saga_id for item in items if isinstance(item, TransportLost))
            await turns(50)
            self.stop()

    def stop(self) -> None:
        self.shutdown.say()
        self.intake.fill_no_more()
        self.recovery.let_go()


async def test_every_saga_in_flight_is_sent_again_once_page_by_page() -> None:
    recovering = Recovering(sagas=45)
    recovering.recovery.transport_lost()
    await recovering.run_until(45)
    assert recovering.sent == recovering.pages.saga_ids
    assert len(recovering.pages.pages) > 4


async def test_nothing_is_sent_while_nothing_was_lost() -> None:
    recovering = Recovering(sagas=5)
    await recovering.run_until(0)
    assert recovering.pages.pages == []


async def test_several_losses_before_the_first_is_attended_to_count_once() -> None:
    recovering = Recovering(sagas=5)
    for _ in range(3):
        recovering.recovery.transport_lost()
    await recovering.run_until(5)
    assert recovering.sent == recovering.pages.saga_ids


async def test_a_loss_in_the_middle_of_a_recovery_is_followed_by_another() -> None:
    recovering = Recovering(sagas=15)
    recovering.recovery.transport_lost()
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        group.create_task(recovering.recovery.run())
        sent = [*await recovering.intake.take(5)]
        recovering.recovery.transport_lost()
        while len(sent) < 30:
            sent += await recovering.intake.take(5)
        recovering.stop()
    assert len(sent) == 30


async def test_a_recovery_waits_for_postgres_and_forgets_nobody() -> None:
    recovering = Recovering(sagas=25, shutdown=PausesThatPass(pauses_max=100))
    recovering.pages.faults.then(GONE, None, GONE, GONE)
    recovering.recovery.transport_lost()
    await recovering.run_until(25)
    assert recovering.sent == recovering.pages.saga_ids


async def test_the_first_wait_of_the_next_outage_is_short_again() -> None:
    pauses = PausesThatPass(pauses_max=100)
    recovering = Recovering(sagas=25, shutdown=pauses)
    recovering.pages.faults.then(*[GONE] * 8, None, GONE)
    recovering.recovery.transport_lost()
    await recovering.run_until(25)
    assert pauses.pauses_s[7] > 1
    assert pauses.pauses_s[8] <= 0.05


async def test_a_recovery_ends_in_the_middle_when_it_is_time_to_stop() -> None:
    recovering = Recovering(sagas=1_000, inlet_max=2)
    recovering.recovery.transport_lost()
    running = asyncio.create_task(recovering.recovery.run())
    await recovering.intake.take(1)
    recovering.stop()
    async with asyncio.timeout(10):
        await running


async def test_a_recovery_that_waits_for_postgres_ends_when_it_is_time_to_stop() -> None:
    recovering = Recovering(sagas=5)
    recovering.pages.faults.lasting = GONE
    recovering.recovery._backoff.attempts = 30
    recovering.recovery.transport_lost()
    running = asyncio.create_task(recovering.recovery.run())
    await turns()
    recovering.stop()
    async with asyncio.timeout(10):
        await running


# -------------------------------------------------------------------------------------------------------------- upkeep


class Chores:
    def __init__(self, *faults: Exception | None) -> None:
        self.done: list[int] = []
        self.tasks = [self._chore(number, fault) for number, fault in enumerate(faults)]

    def _chore(self, number: int, fault: Exception | None):  # type: ignore[no-untyped-def]  # a task of the upkeep
        async def chore() -> None:
            self.done.append(number)
            if fault is not None:
                raise fault

        return chore


@pytest.mark.parametrize(
    ("fault", "level"),
    [
        (TransportUnavailable("away"), "warning"),
        (StoreUnavailable("away"), "warning"),
        (StreamLost("gone"), "warning"),
        (ValueError("WRONGTYPE"), "error"),
        (KeyError("a bug"), "error"),
    ],
)
async def test_a_chore_that_fails_keeps_neither_the_others_nor_the_sagas_from_their_turn(
    fault: Exception, level: str
) -> None:
    chores = Chores(fault, None)
    with structlog.testing.capture_logs() as logs:
        await Maintenance(chores.tasks, 10.0, PausesThatPass(pauses_max=3)).run()
    assert chores.done == [0, 1, 0, 1]
    assert [line["log_level"] for line in logs] == [level] * 2


async def test_chores_are_done_once_in_a_period_with_jitter() -> None:
    shutdown = PausesThatPass(pauses_max=20)
    chores = Chores(None)
    await Maintenance(chores.tasks, 10.0, shutdown).run()
    assert len(chores.done) == 19
    assert all(7.5 <= pause_s <= 12.5 for pause_s in shutdown.pauses_s)
    assert len(set(shutdown.pauses_s)) > 10


# ------------------------------------------------------------------------------------------------------------ stopping


async def test_a_pause_that_nobody_interrupts_takes_its_time() -> None:
    shutdown = Shutdown()
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    await shutdown.pause(0.02)
    assert loop.time() - began_s >= 0.02 * 0.9
    assert not shutdown


async def test_a_pause_is_over_when_stopping_is_said_and_stopping_can_be_said_again() -> None:
    shutdown = Shutdown()
    pause = asyncio.create_task(shutdown.pause(3_600))
    await turns()
    shutdown.say()
    shutdown.say()
    async with asyncio.timeout(10):
        await pause
        await shutdown.pause(3_600)
        await shutdown.wait()
    assert shutdown


async def test_a_cancelled_pause_is_cancelled() -> None:
    pause = asyncio.create_task(Shutdown().pause(3_600))
    await turns()
    pause.cancel()
    with pytest.raises(asyncio.CancelledError):
        await pause
