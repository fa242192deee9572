"""The liveness of the service's loops: waiting is no standstill, whether for work or for a server that is away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from saga_service.base.lifecycle import Milestone, Shutdown
from saga_service.base.liveness import Liveness, LoopLiveness
from saga_service.engine.failures import StoreUnavailable
from saga_service.engine.ports import Batch
from saga_service.runtime.intake import Inlet, Intake
from saga_service.runtime.lane import Lane
from saga_service.runtime.maintenance import Maintenance
from saga_service.runtime.relay import Relay
from saga_service.runtime.service import Service
from tests.support.fakes import BATCH_BYTES_MAX, FaultyStore, ServiceInMemory, start
from tests.support.waiting import eventually


class NothingLeft:
    async def claim_unpublished(self, now_ms: int, older_than_ms: int, limit: int) -> list[tuple[int, list[object]]]:
        return []

    async def forget_published(self, outbox_ids: object) -> None:
        return

    async def keep_unpublished(self, outbox_id: int, messages: object) -> None:
        return


class SilentStore(FaultyStore):
    """A store whose commits get no answer."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = Milestone()

    async def commit(self, batch: Batch) -> int | None:
        self.asked.reached()
        await asyncio.Event().wait()
        return None


@asynccontextmanager
async def running(outside: ServiceInMemory) -> AsyncIterator[tuple[Liveness, Inlet]]:
    shutdown, liveness = Shutdown(), Liveness()
    intake = Intake(BATCH_BYTES_MAX, shutdown)
    inlet = intake.inlet(10)
    left = NothingLeft()
    service = Service(
        intake=intake,
        feeders=[Maintenance([], 3_600, shutdown)],
        lanes=[Lane(intake, outside.engine, outside.publisher, outside.outbox, 10, lambda _: None)],
        relay=Relay(
            left,  # type: ignore[arg-type]  # messages of no kind, for there are none
            outside.outbox,
            outside.publisher,
            lease_ms=5_000,
            period_s=3_600.0,
            now_ms=lambda: 0,
            shutdown=shutdown,
        ),
        members=[],
        shutdown=shutdown,
        liveness=liveness,
    )
    task = asyncio.create_task(service.run())
    await eventually(lambda: len(liveness.loops) == 3)
    try:
        yield liveness, inlet
    finally:
        task.cancel()
        await asyncio.wait([task])


def of(liveness: Liveness, name: str) -> LoopLiveness:
    [loop] = [loop for loop in liveness.loops if loop.name == name]
    return loop


async def test_every_loop_of_an_idle_service_waits() -> None:
    async with running(ServiceInMemory()) as (liveness, _):
        await eventually(lambda: all(loop.at_work_since_s is None for loop in liveness.loops))
        assert sorted(loop.name for loop in liveness.loops) == ["lane", "maintenance", "relay"]


async def test_a_lane_whose_commit_is_never_answered_stands_still() -> None:
    store = SilentStore()
    async with running(ServiceInMemory(store)) as (liveness, inlet):
        inlet.put([start()])
        await store.asked.times(1)
        assert of(liveness, "lane").at_work_since_s is not None


async def test_a_lane_that_waits_for_postgres_does_not_stand_still() -> None:
    outside = ServiceInMemory()
    outside.store.commit_faults.lasting = StoreUnavailable("gone")
    async with running(outside) as (liveness, inlet):
        inlet.put([start()])
        await eventually(lambda: outside.journal.count("commit") >= 0 and of(liveness, "lane").waits == 1)
        assert of(liveness, "lane").at_work_since_s is None
