"""The keys by which stored values are encrypted, read from the contract's views."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from asyncpg import Connection

from saga_service.encryption import read_keys
from saga_service.settings import Settings

PLAIN = ""
"""Stands for the id of a key where a value is not encrypted."""

# An empty object is never encrypted, and shows nothing. Of a dead letter its preview is read, which is text.
KEYS_IN_USE = r"""
select coalesce(key_id, '') as key_id, count(distinct saga_id) as sagas, count(distinct letter_id) as dead_letters
from (
    select split_part(input ->> '$encrypted', '.', 1) as key_id, id as saga_id, null::bigint as letter_id
    from saga.sagas where input <> '{}'
    union all
    select split_part(output ->> '$encrypted', '.', 1), saga_id, null from saga.steps
    where output is not null and output <> '{}'
    union all
    select split_part(data ->> '$encrypted', '.', 1), saga_id, null from saga.signals
    where data is not null and data <> '{}'
    union all
    select substring(fields ->> 'data' from '^\s*\{\s*"\$encrypted"\s*:\s*"([^".]+)\.'), null, id
    from saga.dead_letters where replayed_at is null and fields ->> 'data' ~ '^\s*\{\s*"\$encrypted"'
) as found
group by 1 order by 1
"""


@dataclass(frozen=True, slots=True)
class KeyUsage:
    """The use of one key, or of none where `key_id` is PLAIN. One saga may be counted under several keys."""

    key_id: str
    sagas: int
    dead_letters: int


async def keys_in_use(connection: Connection, timeout_s: float | None = None) -> list[KeyUsage]:
    """Count sagas and dead letters by key. It reads every saga.

    Raises TimeoutError where that takes longer than `timeout_s`, by default the connection's own limit.
    """
    rows = await connection.fetch(KEYS_IN_USE, timeout=timeout_s)
    return [KeyUsage(**dict(row)) for row in rows]


def known_key_ids(settings: Settings) -> Sequence[str] | None:
    """The ids of SAGA_ENCRYPTION_KEYS; the first one encrypts. None where a cipher of the team's own has the keys."""
    if settings.encryption_cipher is not None:
        return None
    return [key.id for key in read_keys(settings.encryption_keys.get_secret_value())]
