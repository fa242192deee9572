"""Key rotation: stored sagas are encrypted with the current key while the service runs, so that an old key can go.

A row is only written at the revision that it was read at, and the revision stays as it is: a replica that drives the
saga never notices, and its writes are not overwritten. Rows that somebody holds are passed over, to be tried again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import asyncpg

from saga_service.core.ids import SagaId
from saga_service.core.state import JsonObject, SagaState
from saga_service.store import operator_queries, queries
from saga_service.store.encryption import decrypted_state, encrypted_state, values
from saga_service.store.pool import borrowed
from saga_service.store.rows import read_saga, write_extra, write_json, write_steps
from saga_service.wire.encryption import Cipher, DecryptionFailed, encryption_key_id, encrypts, is_encrypted, key_id

_BEFORE_ALL = SagaId("00000000-0000-0000-0000-000000000000")


@dataclass(frozen=True, slots=True)
class Reencrypted:
    """The outcome for some sagas. Sagas that are counted nowhere needed no rewriting."""

    done: int
    again: list[SagaId]
    """Sagas that changed meanwhile, or whose row somebody holds."""
    undecryptable: list[str]
    """The reason for each saga that cannot be decrypted."""


class PostgresKeyRotation:
    """Reads and rewrites sagas page by page. All methods raise StoreUnavailable where Postgres cannot be reached."""

    def __init__(self, pool: asyncpg.Pool, cipher: Cipher) -> None:
        self._pool = pool
        self._cipher = cipher
        self._key_id = encryption_key_id(cipher)

    async def next_sagas(self, after_id: SagaId | None, sagas_max: int) -> list[SagaId]:
        """The page of saga ids after `after_id`, in their order; the first page after None."""
        async with borrowed(self._pool) as connection:
            rows = await connection.fetch(operator_queries.NEXT_SAGAS, after_id or _BEFORE_ALL, sagas_max)
        return [row[0] for row in rows]

    async def rotate(self, saga_ids: Sequence[SagaId]) -> Reencrypted:
        """Encrypt with the current key the sagas that are plain or have another key.

        A cipher that decrypts only leaves every saga plain.
        """
        async with borrowed(self._pool) as connection:
            stored = [read_saga(row) for row in await connection.fetch(queries.LOAD, saga_ids)]
            plain, undecryptable = self._decrypted([state for state in stored if self._is_old(state)])
            fresh = [encrypted_state(state, self._cipher) for state in plain] if encrypts(self._cipher) else plain
            rows = await connection.fetch(operator_queries.ROTATE, *_columns(fresh)) if fresh else []
        written = {row[0] for row in rows}
        return Reencrypted(len(written), [state.id for state in fresh if state.id not in written], undecryptable)

    def _is_old(self, state: SagaState) -> bool:
        return any(value and _key_of(value) != self._key_id for value in values(state))

    def _decrypted(self, states: Sequence[SagaState]) -> tuple[list[SagaState], list[str]]:
        plain: list[SagaState] = []
        undecryptable: list[str] = []
        for state in states:
            try:
                plain.append(decrypted_state(state, self._cipher))
            except DecryptionFailed as error:
                undecryptable.append(str(error))
        return plain, undecryptable


def _key_of(value: JsonObject) -> str | None:
    return key_id(value) if is_encrypted(value) else None


def _columns(states: Sequence[SagaState]) -> tuple[object, ...]:
    return (
        [state.id for state in states],
        [state.revision for state in states],
        [write_json(state.input) for state in states],
        [write_steps(state.steps) for state in states],
        [write_extra(state) for state in states],
    )
