"""Followers of one saga see every line of its history once, whenever they come."""

from __future__ import annotations

import asyncio

import pytest

from saga_service.admin.changes import LINES_MAX
from saga_service.admin.payloads import EVERYTHING, PayloadView
from saga_service.http.live.event_texts import EventTexts
from saga_service.http.live.followed_sagas import FollowedSagas
from saga_service.http.live.saga_followers import SagaViewer, SagaWaiter, Until
from saga_service.http.live.server_sent_events import EventName
from saga_service.settings.roles import Role
from tests.unit.http.live.rows import found, line, saga


def viewer(revision: int, number: int = 1, until: Until | None = None) -> SagaViewer:
    return SagaViewer(EVERYTHING, f"id-{number}", revision, until)


def texts_of(viewer: SagaViewer) -> list[str]:
    """What the viewer was told and has not sent: the revision of a line, or the name of the event."""
    text = b"".join(viewer._texts).decode()
    viewer._texts.clear()
    blocks = [dict(part.split(": ", 1) for part in block.split("\n")) for block in text.split("\n\n") if block]
    return [block["id"] if block["event"] == EventName.HISTORY else block["event"] for block in blocks]


def test_a_saga_is_looked_up_when_somebody_comes_and_then_when_it_has_changed() -> None:
    followed, one = FollowedSagas(), viewer(3)
    followed.add(one)
    assert followed.asked() == ({}, {"id-1": 3})
    followed.see(found(saga(1)), EventTexts())
    assert followed.asked() == ({"id-1": 3}, {})
    followed.see(found(saga(1, revision=4), lines={"id-1": [line(4)]}), EventTexts())
    assert followed.asked() == ({"id-1": 4}, {})
    assert texts_of(one) == ["saga", "4", "saga"]
    followed.refresh()
    assert followed.asked() == ({}, {"id-1": 4})
    followed.see(found(saga(1, revision=4)), EventTexts())
    assert texts_of(one) == [], "nothing has changed"
    followed.remove(one)
    assert not followed
    assert followed.asked() == ({}, {})


def test_two_who_know_more_and_less_are_each_told_what_they_do_not_know() -> None:
    followed, late, early = FollowedSagas(), viewer(1), viewer(2)
    followed.add(early)
    followed.add(late)
    assert followed.asked()[1] == {"id-1": 1}
    followed.see(found(saga(1, revision=3), lines={"id-1": [line(2), line(3)]}), EventTexts())
    assert (texts_of(late), texts_of(early)) == (["2", "3", "saga"], ["3", "saga"])


def test_whoever_comes_to_a_saga_that_is_watched_has_it_looked_up() -> None:
    followed = FollowedSagas()
    followed.add(viewer(5))
    followed.asked()
    followed.see(found(saga(1, revision=5)), EventTexts())
    followed.add(viewer(3))
    assert followed.asked() == ({}, {"id-1": 3})


def test_a_long_history_goes_on_with_the_next_look_and_the_saga_is_told_at_its_end() -> None:
    followed, one = FollowedSagas(), viewer(0)
    followed.add(one)
    followed.asked()
    last = LINES_MAX + 2
    lines = [line(revision) for revision in range(1, last + 1)]
    followed.see(found(saga(1, revision=last), lines={"id-1": lines[:LINES_MAX]}), EventTexts())
    assert texts_of(one)[-1] == str(LINES_MAX)
    assert followed.asked() == ({}, {"id-1": LINES_MAX})
    followed.see(found(saga(1, revision=last), lines={"id-1": lines[LINES_MAX:]}), EventTexts())
    assert texts_of(one) == [str(LINES_MAX + 1), str(last), "saga"]
    assert followed.asked() == ({"id-1": last}, {})


@pytest.mark.parametrize(
    ("until", "status", "ends"),
    [
        (None, "completed", False),
        (Until.ENDED, "running", False),
        (Until.ENDED, "stuck", False),
        (Until.ENDED, "compensated", True),
        (Until.AT_REST, "paused", False),
        (Until.AT_REST, "stuck", True),
    ],
)
def test_a_stream_ends_when_what_it_is_for_has_come(until: Until | None, status: str, *, ends: bool) -> None:
    followed, one = FollowedSagas(), viewer(3, until=until)
    followed.add(one)
    followed.asked()
    followed.see(found(saga(1, status)), EventTexts())
    assert one.is_over is ends


async def test_whoever_waits_for_a_saga_that_is_not_there_yet_goes_on_waiting() -> None:
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    followed = FollowedSagas()
    followed.add(SagaWaiter("id-1", done))
    assert followed.asked() == ({}, {"id-1": None})
    followed.see(found(), EventTexts())
    followed.asked()
    followed.see(found(saga(1)), EventTexts())
    assert not done.done()
    followed.see(found(saga(1, "stuck")), EventTexts())
    assert done.done()


def test_a_text_is_written_once_for_all_who_may_see_the_same() -> None:
    texts, hidden = EventTexts(), PayloadView(needs=Role.OPERATOR)
    shown = texts.line("id-1", line(4, "card 4711"), EVERYTHING)
    assert texts.line("id-1", line(4, "card 4711"), EVERYTHING) is shown
    assert b"4711" in shown
    assert b"[hidden: needs operator]" in texts.line("id-1", line(4, "card 4711"), hidden)
