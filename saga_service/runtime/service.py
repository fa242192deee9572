"""All loops together, from the first read to the last acknowledgement.

A graceful stop follows the way of the data: the sources stop reading, the lanes finish what is in the intake (commit,
publish, acknowledge), the outbox is tidied, and our consumers hand back what a last read may have left with them and
leave their groups.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

import structlog

from saga_service.base.lifecycle import Loop, Shutdown
from saga_service.base.liveness import Liveness
from saga_service.engine.failures import StoreUnavailable
from saga_service.runtime.intake import Intake
from saga_service.runtime.relay import Relay
from saga_service.wire.transport import TransportError

log = structlog.get_logger(__name__)


class Member(Protocol):
    """A consumer in its group."""

    async def leave(self) -> None:
        """Hand back what is pending for this consumer, and take it off the group. Raises TransportError."""
        ...


class Service:
    """`feeders` fill the intake or work beside it, and end on `shutdown`; `lanes` end when the feeders have."""

    def __init__(
        self,
        *,
        intake: Intake,
        feeders: Sequence[Loop],
        lanes: Sequence[Loop],
        relay: Relay,
        members: Sequence[Member],
        shutdown: Shutdown,
        liveness: Liveness | None = None,
    ) -> None:
        self._liveness = liveness or Liveness()
        self._intake = intake
        self._feeders = feeders
        self._lanes = lanes
        self._relay = relay
        self._members = members
        self._shutdown = shutdown

    async def run(self) -> None:
        """Run until shutdown is requested and everything that was taken in is done.

        Raises ExceptionGroup where a loop failed in a way that it has no answer for.
        """
        async with asyncio.TaskGroup() as lanes:
            for lane in self._lanes:
                lanes.create_task(self._liveness.watched(lane.name, lane.run()))
            async with asyncio.TaskGroup() as feeders:
                for feeder in (*self._feeders, self._relay):
                    feeders.create_task(self._liveness.watched(feeder.name, feeder.run()))
                await self._shutdown.wait()
                log.info("stopping: nothing more is read, what was read is finished")
            self._intake.drained.request()
        await self._leave()

    async def _leave(self) -> None:
        try:
            await self._relay.tidy()
            for member in self._members:
                await member.leave()
        except (StoreUnavailable, TransportError) as error:
            log.info("left without tidying up; other replicas will", error=str(error))
