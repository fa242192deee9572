"""The deployed version of a definition: what starts by SQL go by while versions are rolled out, and rolled back."""

from __future__ import annotations

import asyncpg
import pytest

from saga_service.core.definition import Definition
from saga_service.definitions import definition_from_document, definition_to_document, readable_saga_spec
from saga_service.store.postgres_store import PostgresDefinitionRegistry, PostgresStore
from tests.support.builders import definition

BY_ORDER_ID, BY_NUMBER = "order_id", "number"


@pytest.fixture
def store(pool: asyncpg.Pool) -> PostgresStore:
    return PostgresStore(pool, definition_from_document)


def version(key: str) -> dict[str, object]:
    """A version of the order saga that takes its key from this field."""
    document = definition_to_document("order", definition("reserve").steps, {}, key)
    return {**document, "version": f"by {key}"}


OLD, NEW = version(BY_ORDER_ID), version(BY_NUMBER)


async def key_of_a_start(pool: asyncpg.Pool) -> str:
    saga_id = await pool.fetchval("""select saga.start('order', '{"order_id": "A-17", "number": "7"}')""")
    return str(await pool.fetchval("select key from saga.requests where saga_id = $1::text", str(saga_id)))


async def nobody_has_seen(pool: asyncpg.Pool, document: dict[str, object]) -> None:
    """The replicas that had this version are gone for longer than a minute."""
    await pool.execute(
        "update saga_private.definitions set seen_at = now() - interval '2 minutes' where version = $1",
        document["version"],
    )


async def test_a_start_by_sql_goes_by_the_version_whose_replica_started_last(
    pool: asyncpg.Pool, store: PostgresStore
) -> None:
    await store.remember_definitions([OLD])
    await store.remember_definitions([NEW])
    assert await key_of_a_start(pool) == "7"


async def test_a_roll_back_that_starts_the_old_version_again_brings_it_back(
    pool: asyncpg.Pool, store: PostgresStore
) -> None:
    await store.remember_definitions([OLD])
    await store.remember_definitions([NEW])
    await store.remember_definitions([OLD])
    assert await key_of_a_start(pool) == "A-17"


async def test_a_roll_back_that_only_ends_the_new_version_brings_the_running_one_back(
    pool: asyncpg.Pool, store: PostgresStore
) -> None:
    await store.remember_definitions([OLD])
    await store.remember_definitions([NEW])
    await nobody_has_seen(pool, OLD)
    await nobody_has_seen(pool, NEW)
    await store.still_deployed([definition_of(OLD)])
    assert await key_of_a_start(pool) == "A-17"


async def test_while_both_versions_run_a_replica_that_says_so_changes_nothing(
    pool: asyncpg.Pool, store: PostgresStore
) -> None:
    await store.remember_definitions([OLD])
    await store.remember_definitions([NEW])
    await nobody_has_seen(pool, OLD)
    await store.still_deployed([definition_of(OLD)])
    assert await key_of_a_start(pool) == "7"


async def test_with_no_replica_at_all_the_last_one_that_started_counts(
    pool: asyncpg.Pool, store: PostgresStore
) -> None:
    await store.remember_definitions([OLD])
    await store.remember_definitions([NEW])
    await nobody_has_seen(pool, OLD)
    await nobody_has_seen(pool, NEW)
    assert await key_of_a_start(pool) == "7"


async def test_the_registry_and_the_views_name_the_same_version_as_starts(
    pool: asyncpg.Pool, store: PostgresStore
) -> None:
    for document in (OLD, NEW, OLD):
        await store.remember_definitions([document])
    registry = PostgresDefinitionRegistry(pool, readable_saga_spec)
    found = (await registry.deployed(["order", "nothing"]))["order"]
    assert found is not None
    assert found.definition.version == OLD["version"]
    shown = await pool.fetch("select version from saga.definitions where is_deployed")
    assert [row["version"] for row in shown] == [OLD["version"]]


def definition_of(document: dict[str, object]) -> Definition:
    return definition_from_document(document)
