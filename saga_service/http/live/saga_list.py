"""A list of sagas as viewers watch it: all viewers with one filter are told the same text, which is made once."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

import orjson

from saga_service.admin.changes import Changes, Cursor
from saga_service.admin.filters import SagaFilter
from saga_service.admin.payloads import PayloadView
from saga_service.admin.views import SagaSummary
from saga_service.http.live.event_texts import EventTexts
from saga_service.http.live.server_sent_events import OF_A_LIST, EventName, comment, event, notice, place
from saga_service.http.live.viewer import Viewer

TOLD_MAX = 100
"""Sagas that a list is told of by one look, one by one."""
RELOAD_S_MIN = 5.0
"""A list is told so seldom to be read again, however much changes: each viewer who reads it costs a query."""
KNOWN_MAX = 5_000
"""Sagas of which is known how they were at their latest change."""
RELOAD = notice(EventName.RELOAD, OF_A_LIST)


class ListViewer(Viewer):
    """A stream of the events of one list. It goes on from `since` where that is given."""

    def __init__(self, payloads: PayloadView, wanted: SagaFilter, since: Cursor | None = None) -> None:
        super().__init__(payloads)
        self.wanted = wanted
        self.since = since


class KnownSagas:
    """Sagas as they were at their latest change, so that a list knows which of them did fit."""

    def __init__(self) -> None:
        self._sagas: OrderedDict[str, SagaSummary] = OrderedDict()

    def __getitem__(self, saga_id: str) -> SagaSummary | None:
        return self._sagas.get(saga_id)

    def learn(self, sagas: Iterable[SagaSummary]) -> None:
        for saga in sagas:
            self._sagas[saga.id] = saga
            self._sagas.move_to_end(saga.id)
        while len(self._sagas) > KNOWN_MAX:
            self._sagas.popitem(last=False)


class SagaList:
    """One filter, as callers see it who see the same of payloads."""

    def __init__(self, wanted: SagaFilter, payloads: PayloadView) -> None:
        self.viewers: set[ListViewer] = set()
        self._wanted = wanted
        self._payloads = payloads
        self._is_stale = False
        self._reload_at_s = 0.0

    def told_of(self, changes: Changes | None, known: KnownSagas, texts: EventTexts, now_s: float) -> bytes:
        """The text of what has changed, by the loop's clock; None stands for more than can be told.

        A viewer has the text as a whole, or goes on from the id before it: so the id is its end.
        """
        parts = self._parts(changes, known, texts)
        self._is_stale = self._is_stale or parts is None
        told = parts or []
        if self._is_stale and now_s >= self._reload_at_s:
            self._is_stale, self._reload_at_s = False, now_s + RELOAD_S_MIN
            told.append(RELOAD)
        if told and changes is not None and not self._is_stale:
            told.append(place(changes.cursor))
        return b"".join(told)

    def told_again_of(self, changes: Changes | None, cursor: Cursor, texts: EventTexts) -> bytes:
        """The text for a viewer who goes on from an earlier moment; None stands for more than can be told."""
        parts = self._parts(changes, KnownSagas(), texts)
        return b"".join([*([RELOAD] if parts is None else parts), place(cursor)])

    def heartbeat(self, cursor: Cursor | None) -> bytes:
        """The text that keeps a stream open. It moves the id on, so that a quiet stream can go on after a cut."""
        return comment() if cursor is None or self._is_stale else place(cursor)

    def _parts(self, changes: Changes | None, known: KnownSagas, texts: EventTexts) -> list[bytes] | None:
        """The events of what has changed; None where that is more than can be told."""
        if changes is None:
            return None
        fitting, gone = self._changed(changes, known)
        if len(fitting) > TOLD_MAX:
            return None
        parts = [event(EventName.GONE, orjson.dumps({"ids": gone}))] if gone else []
        return parts + [texts.saga(saga, self._payloads) for saga in fitting]

    def _changed(self, changes: Changes, known: KnownSagas) -> tuple[list[SagaSummary], list[str]]:
        """The sagas that fit, and the ids of those that fit no longer."""
        fitting, gone = [], list(changes.removed)
        for saga in changes.sagas.values():
            if self._wanted.fits(saga):
                fitting.append(saga)
            elif self._may_have_fitted(saga, known[saga.id]):
                gone.append(saga.id)
        return fitting, gone

    def _may_have_fitted(self, saga: SagaSummary, before: SagaSummary | None) -> bool:
        if before is None:
            return saga.revision > 1 and self._wanted.could_fit(saga)
        return self._wanted.fits(before)
