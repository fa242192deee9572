"""The outbox relay: what was left behind is published, what was published is deleted, and nothing is forgotten."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence

import pytest
import structlog

from saga_service.engine.failures import StoreConflict, StoreUnavailable
from saga_service.engine.outbox import OutboxRows
from saga_service.runtime.relay import ROWS_MAX, Relay
from saga_service.wire.entries import Message
from tests.support.fakes import Faults, MemoryPublisher, PausesThatPass

GONE = StoreUnavailable("gone")


class LeftBehind:
    """An outbox whose claims find what they were told to find."""

    def __init__(self) -> None:
        self.claims: deque[list[int]] = deque()
        self.claimed_with: list[tuple[int, int, int]] = []
        self.forgotten: list[int] = []
        self.request: dict[int, list[Message]] = {}
        self.claim_faults = Faults()
        self.forget_faults = Faults()

    async def claim_unpublished(self, now_ms: int, older_than_ms: int, limit: int) -> list[tuple[int, list[Message]]]:
        self.claimed_with.append((now_ms, older_than_ms, limit))
        self.claim_faults.strike()
        rows = self.claims.popleft() if self.claims else []
        return [(row, [Message("saga:outcomes", ("row", str(row)))]) for row in rows]

    async def forget_published(self, ids: Sequence[int]) -> None:
        self.forget_faults.strike()
        self.forgotten.extend(ids)

    async def keep_unpublished(self, outbox_id: int, messages: Sequence[Message]) -> None:
        self.request[outbox_id] = list(messages)


class Relaying:
    def __init__(self, pauses_max: int = 1) -> None:
        self.shutdown = PausesThatPass(pauses_max)
        self.outbox = LeftBehind()
        self.rows = OutboxRows()
        self.publisher = MemoryPublisher()
        self.relay = Relay(
            self.outbox,
            self.rows,
            self.publisher,
            lease_ms=5_000,
            period_s=1.0,
            now_ms=lambda: 70_000,
            shutdown=self.shutdown,
        )

    async def run(self) -> None:
        async with asyncio.timeout(10):
            await self.relay.run()

    @property
    def published(self) -> list[str]:
        return [message.fields[1] for message in self.publisher.messages]


@pytest.fixture
def relaying() -> Relaying:
    return Relaying()


async def test_rows_that_were_left_behind_are_published_and_forgotten(relaying: Relaying) -> None:
    relaying.outbox.claims.append([1, 2])
    await relaying.run()
    assert relaying.published == ["1", "2"]
    assert relaying.outbox.forgotten == [1, 2]
    assert relaying.outbox.claimed_with == [(70_000, 5_000, ROWS_MAX)]


async def test_rows_under_way_here_are_left_to_whoever_publishes_them(relaying: Relaying) -> None:
    relaying.rows.begin(1)
    relaying.outbox.claims.append([1, 2])
    await relaying.run()
    assert relaying.published == ["2"]
    assert relaying.outbox.forgotten == [2]


REFUSED = Message("saga:commands:broken", ("n", "1"))


async def test_of_a_row_that_redis_refuses_in_part_only_that_part_stays(relaying: Relaying) -> None:
    relaying.publisher.refused = [REFUSED]
    relaying.outbox.claims.append([1])
    await relaying.run()
    assert relaying.outbox.forgotten == []
    assert relaying.outbox.request == {1: [REFUSED]}


async def test_messages_that_a_lane_was_refused_are_kept_alone(relaying: Relaying) -> None:
    relaying.rows.begin(7)
    relaying.rows.end(7, [REFUSED])
    await relaying.run()
    assert relaying.outbox.request == {7: [REFUSED]}
    assert relaying.outbox.forgotten == []


async def test_a_row_whose_publishing_was_cut_off_stays_whole(relaying: Relaying) -> None:
    relaying.rows.begin(7)
    relaying.rows.end(7, None)
    await relaying.run()
    assert not relaying.rows.is_under_way(7)
    assert (relaying.outbox.request, relaying.outbox.forgotten) == ({}, [])


async def test_many_rows_are_published_without_a_pause_between(relaying: Relaying) -> None:
    relaying.outbox.claims.extend([list(range(ROWS_MAX)), list(range(ROWS_MAX, 2 * ROWS_MAX)), []])
    await relaying.run()
    assert len(relaying.published) == 2 * ROWS_MAX
    assert len(relaying.shutdown.pauses_s) == 1


async def test_published_rows_are_deleted_while_nothing_else_happens(relaying: Relaying) -> None:
    relaying.rows.begin(7)
    relaying.rows.end(7, [])
    await relaying.run()
    assert relaying.outbox.forgotten == [7]
    assert relaying.rows.take_published() == []


async def test_postgres_away_costs_no_row_and_ends_no_loop() -> None:
    relaying = Relaying(pauses_max=4)
    relaying.rows.end(7, [])
    relaying.outbox.forget_faults.then(GONE)
    relaying.outbox.claim_faults.then(GONE)
    relaying.outbox.claims.append([8])
    await relaying.run()
    assert relaying.outbox.forgotten == [7, 8]
    assert relaying.published == ["8"]


async def test_a_conflict_is_told_for_what_it_is_and_tried_again() -> None:
    relaying = Relaying(pauses_max=3)
    relaying.outbox.claim_faults.then(StoreConflict("deadlock detected"))
    relaying.outbox.claims.append([8])
    with structlog.testing.capture_logs() as logs:
        await relaying.run()
    assert relaying.published == ["8"]
    assert logs[0]["event"] == "another transaction was in the way; the relay waits, and tries again"


async def test_a_published_row_that_could_not_be_deleted_is_found_again() -> None:
    """A message is published twice, which workers tolerate; never is one forgotten that was not published."""
    relaying = Relaying(pauses_max=2)
    relaying.outbox.claims.extend([[1], [1]])
    relaying.outbox.forget_faults.then(GONE)
    await relaying.run()
    assert relaying.published == ["1", "1"]
    assert relaying.outbox.forgotten == [1]
