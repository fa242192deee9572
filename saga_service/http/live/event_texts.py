"""The texts of one look's events, each written once for all who are told it.

Two viewers are told one text where their callers see the same of payloads.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from pydantic import TypeAdapter

from saga_service.admin.payloads import PayloadView
from saga_service.admin.views import HistoryRow, SagaSummary
from saga_service.http.live.server_sent_events import EventName, event

_SAGA = TypeAdapter(SagaSummary)
_LINE = TypeAdapter(HistoryRow)


@dataclasses.dataclass(slots=True)
class EventTexts:
    """The events of one look as text."""

    _sagas: dict[tuple[str, PayloadView], bytes] = dataclasses.field(default_factory=dict)
    _lines: dict[tuple[str, int, PayloadView], bytes] = dataclasses.field(default_factory=dict)

    def saga(self, saga: SagaSummary, payloads: PayloadView) -> bytes:
        """The event that a saga is now like this."""
        text = self._sagas.get((saga.id, payloads))
        if text is None:
            text = self._sagas[saga.id, payloads] = event(EventName.SAGA, _json(_SAGA, saga, payloads))
        return text

    def line(self, saga_id: str, line: HistoryRow, payloads: PayloadView) -> bytes:
        """The event of one line of a saga's history."""
        text = self._lines.get((saga_id, line.revision, payloads))
        if text is None:
            data = _json(_LINE, line, payloads)
            text = self._lines[saga_id, line.revision, payloads] = event(EventName.HISTORY, data, line.revision)
        return text


def _json(adapter: TypeAdapter[Any], row: object, payloads: PayloadView) -> bytes:
    return adapter.dump_json(payloads.shown(row))
