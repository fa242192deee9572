"""A lane takes what has come in, has it committed, and publishes it.

Several lanes keep Postgres, Redis and Python busy at the same time. Each batch is as large as what came in while the
lanes were busy.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import aclosing
from typing import Protocol

from saga_service.base.lifecycle import Milestone
from saga_service.engine.batch import Item
from saga_service.engine.engine import Committed, Engine
from saga_service.engine.outbox import OutboxRows
from saga_service.engine.ports import Publisher
from saga_service.runtime.intake import Intake


class LaneObserver(Protocol):
    """Whoever is told of what lanes take and publish. Metrics are made of it."""

    def taken(self, items: Sequence[Item]) -> None: ...

    def published(self, messages: int, seconds: float) -> None: ...


class NoLaneObserver:
    """An observer that takes note of nothing."""

    def taken(self, items: Sequence[Item]) -> None: ...

    def published(self, messages: int, seconds: float) -> None: ...


class Lane:
    """`expect` is told the earliest moment at which a committed saga has something due. A lane ends once the intake is
    drained and empty."""

    def __init__(
        self,
        intake: Intake,
        engine: Engine,
        publisher: Publisher,
        outbox: OutboxRows,
        items_max: int,
        expect: Callable[[int], None],
        observer: LaneObserver | None = None,
    ) -> None:
        self.name = "lane"
        self.started = Milestone()
        self.published = Milestone()
        self.is_busy = False
        """True from the take of a batch until it is published."""
        self.handled = 0
        """How many items this lane has taken all the way."""
        self._intake = intake
        self._engine = engine
        self._publisher = publisher
        self._outbox = outbox
        self._items_max = items_max
        self._expect = expect
        self._observer = observer or NoLaneObserver()

    async def run(self) -> None:
        self.started.reached()
        while await self._one_batch():
            pass

    async def _one_batch(self) -> bool:
        """Take one batch all the way; false if there is none left. Between two batches a lane holds on to nothing."""
        items = await self._intake.take(self._items_max)
        if not items:
            return False
        self.is_busy = True
        self._observer.taken(items)
        server_before = self._publisher.server_id
        async with aclosing(self._engine.process(items)) as committing:
            async for committed in committing:
                await self._publish(committed, server_before)
                self.published.reached()
        self.is_busy, self.handled = False, self.handled + len(items)
        return True

    async def _publish(self, committed: Committed, server_before: str | None) -> None:
        if committed.outbox_id is not None:
            self._outbox.begin(committed.outbox_id)
        if committed.wake_at_ms is not None:
            self._expect(committed.wake_at_ms)
        refused, began_s = None, time.perf_counter()
        try:
            refused = await self._publisher.publish(committed.messages, committed.handled.items(), server_before)
        finally:
            if committed.outbox_id is not None:
                self._outbox.end(committed.outbox_id, refused)
        self._observer.published(len(committed.messages), time.perf_counter() - began_s)
