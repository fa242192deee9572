"""Recovery after a loss: every saga in flight is sent again, once for losses that come together."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from saga_service.base.lifecycle import Milestone, Shutdown
from saga_service.core.events import TransportLost
from saga_service.core.ids import SagaId
from saga_service.engine.failures import StoreUnavailable
from saga_service.runtime.intake import Intake
from saga_service.runtime.recovery import LOSSES_GATHERED_S, Recovery
from tests.support.fakes import BATCH_BYTES_MAX, Faults, PausesThatPass

GONE = StoreUnavailable("gone")


class Pages:
    """Sagas in flight, by id."""

    def __init__(self, count: int) -> None:
        self.saga_ids = [SagaId(f"saga-{number:05}") for number in range(count)]
        self.pages: list[tuple[str | None, int]] = []
        self.faults = Faults()
        self.asked = Milestone()

    async def in_flight(self, after_id: SagaId | None, limit: int) -> list[SagaId]:
        self.pages.append((after_id, limit))
        self.asked.reached()
        await asyncio.sleep(0)
        self.faults.strike()
        return [saga_id for saga_id in self.saga_ids if after_id is None or saga_id > after_id][:limit]


class Gathering(PausesThatPass):
    """Another loss is reported during each pause."""

    def __init__(self) -> None:
        super().__init__(pauses_max=100)
        self.meanwhile: Callable[[], None] = lambda: None

    async def pause(self, seconds: float) -> None:
        self.meanwhile()
        await super().pause(seconds)


class Recovering:
    def __init__(self, sagas: int, shutdown: Shutdown | None = None, inlet_max: int = 10) -> None:
        self.shutdown = PausesThatPass(pauses_max=100) if shutdown is None else shutdown
        self.pages = Pages(sagas)
        self.intake = Intake(BATCH_BYTES_MAX, self.shutdown)
        self.recovery = Recovery(self.pages, self.intake.inlet(inlet_max), self.shutdown)
        self.sent: list[str] = []

    async def run_until(self, sagas: int, *, lost_after_start: bool = False) -> None:
        """Run beside a lane until so many were sent again, then stop; fails where it does not end."""
        async with asyncio.timeout(10), asyncio.TaskGroup() as group:
            group.create_task(self.recovery.run())
            await self.recovery.started.times(1)
            if lost_after_start:
                self.recovery.transport_lost()
            while len(self.sent) < sagas:
                items = await self.intake.take(7)
                self.sent.extend(item.saga_id for item in items if isinstance(item, TransportLost))
            await self.recovery.recovered.times(1)
            self.shutdown.request()


async def test_every_saga_in_flight_is_sent_again_once_page_by_page() -> None:
    recovering = Recovering(sagas=45)
    recovering.recovery.transport_lost()
    await recovering.run_until(45)
    assert recovering.sent == recovering.pages.saga_ids
    assert len(recovering.pages.pages) > 4


async def test_nothing_is_sent_while_nothing_was_lost() -> None:
    recovering = Recovering(sagas=5)
    running = asyncio.create_task(recovering.recovery.run())
    await recovering.recovery.started.times(1)
    recovering.shutdown.request()
    await running
    assert recovering.pages.pages == []


async def test_losses_that_come_close_together_are_one_recovery() -> None:
    """A server that lost its data lost all streams, and each reader meets that by itself, one after the other."""
    gathering = Gathering()
    recovering = Recovering(sagas=5, shutdown=gathering)
    gathering.meanwhile = recovering.recovery.transport_lost
    await recovering.run_until(5, lost_after_start=True)
    assert recovering.sent == recovering.pages.saga_ids
    assert recovering.pages.pages == [(None, 10), (recovering.pages.saga_ids[-1], 5)]
    assert gathering.pauses_s[0] == LOSSES_GATHERED_S


async def test_a_loss_that_was_met_before_the_start_is_recovered_at_once() -> None:
    recovering = Recovering(sagas=5)
    recovering.recovery.transport_lost()
    await recovering.run_until(5)
    pauses = recovering.shutdown
    assert isinstance(pauses, PausesThatPass)
    assert LOSSES_GATHERED_S not in pauses.pauses_s[:-1], "but for the one that the shutdown ends"


async def test_a_loss_in_the_middle_of_a_recovery_is_followed_by_another() -> None:
    recovering = Recovering(sagas=15)
    recovering.recovery.transport_lost()
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        group.create_task(recovering.recovery.run())
        sent = [*await recovering.intake.take(5)]
        recovering.recovery.transport_lost()
        while len(sent) < 30:
            sent += await recovering.intake.take(5)
        recovering.shutdown.request()
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
    outages_s = [pause_s for pause_s in pauses.pauses_s if pause_s != LOSSES_GATHERED_S]
    assert outages_s[7] > 1
    assert outages_s[8] <= 0.05


async def test_a_recovery_ends_in_the_middle_when_it_is_time_to_stop() -> None:
    recovering = Recovering(sagas=1_000, inlet_max=2)
    recovering.recovery.transport_lost()
    running = asyncio.create_task(recovering.recovery.run())
    await recovering.intake.take(1)
    recovering.shutdown.request()
    async with asyncio.timeout(10):
        await running


async def test_a_recovery_that_waits_for_postgres_ends_when_it_is_time_to_stop() -> None:
    recovering = Recovering(sagas=5, shutdown=Shutdown())
    recovering.pages.faults.lasting = GONE
    recovering.recovery._backoff.attempts = 30
    recovering.recovery.transport_lost()
    running = asyncio.create_task(recovering.recovery.run())
    await recovering.pages.asked.times(1)
    recovering.shutdown.request()
    async with asyncio.timeout(10):
        await running
