"""A saga's story together with its state, which the core can preview operations on."""

from __future__ import annotations

from asyncpg import Connection

from saga_service.cli.access.views import SagaStory, story_of
from saga_service.core.state import SagaState
from saga_service.store.encryption import decrypted_state
from saga_service.store.rows import read_saga
from saga_service.wire.encryption import Cipher, DecryptionFailed

# The columns in the order in which the store reads a row.
_STATE = """
select
    state ->> 'id', state ->> 'saga', state ->> 'version', state ->> 'key', state ->> 'status',
    (state ->> 'revision')::integer, state ->> 'input', state ->> 'steps', (state ->> 'created_at_ms')::bigint,
    (state ->> 'updated_at_ms')::bigint, (state ->> 'ended_at_ms')::bigint, (state ->> 'wake_at_ms')::bigint,
    state ->> 'fault', state ->> 'traceparent', state ->> 'extra'
from saga.state($1::uuid) as state where state is not null
"""


async def story_and_state(
    connection: Connection, saga_id: str, cipher: Cipher | None
) -> tuple[SagaStory, SagaState | None] | None:
    """The story and the state of one moment, None where there is no saga with this id.

    The story is as stored. The state is decrypted where the keys are known here, and None where a later version of the
    service has stored it in a form that this one cannot read.
    """
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        story = await story_of(connection, saga_id)
        row = await connection.fetchrow(_STATE, saga_id)
    if story is None or row is None:
        return None
    try:
        return story, _decrypted(read_saga(row), cipher)
    except (KeyError, TypeError, ValueError):
        return story, None


def _decrypted(state: SagaState, cipher: Cipher | None) -> SagaState:
    try:
        return decrypted_state(state, cipher)
    except DecryptionFailed:
        # What may be done to a saga hardly depends on its data.
        return state
