"""Bringing the schema up: once, whole, by whoever comes first, on every kind of address and with few rights."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from saga_service.embedded import EmbeddedServers
from saga_service.store.migrate import migrate
from saga_service.store.reader_role import READER_ROLE
from saga_service.store.schema import HEAD, PRIVATE_SCHEMA, SchemaFit, SchemaUnfit, schema_state

VIEWS = ("sagas", "steps", "history", "dead_letters", "compensation_debt")
TABLES = ("sagas", "history", "outbox", "dead_letters", "definitions", "migrations", "alembic_version")


@asynccontextmanager
async def connected(dsn: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(dsn)
    try:
        yield connection
    finally:
        await connection.close()


async def _relations(dsn: str, schema: str) -> set[str]:
    query = "select relname from pg_class where relnamespace = to_regnamespace($1) and relkind in ('r', 'v')"
    async with connected(dsn) as connection:
        return {row["relname"] for row in await connection.fetch(query, schema)}


async def _fit(dsn: str) -> SchemaFit:
    async with connected(dsn) as connection:
        return (await schema_state(connection)).fit


async def test_a_blank_database_gets_tables_and_views(blank_postgres_dsn: str) -> None:
    assert await _fit(blank_postgres_dsn) is SchemaFit.MISSING
    assert await migrate(blank_postgres_dsn) == HEAD
    assert await _fit(blank_postgres_dsn) is SchemaFit.CURRENT
    assert await _relations(blank_postgres_dsn, PRIVATE_SCHEMA) == set(TABLES)
    assert await _relations(blank_postgres_dsn, "saga") == set(VIEWS)


async def test_ten_replicas_that_migrate_at_once_all_succeed(blank_postgres_dsn: str) -> None:
    heads = await asyncio.gather(*(migrate(blank_postgres_dsn) for _ in range(10)))
    assert heads == [HEAD] * 10
    async with connected(blank_postgres_dsn) as connection:
        assert await connection.fetchval(f"select count(*) from {PRIVATE_SCHEMA}.migrations") == 1
        assert await connection.fetchval(f"select count(*) from {PRIVATE_SCHEMA}.alembic_version") == 1


async def test_migrating_again_changes_nothing(postgres_dsn: str) -> None:
    async with connected(postgres_dsn) as connection:
        signature = await connection.fetchrow(f"select * from {PRIVATE_SCHEMA}.migrations")
        assert await migrate(postgres_dsn) == HEAD
        assert await connection.fetchrow(f"select * from {PRIVATE_SCHEMA}.migrations") == signature


async def test_a_migration_that_fails_leaves_nothing_behind(blank_postgres_dsn: str) -> None:
    async with connected(blank_postgres_dsn) as connection:
        await connection.execute("create schema saga create table steps (in_the_way integer)")
    with pytest.raises(asyncpg.DuplicateTableError, match="steps"):
        await migrate(blank_postgres_dsn)
    assert await _relations(blank_postgres_dsn, PRIVATE_SCHEMA) == set()
    assert await _relations(blank_postgres_dsn, "saga") == {"steps"}
    async with connected(blank_postgres_dsn) as connection:
        await connection.execute("drop table saga.steps")
    assert await migrate(blank_postgres_dsn) == HEAD


async def test_a_schema_from_the_future_is_refused_and_left_alone(postgres_dsn: str) -> None:
    async with connected(postgres_dsn) as connection:
        await connection.execute(f"update {PRIVATE_SCHEMA}.alembic_version set version_num = '9999'")
        await connection.execute(f"insert into {PRIVATE_SCHEMA}.migrations values ('9999', '7.2.0')")
        state = await schema_state(connection)
        assert state.fit is SchemaFit.TOO_NEW
        with pytest.raises(SchemaUnfit, match=r"deploy version 7\.2\.0 or later"):
            await migrate(postgres_dsn)
        assert await schema_state(connection) == state


async def test_a_wrong_address_says_so(blank_postgres_dsn: str) -> None:
    parts = urlsplit(blank_postgres_dsn)
    with pytest.raises(asyncpg.InvalidCatalogNameError, match="no_such_database"):
        await migrate(urlunsplit(parts._replace(path="/no_such_database")))


async def test_every_kind_of_address_that_asyncpg_takes_will_do(
    blank_postgres_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even none: then the environment has it, as for every Postgres client."""
    async with connected(blank_postgres_dsn) as connection:
        row = await connection.fetchrow(
            "select current_user, current_database(), current_setting('unix_socket_directories'), inet_server_port()"
        )
    assert row is not None
    user, database, sockets, port = row
    parts = urlsplit(blank_postgres_dsn)
    monkeypatch.setenv("PGUSER", user)
    monkeypatch.setenv("PGDATABASE", database)
    monkeypatch.setenv("PGHOST", sockets if port is None else str(parts.hostname))
    monkeypatch.setenv("PGPORT", str(parts.port or 5432))
    monkeypatch.setenv("PGPASSWORD", parts.password or "")
    assert await migrate("postgresql://") == HEAD
    assert await _fit(blank_postgres_dsn) is SchemaFit.CURRENT


async def test_migrating_does_not_touch_the_loggers_of_the_process(blank_postgres_dsn: str) -> None:
    root = logging.getLogger()
    ours = logging.getLogger("saga_service.store.migrate")
    before = (list(root.handlers), root.level, ours.disabled, ours.level)
    await migrate(blank_postgres_dsn)
    assert (list(root.handlers), root.level, ours.disabled, ours.level) == before


# ---------------------------------------------------------------------------------------------------- who may read what


async def test_readers_can_read_every_view_and_no_table(postgres_dsn: str) -> None:
    async with connected(postgres_dsn) as connection:
        await connection.execute(f"set role {READER_ROLE}")
        for view in VIEWS:
            assert await connection.fetch(f"select * from saga.{view}") == []
        for table in TABLES:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.fetch(f"select * from {PRIVATE_SCHEMA}.{table}")
        for view in VIEWS:
            may_write = "select has_table_privilege($1, 'insert, update, delete, truncate')"
            assert await connection.fetchval(may_write, f"saga.{view}") is False


async def test_without_the_right_to_make_roles_all_else_is_in_place_and_a_line_says_what_is_not(
    killable_servers: EmbeddedServers, caplog: pytest.LogCaptureFixture
) -> None:
    admin_dsn = killable_servers.postgres_dsn
    async with connected(admin_dsn) as connection:
        await connection.execute("create role limited login nocreaterole")
        await connection.execute("create database for_limited owner limited")
    address = urlsplit(admin_dsn)
    dsn = urlunsplit(address._replace(netloc=f"limited:@{address.netloc.rpartition('@')[2]}", path="/for_limited"))

    assert await migrate(dsn) == HEAD
    assert await _fit(dsn) is SchemaFit.CURRENT
    assert f"create role {READER_ROLE} nologin; grant usage on schema saga to {READER_ROLE}" in caplog.text

    async with connected(admin_dsn) as connection:
        await connection.execute(f"create role {READER_ROLE} nologin")
    caplog.clear()
    await migrate(dsn)
    assert caplog.records == []
    async with connected(urlunsplit(address._replace(path="/for_limited"))) as connection:
        await connection.execute(f"set role {READER_ROLE}")
        assert await connection.fetch("select * from saga.sagas") == []
