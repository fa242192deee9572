"""All loops together, from the first read to the last acknowledgement.

Shutdown goes with the stream of the data: the sources end first, the lanes finish what is in the intake, the outbox is
tidied, and our consumers leave their groups. Nothing that was read is left behind.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

import structlog

from saga_service.engine.errors import StoreUnavailable
from saga_service.engine.ports import Source, StreamLost, StreamRefused, TransportUnavailable
from saga_service.runtime.intake import Intake
from saga_service.runtime.lane import Lane
from saga_service.runtime.recovery import Recovery
from saga_service.runtime.relay import Relay
from saga_service.runtime.shutdown import Shutdown

log = structlog.get_logger(__name__)


class Loop(Protocol):
    async def run(self) -> None:
        """Do the loop's one thing until it is time to stop. An exception from here ends the service."""
        ...


class Service:
    """`feeders` fill the intake or look after things beside it; they end by themselves once stopping is said."""

    def __init__(
        self,
        *,
        sources: Sequence[Source],
        intake: Intake,
        feeders: Sequence[Loop],
        lanes: Sequence[Lane],
        recovery: Recovery,
        relay: Relay,
        shutdown: Shutdown,
    ) -> None:
        self._sources = sources
        self._intake = intake
        self._feeders = feeders
        self._lanes = lanes
        self._recovery = recovery
        self._relay = relay
        self._shutdown = shutdown

    async def run(self) -> None:
        """Until stopping is said and everything taken in is done.

        Raises ExceptionGroup where a loop failed in a way that it has no answer for.
        """
        async with asyncio.TaskGroup() as lanes:
            for lane in self._lanes:
                lanes.create_task(lane.run())
            async with asyncio.TaskGroup() as feeders:
                for feeder in (*self._feeders, self._recovery, self._relay):
                    feeders.create_task(feeder.run())
                await self._shutdown.wait()
                log.info("stopping: nothing more is read, what was read is finished")
                self._intake.fill_no_more()
                self._recovery.let_go()
            self._intake.close()
        await self._leave()

    async def _leave(self) -> None:
        try:
            await self._relay.tidy()
            for source in self._sources:
                await source.leave()
        except (StoreUnavailable, TransportUnavailable, StreamLost, StreamRefused) as error:
            log.info("left without tidying up; other replicas will", error=str(error))
