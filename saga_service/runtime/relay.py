"""The outbox relay: it publishes rows whose own replica died before it could, and deletes rows that were published."""

from __future__ import annotations

from collections.abc import Callable

import structlog

from saga_service.base.lifecycle import Milestone, Shutdown
from saga_service.engine.failures import StoreUnavailable
from saga_service.engine.outbox import OutboxRows
from saga_service.engine.ports import Outbox, Publisher

log = structlog.get_logger(__name__)
ROWS_MAX = 20


class Relay:
    """Takes a row for left behind if it is older than `lease_ms` and is not being published by this replica."""

    def __init__(
        self,
        outbox: Outbox,
        rows: OutboxRows,
        publisher: Publisher,
        *,
        lease_ms: int,
        period_s: float,
        now_ms: Callable[[], int],
        shutdown: Shutdown,
    ) -> None:
        self.name = "relay"
        self.started = Milestone()
        self._outbox = outbox
        self._rows = rows
        self._publisher = publisher
        self._lease_ms = lease_ms
        self._period_s = period_s
        self._now_ms = now_ms
        self._shutdown = shutdown

    async def run(self) -> None:
        self.started.reached()
        while not self._shutdown:
            more = await self._round()
            if not more:
                await self._shutdown.pause(self._period_s)

    async def tidy(self) -> None:
        """Delete the rows that are published. Raises StoreUnavailable."""
        published = self._rows.take_published()
        if not published:
            return
        try:
            await self._outbox.forget_published(published)
        except BaseException:
            self._rows.give_back(published)
            raise

    async def _round(self) -> bool:
        try:
            await self.tidy()
            await self._keep_refused()
            return await self._publish_left_behind()
        except StoreUnavailable as error:
            log.warning(f"{error.summary}; the relay waits, and tries again", error=str(error))
            return False

    async def _publish_left_behind(self) -> bool:
        claimed = await self._outbox.claim_unpublished(self._now_ms(), self._lease_ms, ROWS_MAX)
        left_behind = [(row, messages) for row, messages in claimed if not self._rows.is_under_way(row)]
        for row, messages in left_behind:
            log.warning("an outbox row was left behind; it is published now", outbox_id=row, messages=len(messages))
            refused = await self._publisher.publish(messages, ())
            if refused:
                await self._outbox.keep_unpublished(row, refused)
            else:
                await self._outbox.forget_published([row])
        return len(claimed) == ROWS_MAX

    async def _keep_refused(self) -> None:
        # Otherwise the messages beside it, which Redis took, would be added again with each try.
        for row, messages in self._rows.take_refused().items():
            await self._outbox.keep_unpublished(row, messages)
