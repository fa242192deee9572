"""A viewer is told in order, waits for nothing, and is dropped where it takes in too little."""

from __future__ import annotations

import pytest

from saga_service.admin.payloads import EVERYTHING
from saga_service.http.live import viewer as module
from saga_service.http.live.server_sent_events import BEHIND
from saga_service.http.live.viewer import Viewer


async def rest(viewer: Viewer) -> list[bytes]:
    return [text async for text in viewer.told()]


async def test_what_waits_is_sent_as_one_text_and_the_end_comes_last() -> None:
    viewer = Viewer(EVERYTHING)
    viewer.tell(b"one ")
    viewer.tell(b"")
    viewer.tell(b"two ")
    viewer.end(b"the end")
    viewer.end(b"again")
    viewer.tell(b"too late")
    assert await rest(viewer) == [b"one two the end"]


async def test_a_viewer_that_takes_in_too_little_is_dropped_and_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WAITING_BYTES_MAX", 10)
    viewer = Viewer(EVERYTHING)
    viewer.tell(b"12345")
    viewer.tell(b"67890")
    viewer.tell(b"!")
    assert await rest(viewer) == [BEHIND]


async def test_a_viewer_that_keeps_up_is_never_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WAITING_BYTES_MAX", 10)
    viewer = Viewer(EVERYTHING)
    told = viewer.told()
    for _ in range(5):
        viewer.tell(b"1234567890")
        assert await anext(told) == b"1234567890"
    assert not viewer.is_over
