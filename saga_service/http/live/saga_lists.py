"""All lists that are watched, by their filters, and the viewers who come to them or go on with them."""

from __future__ import annotations

from saga_service.admin.changes import REMOVED_MAX, Changes, Cursor
from saga_service.admin.filters import SagaFilter
from saga_service.admin.payloads import PayloadView
from saga_service.http.live.event_texts import EventTexts
from saga_service.http.live.saga_list import KnownSagas, ListViewer, SagaList
from saga_service.http.live.server_sent_events import OF_A_LIST, EventName, notice

LOOKED_UP_MAX = 1_000
"""Changed sagas that one look reads for all lists."""


class SagaLists:
    """Lists by their filters. Viewers with one filter, who see the same of payloads, share one."""

    def __init__(self) -> None:
        self._lists: dict[tuple[SagaFilter, PayloadView], SagaList] = {}
        self._new: list[ListViewer] = []
        self._resuming: list[ListViewer] = []
        self._known = KnownSagas()

    def __bool__(self) -> bool:
        return bool(self._lists or self._new or self._resuming)

    def add(self, viewer: ListViewer) -> None:
        (self._new if viewer.since is None else self._resuming).append(viewer)

    def remove(self, viewer: ListViewer) -> None:
        for coming in (self._new, self._resuming):
            if viewer in coming:
                coming.remove(viewer)
        place = (viewer.wanted, viewer.payloads)
        if place in self._lists:
            self._lists[place].viewers.discard(viewer)
            if not self._lists[place].viewers:
                del self._lists[place]

    def cursors_to_resume(self, cursors_max: int) -> list[Cursor]:
        """Moments from which viewers go on, each of which needs a look of its own. Most viewers share one."""
        cursors = dict.fromkeys(viewer.since for viewer in self._resuming if viewer.since is not None)
        return list(cursors)[:cursors_max]

    def resume(self, since: Cursor, changes: Changes) -> None:
        """Tell the viewers who go on from this moment what has changed since."""
        told = changes if since.is_remembered_at(changes.cursor) and is_all_told(changes) else None
        texts = EventTexts()
        for viewer in [each for each in self._resuming if each.since == since]:
            self._resuming.remove(viewer)
            viewer.tell(self._list_of(viewer).told_again_of(told, changes.cursor, texts))
            self._list_of(viewer).viewers.add(viewer)

    def begin_anew(self, since: Cursor) -> None:
        """Let the viewers who would go on from this moment read the list, as if they had just come."""
        for viewer in [each for each in self._resuming if each.since == since]:
            self._resuming.remove(viewer)
            self._new.append(viewer)

    def tell(self, changes: Changes, texts: EventTexts, now_s: float, *, is_gapless: bool) -> None:
        """Tell all viewers what has changed since the look before. Without `is_gapless` nobody knows all of it."""
        told = changes if is_gapless and is_all_told(changes) else None
        for each in self._lists.values():
            text = each.told_of(told, self._known, texts, now_s)
            if text:
                for viewer in each.viewers:
                    viewer.tell(text)
        self._known.learn(changes.sagas.values())
        ready = notice(EventName.READY, OF_A_LIST, changes.cursor)
        for viewer in self._new:
            viewer.tell(ready)
            self._list_of(viewer).viewers.add(viewer)
        self._new.clear()

    def beat(self, cursor: Cursor | None) -> None:
        """Tell all viewers that their streams are alive."""
        for each in self._lists.values():
            text = each.heartbeat(cursor)
            for viewer in each.viewers:
                viewer.tell(text)

    def _list_of(self, viewer: ListViewer) -> SagaList:
        place = (viewer.wanted, viewer.payloads)
        if place not in self._lists:
            self._lists[place] = SagaList(*place)
        return self._lists[place]


def is_all_told(changes: Changes) -> bool:
    """True where a look for lists has found all that has changed."""
    return changes.changed <= LOOKED_UP_MAX and len(changes.removed) < REMOVED_MAX
