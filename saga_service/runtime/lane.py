"""A lane takes what has come in, has it committed, and publishes it.

Several lanes keep Postgres, Redis and Python busy at the same time. Each batch is as large as what came in while the
lanes were busy.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import aclosing

from saga_service.base.lifecycle import Milestone
from saga_service.engine.engine import Committed, Engine
from saga_service.engine.outbox import OutboxRows
from saga_service.engine.ports import Publisher
from saga_service.runtime.intake import Intake


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
        refused = None
        try:
            refused = await self._publisher.publish(committed.messages, committed.handled.items(), server_before)
        finally:
            if committed.outbox_id is not None:
                self._outbox.end(committed.outbox_id, refused)
