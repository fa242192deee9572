"""A list tells what fits and what fits no longer, once for all its viewers, and never floods them."""

from __future__ import annotations

import pytest

from saga_service.admin.changes import Changes
from saga_service.admin.filters import SagaFilter
from saga_service.admin.payloads import EVERYTHING
from saga_service.http.live import saga_list
from saga_service.http.live.event_texts import EventTexts
from saga_service.http.live.saga_list import RELOAD, KnownSagas, SagaList
from saga_service.http.live.server_sent_events import place
from tests.unit.http.live.rows import CURSOR, found, saga


def told(listed: SagaList, changes: Changes | None, known: KnownSagas | None = None, now_s: float = 100.0) -> bytes:
    return listed.told_of(changes, known or KnownSagas(), EventTexts(), now_s)


def stuck() -> SagaList:
    return SagaList(SagaFilter(statuses=("stuck",), saga="order"), EVERYTHING)


def test_a_saga_that_fits_is_told_and_the_id_is_the_end_of_the_text() -> None:
    text = told(stuck(), found(saga(1, "stuck"), saga(2)))
    assert text.startswith(b'event: saga\ndata: {"id":"id-1"') or b"id-1" in text
    assert text.count(b"event: saga") == 1
    assert text.endswith(place(CURSOR))


def test_a_saga_that_may_have_fitted_is_gone_and_one_that_did_not_is_none_of_the_list() -> None:
    known = KnownSagas()
    known.learn([saga(1, "stuck"), saga(2, "running")])
    changes = found(saga(1), saga(2), saga(3), saga(4, revision=1))
    # The first did fit, of the third nothing is known, and the fourth has just begun.
    assert told(stuck(), changes, known) == b'event: gone\ndata: {"ids":["id-1","id-3"]}\n\n' + place(CURSOR)
    other = SagaList(SagaFilter(statuses=("stuck",), saga="trip"), EVERYTHING)
    assert told(other, changes) == b""


def test_what_is_known_of_sagas_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saga_list, "KNOWN_MAX", 2)
    known = KnownSagas()
    known.learn([saga(1), saga(2)])
    known.learn([saga(1), saga(3)])
    assert [known[f"id-{number}"] is not None for number in (1, 2, 3)] == [True, False, True]


def test_a_removed_saga_is_gone() -> None:
    text = told(stuck(), found(removed=frozenset({"id-9"})))
    assert text == b'event: gone\ndata: {"ids":["id-9"]}\n\n' + place(CURSOR)


def test_more_than_can_be_told_is_to_be_read_again_once_in_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saga_list, "TOLD_MAX", 1)
    listed = stuck()
    flood, calm = found(saga(1, "stuck"), saga(2, "stuck")), found(saga(3, "stuck"))
    assert told(listed, flood, now_s=100) == RELOAD + place(CURSOR)
    assert told(listed, flood, now_s=101) == b""
    # The flood of before is not told yet, so a stream that is cut here goes on from before it.
    assert not told(listed, calm, now_s=102).endswith(place(CURSOR))
    assert listed.heartbeat(CURSOR) != place(CURSOR)
    assert told(listed, found(), now_s=106) == RELOAD + place(CURSOR)
    assert told(listed, found(), now_s=120) == b""
    assert listed.heartbeat(CURSOR) == place(CURSOR)


def test_nobody_knows_what_a_look_has_missed() -> None:
    assert told(stuck(), None) == RELOAD
