"""What takes long is kept, as long as it is ours."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
import structlog
from structlog.testing import capture_logs

from saga_service.base.lifecycle import cancel
from saga_service.wire.transport import TransportUnavailable
from saga_service.worker import lease as module
from saga_service.worker.lease import LeaseRenewal, PendingEntries

RECLAIM_IDLE_MS = 60_000


class Clock:
    def __init__(self) -> None:
        self.now_s = 1_000.0

    def monotonic(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


class Group:
    """Where entries are renewed; those in `lost` are somebody else's by now."""

    def __init__(self) -> None:
        self.renewed: list[list[str]] = []
        self.lost: set[str] = set()
        self.pending = PendingEntries()
        self.fault: Exception | None = None
        self.renewal = LeaseRenewal(self.pending, self.renew, RECLAIM_IDLE_MS, structlog.get_logger())
        self.asked = asyncio.Event()

    async def renew(self, entry_ids: Sequence[str]) -> int:
        self.asked.set()
        if self.fault is not None:
            raise self.fault
        self.renewed.append(list(entry_ids))
        return len(set(entry_ids) - self.lost)


@pytest.fixture
def group(clock: Clock) -> Group:
    return Group()


async def test_an_entry_is_renewed_after_a_third_of_its_idle_time(group: Group, clock: Clock) -> None:
    group.pending.add(["1-0"])
    clock.now_s += 19
    group.pending.add(["2-0"])
    await group.renewal.renew_due()
    assert group.renewed == []
    clock.now_s += 1
    await group.renewal.renew_due()
    assert group.renewed == [["1-0"]]


async def test_a_renewed_entry_is_left_alone_until_it_is_old_again(group: Group, clock: Clock) -> None:
    group.pending.add(["1-0"])
    clock.now_s += 20
    await group.renewal.renew_due()
    clock.now_s += 19
    await group.renewal.renew_due()
    assert len(group.renewed) == 1
    clock.now_s += 1
    await group.renewal.renew_due()
    assert len(group.renewed) == 2


async def test_what_is_settled_is_not_renewed(group: Group, clock: Clock) -> None:
    group.pending.add(["1-0", "2-0"])
    group.pending.remove(["1-0", "9-0"])
    clock.now_s += 20
    await group.renewal.renew_due()
    assert group.renewed == [["2-0"]]


async def test_what_is_settled_during_a_renewal_does_not_come_back(group: Group, clock: Clock) -> None:
    group.pending.add(["1-0"])
    clock.now_s += 20

    async def renewed_and_settled(entry_ids: Sequence[str]) -> int:
        group.pending.remove(entry_ids)
        return 1

    await LeaseRenewal(group.pending, renewed_and_settled, RECLAIM_IDLE_MS, structlog.get_logger()).renew_due()
    assert len(group.pending) == 0


async def test_a_command_that_another_worker_took_over_is_logged(group: Group, clock: Clock) -> None:
    group.pending.add(["1-0", "2-0"])
    group.lost.add("2-0")
    clock.now_s += 20
    with capture_logs() as logs:
        await group.renewal.renew_due()
    assert [(line["event"], line["commands"]) for line in logs] == [
        ("commands were lost to this worker: taken over by another one, or gone with their stream", 1)
    ]


async def test_a_renewal_that_fails_is_tried_again_at_the_next_look(clock: Clock) -> None:
    group = Group()
    group.renewal = LeaseRenewal(group.pending, group.renew, 6, structlog.get_logger())
    group.fault = TransportUnavailable("gone")
    group.pending.add(["1-0"])
    clock.now_s += 20
    running = asyncio.create_task(group.renewal.run())
    try:
        async with asyncio.timeout(10):
            await group.asked.wait()
            group.fault = None
            group.asked.clear()
            await group.asked.wait()
    finally:
        await cancel([running])
    assert group.renewed == [["1-0"]]
