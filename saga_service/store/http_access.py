"""What all processes of the HTTP API know together of their callers: who has logged out, and who was refused."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

import asyncpg

from saga_service.store.pool import borrowed

ACQUIRE_TIMEOUT_S = 5.0

END_SESSION = """
with over as (
    delete from saga_private.ended_sessions where session_id in (
        select session_id from saga_private.ended_sessions where expires_at < now()
        order by session_id for update skip locked
    )
)
insert into saga_private.ended_sessions (session_id, expires_at) values ($1, to_timestamp($2))
on conflict do nothing
"""

ENDED_SESSIONS = "select session_id from saga_private.ended_sessions where expires_at > now()"

# Whoever is not known may come by the million, and must not push out what is on record of those who are.
RECORD_REFUSALS = """
with kept as (
    select
        (select number from saga_private.refusals where caller is null order by number desc offset 4999 limit 1)
            as others_from,
        (select number from saga_private.refusals where caller is not null order by number desc offset 4999 limit 1)
            as known_from
), old as (
    delete from saga_private.refusals where number in (
        select number from saga_private.refusals, kept
        where at < now() - interval '90 days'
            or number < case when caller is null then others_from else known_from end
        order by number for update of refusals skip locked
    )
)
insert into saga_private.refusals (times, status, caller, address, method, path, detail)
select * from unnest($1::integer[], $2::smallint[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[])
"""


class Refusal(NamedTuple):
    """A request that was refused. `caller` is None where nobody was known."""

    status: int
    caller: str | None
    address: str
    method: str
    path: str
    detail: str


class HttpAccess:
    """Reads and writes it. All methods raise the errors of `engine.failures`."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def end_session(self, session_id: str, expires_at_s: float) -> None:
        """Note that a session is over, for as long as it would have counted."""
        async with borrowed(self._pool, ACQUIRE_TIMEOUT_S) as connection:
            await connection.execute(END_SESSION, session_id, expires_at_s)

    async def ended_sessions(self) -> set[str]:
        """The sessions that were ended before their time."""
        async with borrowed(self._pool, ACQUIRE_TIMEOUT_S) as connection:
            return {row[0] for row in await connection.fetch(ENDED_SESSIONS)}

    async def record_refusals(self, refusals: Collection[tuple[Refusal, int]]) -> None:
        """Add these, each with how often it was refused; remove what is too old or too much."""
        columns = [[times for _, times in refusals], *map(list, zip(*(each for each, _ in refusals), strict=True))]
        async with borrowed(self._pool, ACQUIRE_TIMEOUT_S) as connection:
            await connection.execute(RECORD_REFUSALS, *columns)
