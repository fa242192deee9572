"""Removing in small batches: until nothing is left, the time is used up, or the service stops."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import structlog

from saga_service.base.lifecycle import Shutdown
from saga_service.engine.failures import StoreUnavailable
from saga_service.runtime.maintenance import BATCH_ROWS_MAX, Retention

NOW_MS = 1_000_000_000
KEPT_MS = 86_400_000
BATCH_S = 0.3


class Ended:
    """A store in which so much has ended. Each batch takes its time, and then does what it is told to."""

    def __init__(self, ended: int, and_then: Callable[[], None] = lambda: None) -> None:
        self.ended = ended
        self.calls: list[tuple[int, int]] = []
        self.now_s = 0.0
        self._and_then = and_then

    async def remove_ended(self, before_ms: int, limit: int, *, since_ms: int = 0) -> tuple[int, int | None]:
        removed = await self._remove(before_ms, limit, since_ms)
        return removed, 7 * len(self.calls) if removed else None

    async def remove_replayed(self, before_ms: int, limit: int) -> int:
        return await self._remove(before_ms, limit, 0)

    async def remove_jobs(self, ended_before_ms: int, expired_before_ms: int, limit: int) -> int:
        return await self._remove(ended_before_ms, limit, 0)

    async def _remove(self, before_ms: int, limit: int, since_ms: int) -> int:
        self.calls.append((before_ms, since_ms))
        removed = min(limit, self.ended)
        self.ended -= removed
        self.now_s += BATCH_S
        self._and_then()
        return removed


def retention(ended: Ended, *, budget_s: float = 100.0, shutdown: Shutdown | None = None) -> Retention:
    return Retention(
        ended,
        budget_s=budget_s,
        now_ms=lambda: NOW_MS,
        shutdown=Shutdown() if shutdown is None else shutdown,
        elapsed_s=lambda: ended.now_s,
    )


async def test_batches_follow_each_other_until_nothing_is_left() -> None:
    ended = Ended(2 * BATCH_ROWS_MAX + 1)
    with structlog.testing.capture_logs() as logs:
        await retention(ended).remove_ended(KEPT_MS)
    assert ended.ended == 0
    assert ended.calls == [(NOW_MS - KEPT_MS, since_ms) for since_ms in (0, 7, 14)]
    assert logs == [
        {
            "event": "ended sagas were removed",
            "log_level": "info",
            "removed": 2 * BATCH_ROWS_MAX + 1,
            "more_to_remove": False,
        }
    ]


async def test_where_there_is_nothing_to_remove_it_looks_once_and_says_nothing() -> None:
    ended = Ended(0)
    with structlog.testing.capture_logs() as logs:
        await retention(ended).remove_ended(KEPT_MS)
        await retention(ended).remove_replayed(KEPT_MS)
    assert len(ended.calls) == 2
    assert logs == []


async def test_what_is_left_when_its_time_is_used_up_is_for_the_next_turn() -> None:
    ended = Ended(10 * BATCH_ROWS_MAX)
    with structlog.testing.capture_logs() as logs:
        await retention(ended, budget_s=2.5 * BATCH_S).remove_ended(KEPT_MS)
    assert ended.ended == 7 * BATCH_ROWS_MAX
    assert [(line["removed"], line["more_to_remove"]) for line in logs] == [(3 * BATCH_ROWS_MAX, True)]
    await retention(ended).remove_ended(KEPT_MS)
    assert ended.ended == 0


async def test_a_service_that_stops_waits_for_one_batch_at_most() -> None:
    shutdown = Shutdown()
    ended = Ended(10 * BATCH_ROWS_MAX, and_then=shutdown.request)
    await retention(ended, shutdown=shutdown).remove_ended(KEPT_MS)
    assert len(ended.calls) == 1


async def test_what_was_removed_before_the_store_went_away_is_told() -> None:
    def go_away() -> None:
        if len(ended.calls) == 2:
            raise StoreUnavailable("away")

    ended = Ended(10 * BATCH_ROWS_MAX, and_then=go_away)
    with structlog.testing.capture_logs() as logs, pytest.raises(StoreUnavailable):
        await retention(ended).remove_ended(KEPT_MS)
    assert [(line["removed"], line["more_to_remove"]) for line in logs] == [(BATCH_ROWS_MAX, True)]


async def test_replayed_dead_letters_go_in_the_same_way() -> None:
    ended = Ended(BATCH_ROWS_MAX + 5)
    with structlog.testing.capture_logs() as logs:
        await retention(ended).remove_replayed(KEPT_MS)
    assert ended.calls == [(NOW_MS - KEPT_MS, 0)] * 2
    assert [(line["event"], line["removed"]) for line in logs] == [
        ("replayed dead letters were removed", BATCH_ROWS_MAX + 5)
    ]


async def test_old_jobs_go_in_the_same_way() -> None:
    ended = Ended(BATCH_ROWS_MAX + 5)
    with structlog.testing.capture_logs() as logs:
        await retention(ended).remove_jobs(KEPT_MS)
    assert ended.calls == [(NOW_MS - KEPT_MS, 0)] * 2
    assert [(line["event"], line["removed"]) for line in logs] == [
        ("items of old jobs were removed", BATCH_ROWS_MAX + 5)
    ]
