"""Encrypted values as commands show them, and the keys that stored values are encrypted with.

A value is shown decrypted where its key is known here, else with the name of the key. The keys in use are read from the
contract's views.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import orjson
from asyncpg import Connection

from saga_service.admin.failure_kinds import Failure, FailureKind
from saga_service.admin.views import SagaRow, SagaStory
from saga_service.encryption import CipherNotLoaded, load_cipher, read_keys
from saga_service.settings import Settings
from saga_service.wire.encryption import (
    INPUT,
    OUTPUT,
    SIGNAL,
    Cipher,
    DecryptionFailed,
    decrypt_value,
    is_encrypted,
    key_id,
)


def cipher_of(settings: Settings) -> Cipher | None:
    """The cipher that the settings name, None where they name none. Raises Failure where it cannot be had."""
    try:
        return load_cipher(
            settings.encryption_keys.get_secret_value(), settings.encryption_cipher, encrypt=settings.encryption_enabled
        )
    except CipherNotLoaded as error:
        raise Failure(str(error), kind=FailureKind.INVALID) from None


def decrypted_saga(saga: SagaRow, cipher: Cipher | None) -> SagaRow:
    """The saga with its input as a person reads it."""
    return replace(saga, input=_decrypted(saga.input, cipher, INPUT, saga.id))


def decrypted_story(story: SagaStory, cipher: Cipher | None) -> SagaStory:
    """The story with inputs, outputs and signals' data as a person reads them."""
    saga_id = story.saga.id
    return replace(
        story,
        saga=decrypted_saga(story.saga, cipher),
        steps=[
            replace(step, output=_decrypted(step.output, cipher, OUTPUT, saga_id, step.step)) for step in story.steps
        ],
        signals=[
            replace(each, data=_decrypted(each.data, cipher, SIGNAL, saga_id, each.name, each.signal_id))
            for each in story.signals
        ],
        children=[decrypted_saga(child, cipher) for child in story.children],
    )


def _decrypted(value: Any, cipher: Cipher | None, *context: str) -> Any:  # Any: whatever the author's data is
    if not isinstance(value, dict) or not is_encrypted(value):
        return value
    try:
        return orjson.loads(decrypt_value(value, cipher, *context))
    except DecryptionFailed:
        return f"encrypted (key {key_id(value)})"


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
