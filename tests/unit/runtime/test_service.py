"""All loops together: how they start, how they stop, and how one that fails ends all."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
import structlog

from saga_service.base.lifecycle import Milestone, Shutdown
from saga_service.core.vocabulary import SagaStatus
from saga_service.engine.failures import StoreUnavailable
from saga_service.runtime.intake import Intake
from saga_service.runtime.lane import Lane
from saga_service.runtime.relay import Relay
from saga_service.runtime.service import Service
from saga_service.streams.consumer_loop import ConsumerLoop, Pace
from saga_service.wire.entries import Entry, Message
from saga_service.wire.transport import StreamRefused, TransportUnavailable
from tests.support.fakes import (
    BATCH_BYTES_MAX,
    NAMES,
    RECLAIM_IDLE_MS,
    Faults,
    ScriptedSource,
    ServiceInMemory,
    saga_id,
    start,
    success,
)


class BlockingSource(ScriptedSource):
    """Reads what was given and then blocks, as a stream does on which nothing comes."""

    def __init__(self, stream: str, journal: list[str]) -> None:
        super().__init__(stream, journal)
        self.came = asyncio.Event()
        self.is_reading = asyncio.Event()
        self.last_read: list[Entry] | None = None
        """What a read that is blocked comes back with when it ends."""

    def give(self, *entries: Entry) -> None:
        self.reads.append(list(entries))
        self.came.set()

    def end_the_read(self, *entries: Entry) -> None:
        self.last_read = list(entries)
        self.came.set()

    async def read(self, count_max: int, block_ms: int) -> list[Entry]:
        self.is_reading.set()
        if not self.reads and self.last_read is None:
            self.came.clear()
            await self.came.wait()
        if not self.reads and self.last_read is not None:
            return self.last_read
        return await super().read(count_max, block_ms)


LAST_READ_MS = 10_000
"""So long that the test decides when a last read ends."""


class NothingLeft:
    """Of the outbox and of the sagas in flight."""

    def __init__(self, outside: ServiceInMemory) -> None:
        self._outside = outside
        self.forget_faults = Faults()

    async def claim_unpublished(self, now_ms: int, older_than_ms: int, limit: int) -> list[tuple[int, list[Message]]]:
        await asyncio.sleep(0)
        return []

    async def forget_published(self, ids: Sequence[int]) -> None:
        self.forget_faults.strike()
        self._outside.journal.append(f"forget {len(ids)}")
        await self._outside.store.forget_published(ids)

    async def keep_unpublished(self, outbox_id: int, messages: Sequence[Message]) -> None:
        self._outside.journal.append(f"keep {len(messages)}")


class Failing:
    """A loop that fails as soon as it is told to."""

    def __init__(self, error: Exception) -> None:
        self.name = "a loop"
        self.started = Milestone()
        self.error = error
        self.now = asyncio.Event()

    async def run(self) -> None:
        await self.now.wait()
        raise self.error


class Running:
    def __init__(self, failing: Failing | None = None, last_read_ms: int = LAST_READ_MS) -> None:
        self.outside = ServiceInMemory()
        self.shutdown = Shutdown()
        self.intake = Intake(BATCH_BYTES_MAX, self.shutdown)
        self.sources = [BlockingSource(stream, self.outside.journal) for stream in (NAMES.replies, NAMES.events)]
        self.left = NothingLeft(self.outside)
        pace = Pace(2_000, RECLAIM_IDLE_MS, 10**9, entries_max=10, last_read_ms=last_read_ms)
        inlets = [self.intake.inlet(10) for _ in self.sources]
        consumers = [
            ConsumerLoop(source, inlet.room, inlet.put, pace, self.shutdown)
            for source, inlet in zip(self.sources, inlets, strict=True)
        ]
        self.lane = Lane(
            self.intake, self.outside.engine, self.outside.publisher, self.outside.outbox, 10, lambda _: None
        )
        self.service = Service(
            members=self.sources,
            intake=self.intake,
            feeders=[*consumers, *([failing] if failing else [])],
            lanes=[self.lane],
            relay=Relay(
                self.left,
                self.outside.outbox,
                self.outside.publisher,
                lease_ms=5_000,
                period_s=3_600.0,
                now_ms=lambda: 0,
                shutdown=self.shutdown,
            ),
            shutdown=self.shutdown,
        )

    async def start(self) -> asyncio.Task[None]:
        running = asyncio.create_task(self.service.run())
        async with asyncio.timeout(10):
            for source in self.sources:
                await source.is_reading.wait()
        return running

    async def end(self, running: asyncio.Task[None]) -> None:
        self.shutdown.request()
        for source in self.sources:
            source.end_the_read()
        async with asyncio.timeout(10):
            await running


@pytest.fixture
def running() -> Running:
    return Running()


async def test_a_saga_goes_its_way_from_stream_to_stream(running: Running) -> None:
    replies, events = running.sources
    task = await running.start()
    events.give(start())
    await running.lane.published.times(1)
    replies.give(success("reserve"))
    await running.lane.published.times(2)
    replies.give(success("charge", entry_id="1801-0"))
    await running.lane.published.times(3)
    await running.end(task)
    assert running.outside.store.sagas[saga_id()].status is SagaStatus.COMPLETED
    assert len(running.outside.publisher.acknowledged) == 3


async def test_entries_of_the_last_read_are_acknowledged_before_the_end(
    running: Running,
) -> None:
    task = await running.start()
    running.shutdown.request()
    assert not task.done(), "a read is still under way"
    running.sources[0].end_the_read()
    running.sources[1].end_the_read(start())
    async with asyncio.timeout(10):
        await task
    assert running.outside.journal[-6:] == [
        "commit",
        "add to saga:commands:service",
        "acknowledge 1 of saga:events",
        "forget 1",
        "leave saga:replies",
        "leave saga:events",
    ]


async def test_nothing_is_read_any_more_once_stopping_is_said(running: Running) -> None:
    task = await running.start()
    await running.end(task)
    assert "read" not in running.outside.journal


async def test_a_read_that_does_not_end_is_cut_short_at_the_stop() -> None:
    running = Running(last_read_ms=1)
    task = await running.start()
    running.shutdown.request()
    async with asyncio.timeout(10):
        await task
    assert running.outside.journal[-2:] == ["leave saga:replies", "leave saga:events"]


async def test_a_service_told_to_stop_before_it_starts_ends_in_good_order(running: Running) -> None:
    running.shutdown.request()
    async with asyncio.timeout(10):
        await running.service.run()
    assert running.outside.journal == ["leave saga:replies", "leave saga:events"]


@pytest.mark.parametrize("trouble", [StoreUnavailable("gone"), TransportUnavailable("away"), StreamRefused("no")])
async def test_servers_that_are_away_at_the_end_are_no_error(running: Running, trouble: Exception) -> None:
    task = await running.start()
    running.sources[1].give(start())
    await running.lane.published.times(1)
    running.left.forget_faults.lasting = trouble
    running.sources[0].leave_faults.lasting = trouble
    with structlog.testing.capture_logs() as logs:
        await running.end(task)
    assert logs[-1]["event"] == "left without tidying up; other replicas will"


async def test_a_loop_that_fails_ends_everything_with_its_error() -> None:
    failing = Failing(ValueError("a bug"))
    running = Running(failing)
    task = await running.start()
    failing.now.set()
    async with asyncio.timeout(10):
        with pytest.raises(ExceptionGroup) as raised:
            await task
    assert raised.group_contains(ValueError, match="a bug")
    assert not any(line.startswith("leave") for line in running.outside.journal)


async def test_a_lane_that_fails_ends_everything_with_its_error(running: Running) -> None:
    running.outside.publisher.faults.then(ValueError("a bug"))
    task = await running.start()
    running.sources[1].give(start())
    async with asyncio.timeout(10):
        with pytest.raises(ExceptionGroup) as raised:
            await task
    assert raised.group_contains(ValueError, match="a bug")
    assert list(running.outside.store.outbox) == [1], "what was committed is the relay's"
    assert running.outside.publisher.acknowledged == []


async def test_a_loop_that_fails_while_stopping_ends_everything_with_its_error() -> None:
    failing = Failing(ValueError("a bug"))
    running = Running(failing)
    task = await running.start()
    running.shutdown.request()
    failing.now.set()
    async with asyncio.timeout(10):
        with pytest.raises(ExceptionGroup) as raised:
            await task
    assert raised.group_contains(ValueError, match="a bug")


async def test_a_service_that_is_cancelled_ends_at_once(running: Running) -> None:
    task = await running.start()
    task.cancel()
    async with asyncio.timeout(10):
        await asyncio.wait([task])
    assert task.cancelled()
