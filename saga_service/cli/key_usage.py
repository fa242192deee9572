"""Which keys stored values are sealed with, read from the contract's views and from nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asyncpg import Connection

    from saga_service.settings import Settings

PLAIN = ""
"""Stands for the id of a key where a value is not sealed."""

# An empty object is never sealed, and tells nothing. Of a dead letter its preview is read, which is text.
KEYS_IN_USE = r"""
select coalesce(key_id, '') as key_id, count(distinct saga_id) as sagas, count(distinct letter_id) as dead_letters
from (
    select split_part(input ->> '$sealed', '.', 1) as key_id, id as saga_id, null::bigint as letter_id
    from saga.sagas where input <> '{}'
    union all
    select split_part(output ->> '$sealed', '.', 1), saga_id, null from saga.steps
    where output is not null and output <> '{}'
    union all
    select split_part(data ->> '$sealed', '.', 1), saga_id, null from saga.signals
    where data is not null and data <> '{}'
    union all
    select substring(fields ->> 'data' from '^\s*\{\s*"\$sealed"\s*:\s*"([^".]+)\.'), null, id
    from saga.dead_letters where replayed_at is null and fields ->> 'data' ~ '^\s*\{\s*"\$sealed"'
) as found
group by 1 order by 1
"""


@dataclass(frozen=True, slots=True)
class KeyUsage:
    """What is sealed with one key; `key_id` is empty for what is plain. A saga may be counted under several keys."""

    key_id: str
    sagas: int
    dead_letters: int


async def keys_in_use(connection: Connection, timeout_s: float | None = None) -> list[KeyUsage]:
    """All sagas are read. Raises TimeoutError where that takes longer than `timeout_s`, or else the settings' limit."""
    rows = await connection.fetch(KEYS_IN_USE, timeout=timeout_s)
    return [KeyUsage(**dict(row)) for row in rows]


def known_key_ids(settings: Settings) -> Sequence[str] | None:
    """The first one seals. None where a codec of the team's own has the keys."""
    from saga_service.codec import read_keys

    if settings.codec is not None:
        return None
    return [key.id for key in read_keys(settings.encryption_keys.get_secret_value())]
