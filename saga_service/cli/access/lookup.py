"""The one saga that a person names: found by its id or its business key, with its story and its state."""

from __future__ import annotations

from asyncpg import Connection

from saga_service.cli.access.views import SagaRow, SagaStory, saga_with_id, sagas_with_key, story_of
from saga_service.cli.exits import CommandFailed, ExitCode
from saga_service.core.ids import parse_saga_id
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


async def find_saga(
    connection: Connection,
    given: str,
    definition: str | None = None,
    *,
    by_definition: str = ", or its definition by --saga",
) -> SagaRow:
    """The saga that has this id or business key. Raises CommandFailed where there is none, or more than one.

    `definition` is the name of the saga's definition, for a key that several definitions know. `by_definition` is
    printed to say how it can be given.
    """
    saga_id = parse_saga_id(given)
    by_id = await saga_with_id(connection, saga_id) if saga_id else None
    if by_id is not None:
        return by_id
    # A business key may well look like a UUID.
    with_key = [row for row in await sagas_with_key(connection, given) if definition in (None, row.saga)]
    if len(with_key) > 1:
        ids = ", ".join(f"{row.saga} {row.id}" for row in with_key)
        raise CommandFailed(
            f"several sagas have the key '{given}': {ids}", f"name one by its id{by_definition}", code=ExitCode.USAGE
        )
    if not with_key:
        raise CommandFailed(f"no saga has the id or the key '{given}'", "see: saga-service list")
    return with_key[0]


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
