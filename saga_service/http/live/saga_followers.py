"""Followers of one saga: a viewer, who is told all that happens to it, and whoever waits until it is at rest."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from enum import StrEnum
from typing import Protocol

from saga_service.admin.payloads import PayloadView
from saga_service.admin.views import HistoryRow, SagaSummary
from saga_service.http.live.event_texts import EventTexts
from saga_service.http.live.server_sent_events import OF_A_SAGA, EventName, notice
from saga_service.http.live.viewer import Viewer

AT_REST = ("completed", "compensated", "stuck")
_REMOVED = notice(EventName.REMOVED, OF_A_SAGA)


class Until(StrEnum):
    """When a stream of one saga's events ends."""

    ENDED = "ended"
    """The saga has ended."""
    AT_REST = "at_rest"
    """The saga has ended, or a person has to act."""

    def is_met_by(self, saga: SagaSummary) -> bool:
        return saga.ended_at is not None or (self is Until.AT_REST and saga.status in AT_REST)


class SagaFollower(Protocol):
    """Whoever follows one saga."""

    saga_id: str

    @property
    def revision(self) -> int | None:
        """The revision up to which the history is known; None where none is wanted."""

    def see(self, saga: SagaSummary, lines: Sequence[HistoryRow], texts: EventTexts) -> None:
        """See the saga as it is now, and lines of its history: some may be known, and more may follow."""
        ...

    def miss(self) -> None:
        """See that the saga is not there."""
        ...


class SagaViewer(Viewer):
    """A stream of one saga's events, of which the history up to `revision` is sent."""

    def __init__(self, payloads: PayloadView, saga_id: str, revision: int, until: Until | None = None) -> None:
        super().__init__(payloads)
        self.saga_id = saga_id
        self.revision = revision
        self._told_revision = -1
        self._until = until

    def see(self, saga: SagaSummary, lines: Sequence[HistoryRow], texts: EventTexts) -> None:
        fresh = [line for line in lines if line.revision > self.revision]
        if fresh:
            self.tell(b"".join(texts.line(self.saga_id, line, self.payloads) for line in fresh))
            self.revision = fresh[-1].revision
        if self.revision >= saga.revision or not lines:
            self._tell_saga(saga, texts)

    def _tell_saga(self, saga: SagaSummary, texts: EventTexts) -> None:
        if self.revision > saga.revision:
            self.tell(notice(EventName.RELOAD, OF_A_SAGA, saga.revision))
            self.revision = saga.revision
        if saga.revision != self._told_revision:
            self.tell(texts.saga(saga, self.payloads))
            self._told_revision = saga.revision
        if self._until is not None and self._until.is_met_by(saga):
            self.end()

    def miss(self) -> None:
        self.end(_REMOVED)


class SagaWaiter:
    """Whoever waits until a saga has ended or is stuck, which may not be there yet."""

    revision: None = None

    def __init__(self, saga_id: str, done: asyncio.Future[None]) -> None:
        self.saga_id = saga_id
        self._done = done

    def see(self, saga: SagaSummary, lines: Sequence[HistoryRow], texts: EventTexts) -> None:
        if saga.status in AT_REST and not self._done.done():
            self._done.set_result(None)

    def miss(self) -> None: ...
