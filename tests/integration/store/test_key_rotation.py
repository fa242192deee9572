"""Stored sagas are encrypted with a new key while a service runs."""

from __future__ import annotations

from collections.abc import Sequence

import asyncpg
import pytest

from saga_service.core.effects import Transition
from saga_service.core.ids import SagaId
from saga_service.core.state import Signal
from saga_service.encryption import Cipher
from saga_service.store.encryption import PostgresKeyRotation
from saga_service.store.postgres_store import PostgresStore
from saga_service.wire.encryption import DecryptOnly, UnknownKey
from tests.support.ciphers import MARKER, OF_BOTH, OF_NEW, OF_OLD
from tests.support.store_batches import ORDER, batch, start, state_of, succeed

KEYS_SEEN = """
select array_agg(distinct key_id) from saga_private.sagas,
    lateral (
        select (regexp_matches(concat(input, steps, extra), '"\\$encrypted":"([^.]+)\\.', 'g'))[1] as key_id
    ) as found
"""


@pytest.fixture
def rotation(pool: asyncpg.Pool) -> PostgresKeyRotation:
    return PostgresKeyRotation(pool, OF_BOTH)


def store_with(pool: asyncpg.Pool, cipher: Cipher | None) -> PostgresStore:
    return PostgresStore(pool, lambda document: ORDER, cipher=cipher)


async def keep(store: PostgresStore, *keys: str) -> list[Transition]:
    """Sagas with an input, an output and a signal."""
    began = [start(key, saga_input={"name": MARKER}) for key in keys]
    await store.commit(batch(*began))
    went_on = [succeed(transition, {"at": MARKER}) for transition in began]
    told = [
        transition._replace(state=state_of(transition)._replace(signals=(Signal("approved", "s-1", {"by": MARKER}),)))
        for transition in went_on
    ]
    await store.commit(batch(*told))
    return told


def ids_of(transitions: Sequence[Transition]) -> list[SagaId]:
    return sorted(state_of(transition).id for transition in transitions)


@pytest.mark.parametrize("before", [None, OF_OLD])
async def test_sagas_that_are_plain_or_of_an_old_key_are_encrypted_with_the_first(
    pool: asyncpg.Pool, rotation: PostgresKeyRotation, before: Cipher | None
) -> None:
    kept = await keep(store_with(pool, before), "a", "b")

    rotated = await rotation.rotate(ids_of(kept))

    assert (rotated.done, rotated.again, rotated.undecryptable) == (2, [], [])
    assert await pool.fetchval(KEYS_SEEN) == ["new"]
    loaded = await store_with(pool, OF_NEW).load(ids_of(kept))
    assert {state.id: state for state in loaded} == {state_of(each).id: state_of(each) for each in kept}


async def test_values_of_the_first_key_are_left_alone(pool: asyncpg.Pool, rotation: PostgresKeyRotation) -> None:
    kept = await keep(store_with(pool, OF_BOTH), "a")
    before = await pool.fetchrow("select xmin::text, input::text from saga_private.sagas")

    assert (await rotation.rotate(ids_of(kept))).done == 0
    assert await pool.fetchrow("select xmin::text, input::text from saga_private.sagas") == before


async def test_a_cipher_that_decrypts_only_makes_all_plain_again(pool: asyncpg.Pool) -> None:
    kept = await keep(store_with(pool, OF_OLD), "a", "b")

    assert (await PostgresKeyRotation(pool, DecryptOnly(OF_BOTH)).rotate(ids_of(kept))).done == 2

    assert await pool.fetchval(KEYS_SEEN) is None
    loaded = await store_with(pool, None).load(ids_of(kept))
    assert {state.id: state for state in loaded} == {state_of(each).id: state_of(each) for each in kept}


async def test_a_saga_that_somebody_holds_is_tried_again_and_not_waited_for(
    pool: asyncpg.Pool, rotation: PostgresKeyRotation
) -> None:
    kept = await keep(store_with(pool, OF_OLD), "a", "b")
    held, free = ids_of(kept)

    async with pool.acquire() as other, other.transaction():
        await other.execute("select from saga_private.sagas where id = $1 for update", held)
        first = await rotation.rotate([held, free])
    second = await rotation.rotate(first.again)

    assert (first.done, first.again, second.done) == (1, [held], 1)


async def test_whoever_drives_a_saga_does_not_notice(pool: asyncpg.Pool, rotation: PostgresKeyRotation) -> None:
    [kept] = await keep(store_with(pool, OF_OLD), "a")
    await rotation.rotate(ids_of([kept]))

    await store_with(pool, OF_BOTH).commit(batch(succeed(kept, {"paid": MARKER})))

    [state] = await store_with(pool, OF_NEW).load(ids_of([kept]))
    assert (state.revision, state.steps[1].output) == (3, {"paid": MARKER})


async def test_what_cannot_be_decrypted_is_told_and_the_others_are_encrypted_anew(pool: asyncpg.Pool) -> None:
    [lost] = await keep(store_with(pool, OF_OLD), "lost")
    kept = await keep(store_with(pool, None), "a")

    rotated = await PostgresKeyRotation(pool, OF_NEW).rotate(ids_of([lost, *kept]))

    assert rotated.done == 1
    assert [text for text in rotated.undecryptable if f"saga {state_of(lost).id} is encrypted with key 'old'" in text]
    with pytest.raises(UnknownKey):
        await store_with(pool, OF_NEW).load(ids_of([lost]))


async def test_all_sagas_come_page_by_page(pool: asyncpg.Pool, rotation: PostgresKeyRotation) -> None:
    kept = await keep(store_with(pool, OF_OLD), *"abcde")
    first = await rotation.next_sagas(None, 3)
    second = await rotation.next_sagas(first[-1], 3)
    assert [*first, *second] == ids_of(kept)
    assert await rotation.next_sagas(second[-1], 3) == []
