"""What a run of workers says of itself while Redis is away."""

from __future__ import annotations

import asyncio

import pytest

from saga_service.base.lifecycle import Milestone
from saga_service.wire.process_report import ProcessReport
from saga_service.wire.transport import TransportUnavailable
from saga_service.worker import Worker, WorkerOptions, presence
from tests.support.fakes import Faults


class Registry:
    """Stands for the one in Redis."""

    def __init__(self) -> None:
        self.faults, self.reported = Faults(), Milestone()

    async def report(self, report: ProcessReport) -> None:
        self.faults.strike()
        self.reported.reached()


async def test_a_report_that_an_outage_has_held_up_does_not_wait_for_the_next_period(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    registry = Registry()
    registry.faults.then(TransportUnavailable("away"))
    monkeypatch.setattr(presence, "ProcessRegistry", lambda *_: registry)
    monkeypatch.setattr(presence, "RETRY_S", 0.001)
    async with asyncio.timeout(10), presence.Presence([Worker("shop")], WorkerOptions()).shown(period_s=3600):
        await registry.reported.times(1)
