"""A hundred viewers of one process see every event soon. `tests.support.many_viewers` measures a thousand."""

from __future__ import annotations

from saga_service.store.postgres_store import PostgresStore
from tests.support.many_viewers import ManyViewers

SEEN_WITHIN_S = 2.0


async def test_a_hundred_viewers_see_every_event_within_two_seconds(server: str, store: PostgresStore) -> None:
    many = ManyViewers(server, store, lists=90, singles=10)
    await many.open()
    await many.change(commits=40, rate_per_s=40)
    assert len(many.measured.latencies_s) == many.measured.expected >= 40 * 30
    assert many.measured.lost == 0
    assert many.measured.percentile(0.95) < SEEN_WITHIN_S
