"""One saga, found by its id or its business key, with its story and its state."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import NamedTuple

from asyncpg import Connection

from saga_service.admin.failure_kinds import Failure, FailureKind
from saga_service.admin.text import at_time, quoted
from saga_service.admin.views import (
    OpenRequestRow,
    SagaRow,
    SagaStory,
    latest_dead_letter_of,
    open_request_of,
    saga_with_id,
    sagas_with_key,
    story_of,
)
from saga_service.core.ids import SagaId, parse_saga_id
from saga_service.core.state import SagaState
from saga_service.store.encryption import decrypted_state
from saga_service.store.rows import read_saga
from saga_service.wire.business_keys import KeyForm, written_key
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


NAMED_SAGAS_MAX = 10


class FoundSaga(NamedTuple):
    """The saga that is meant, and child sagas that have its key too."""

    saga: SagaRow
    children: list[SagaRow]


async def find_saga(
    connection: Connection,
    given: str,
    definition: str | None = None,
    *,
    by_definition: str,
    deferral_max_ms: int | None = None,
) -> FoundSaga:
    """The saga that has this id or business key. Raises Failure where there is none, or more than one.

    A key names the saga that was started with it. It names a child saga only where no saga was started with it, as for
    the service. `definition` is the name of the saga's definition, for a key that several definitions know.
    `by_definition` says in the failure how it can be given. With `deferral_max_ms` the failure says by what time a
    request is refused that waits for a replica.
    """
    saga_id = parse_saga_id(given)
    by_id = await saga_with_id(connection, saga_id) if saga_id else None
    if by_id is not None:
        return FoundSaga(by_id, [])
    with_key: list[SagaRow] = []
    # A business key may well look like a UUID, and may have been sent in another spelling than it is kept in.
    spellings: dict[str, KeyForm | None] = {given: None, written_key(KeyForm.UUID, given): None}
    # To most definitions 007 is another key than 7.
    spellings.setdefault(written_key(KeyForm.INTEGER, given), KeyForm.INTEGER)
    for key, form in spellings.items():
        with_key = with_key or await sagas_with_key(connection, key, definition, NAMED_SAGAS_MAX + 1, form)
    if not with_key:
        raise await _no_such_saga(connection, given, saga_id, deferral_max_ms)
    started = [row for row in with_key if row.parent_id is None] or with_key
    if len(started) > 1:
        raise Failure(
            f"several sagas have the key {quoted(given)}: {in_one_line(started)}",
            f"name one by its id{by_definition}",
            kind=FailureKind.INVALID,
        )
    return FoundSaga(started[0], [row for row in with_key if row not in started])


async def _no_such_saga(
    connection: Connection, given: str, saga_id: SagaId | None, deferral_max_ms: int | None
) -> Failure:
    """The failure of a command: the saga was never started, its start waits for a replica, or is a dead letter."""
    not_there = f"no saga has the id or the key {quoted(given)}"
    request = await open_request_of(connection, saga_id, given)
    if request is not None:
        until = "" if deferral_max_ms is None else waits_until(request, deferral_max_ms)
        return Failure(
            f"{not_there} yet: a request for it waits for a replica of the service{until}",
            "see: saga-service doctor",
            kind=FailureKind.NOT_FOUND,
        )
    letter = await latest_dead_letter_of(connection, saga_id, given)
    if letter is None:
        return Failure(not_there, "see: saga-service list", kind=FailureKind.NOT_FOUND)
    return Failure(
        f"{not_there}: dead letter {letter.id} names it, which was refused because ",
        f"see: saga-service dead-letters show {letter.id}",
        kind=FailureKind.NOT_FOUND,
        because=letter.reason,
    )


def waits_until(request: OpenRequestRow, deferral_max_ms: int) -> str:
    """By what time the request is refused, to end a sentence with; empty for one that no replica has tried yet."""
    if not request.attempts:
        return ""
    return f" that has '{request.type}', until {at_time(request.at + timedelta(milliseconds=deferral_max_ms))}"


def in_one_line(sagas: Sequence[SagaRow]) -> str:
    """Name and id of each, of NAMED_SAGAS_MAX at most."""
    more = " and more" if len(sagas) > NAMED_SAGAS_MAX else ""
    return ", ".join(f"{row.saga} {row.id}" for row in sagas[:NAMED_SAGAS_MAX]) + more


def removed_just_now(saga_id: str) -> Failure:
    """The failure of whoever has found a saga, and then reads nothing of it."""
    return Failure(f"the saga {saga_id} was removed just now", kind=FailureKind.NOT_FOUND)


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
