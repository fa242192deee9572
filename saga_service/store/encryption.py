"""Encryption of a saga's row, and the rotation of its keys.

Inputs, outputs and the data of signals are encrypted. The fields that people search by stay readable. Errors stay
readable too: an operator has to see at night why a saga is stuck.

Key rotation encrypts stored sagas with the current key while the service runs, so that an old key can go. A row is only
written at the revision that it was read at, and the revision stays as it is: a replica that drives the saga never
notices, and its writes are not overwritten. Rows that somebody holds are passed over, to be tried again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import asyncpg
import orjson

from saga_service.core.ids import SagaId
from saga_service.core.state import JsonObject, SagaState, Signal, StepState
from saga_service.store import queries
from saga_service.store.pool import borrowed
from saga_service.store.rows import read_saga, write_extra, write_json, write_steps
from saga_service.wire.encryption import (
    INPUT,
    OUTPUT,
    SIGNAL,
    Cipher,
    DecryptionFailed,
    decrypt_value,
    encrypt_value,
    encryption_key_id,
    encrypts,
    is_encrypted,
    key_id,
)


def encrypted_state(state: SagaState, cipher: Cipher, *, with_input: bool = True) -> SagaState:
    """The saga as its row has it. `with_input` is false where the input is stored already.

    Raises orjson.JSONEncodeError where a value cannot be stored.
    """
    return state._replace(
        input=encrypt_value(state.input, cipher, INPUT, state.id) if with_input and state.input else state.input,
        steps=tuple([_encrypted_step(state.id, step, cipher) for step in state.steps]),
        signals=tuple([_encrypted_signal(state.id, signal, cipher) for signal in state.signals]),
    )


def _encrypted_step(saga_id: SagaId, step: StepState, cipher: Cipher) -> StepState:
    # An empty object tells nothing, and most undos and many actions return one.
    return step._replace(output=encrypt_value(step.output, cipher, OUTPUT, saga_id, step.name)) if step.output else step


def _encrypted_signal(saga_id: SagaId, signal: Signal, cipher: Cipher) -> Signal:
    if not signal.data:
        return signal
    return signal._replace(data=encrypt_value(signal.data, cipher, SIGNAL, saga_id, signal.name, signal.id))


def decrypted_state(state: SagaState, cipher: Cipher | None) -> SagaState:
    """The saga as the core knows it. A value that is plain, from before there was a cipher, stays as it is.

    Raises DecryptionFailed, without a cipher too: an encrypted value that is taken for a plain one would be sent to
    the workers.
    """
    if not any(map(is_encrypted, values(state))):
        return state
    return state._replace(
        input=_decrypted(state.input, cipher, INPUT, state.id),
        steps=tuple([_decrypted_step(state.id, step, cipher) for step in state.steps]),
        signals=tuple([_decrypted_signal(state.id, signal, cipher) for signal in state.signals]),
    )


def values(state: SagaState) -> list[JsonObject]:
    """The values of a saga that are encrypted in its row."""
    outputs = [step.output for step in state.steps if step.output]
    return [state.input, *outputs, *[signal.data for signal in state.signals if signal.data]]


def _decrypted_step(saga_id: SagaId, step: StepState, cipher: Cipher | None) -> StepState:
    return step._replace(output=_decrypted(step.output, cipher, OUTPUT, saga_id, step.name)) if step.output else step


def _decrypted_signal(saga_id: SagaId, signal: Signal, cipher: Cipher | None) -> Signal:
    if not signal.data:
        return signal
    return signal._replace(data=_decrypted(signal.data, cipher, SIGNAL, saga_id, signal.name, signal.id))


def _decrypted(value: JsonObject, cipher: Cipher | None, field: str, saga_id: SagaId, *context: str) -> JsonObject:
    if not is_encrypted(value):
        return value
    try:
        plain: dict[str, Any] = orjson.loads(decrypt_value(value, cipher, field, saga_id, *context))
    except DecryptionFailed as error:
        of_what = f" of {context[0]}" if context else ""
        raise type(error)(f"the stored {field}{of_what} of saga {saga_id} {error}") from None
    return plain


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
            rows = await connection.fetch(queries.NEXT_SAGAS, after_id or _BEFORE_ALL, sagas_max)
        return [row[0] for row in rows]

    async def rotate(self, saga_ids: Sequence[SagaId]) -> Reencrypted:
        """Encrypt with the current key the sagas that are plain or have another key.

        A cipher that decrypts only leaves every saga plain.
        """
        async with borrowed(self._pool) as connection:
            stored = [read_saga(row) for row in await connection.fetch(queries.LOAD, saga_ids)]
            plain, undecryptable = self._decrypted([state for state in stored if self._is_old(state)])
            fresh = [encrypted_state(state, self._cipher) for state in plain] if encrypts(self._cipher) else plain
            rows = await connection.fetch(queries.ROTATE, *_columns(fresh)) if fresh else []
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
