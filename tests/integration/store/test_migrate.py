"""Bringing the schema up: once, whole, by whoever comes first, on every kind of address and with few rights."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from saga_service.local.servers import EmbeddedServers
from saga_service.settings import ServerUrl, Settings
from saga_service.startup import StartupRefused, wait_for_postgres
from saga_service.store.schema import migrate as migrating
from saga_service.store.schema import migrate as version
from saga_service.store.schema.migrate import (
    HEAD,
    MIGRATIONS,
    PRIVATE_SCHEMA,
    SchemaFit,
    SchemaUnfit,
    migrate,
    read_sql,
    schema_state,
)

VIEWS = (
    "sagas",
    "steps",
    "history",
    "signals",
    "requests",
    "dead_letters",
    "definitions",
    "compensation_debt",
    "processes",
    "changes",
    "refusals",
    "jobs",
    "job_items",
)
TABLES = (
    *("sagas", "history", "outbox", "requests", "dead_letters", "definitions", "migrations"),
    *("processes", "streams", "resends", "deployment", "changes", "ended_sessions", "refusals", "jobs", "job_items"),
)
FUNCTIONS = (
    *("start", "signal", "operate", "request_results", "state", "state_metrics"),
    *("preview_job", "confirm_job", "stop_job"),
)
ROLES = ("saga_reader", "saga_client", "saga_operator")


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
    async with connected(blank_postgres_dsn) as connection:
        query = "select proname from pg_proc where pronamespace = to_regnamespace('saga')"
        assert {row["proname"] for row in await connection.fetch(query)} == set(FUNCTIONS)


async def test_everything_of_the_contract_says_what_it_is(postgres_dsn: str) -> None:
    async with connected(postgres_dsn) as connection:
        unsaid = await connection.fetch(
            "select proname from pg_proc where pronamespace = to_regnamespace('saga')"
            " and obj_description(oid, 'pg_proc') is null"
        )
        schema = await connection.fetchval("select obj_description('saga'::regnamespace, 'pg_namespace')")
    assert unsaid == []
    assert all(role in schema for role in ROLES)


async def test_ten_replicas_that_migrate_at_once_all_succeed(blank_postgres_dsn: str) -> None:
    heads = await asyncio.gather(*(migrate(blank_postgres_dsn) for _ in range(10)))
    assert heads == [HEAD] * 10
    async with connected(blank_postgres_dsn) as connection:
        assert await connection.fetchval(f"select count(*) from {PRIVATE_SCHEMA}.migrations") == 1


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
    ours = logging.getLogger("saga_service.store.schema.migrate")
    before = (list(root.handlers), root.level, ours.disabled, ours.level)
    await migrate(blank_postgres_dsn)
    assert (list(root.handlers), root.level, ours.disabled, ours.level) == before


SECOND = "create view saga.newer as select id from saga.sagas"
OLD_LETTER = """
insert into saga_private.dead_letters (at_ms, stream, entry_id, reason, preview, raw)
values (1000, 'saga:events', '1-1', 'broken', '{}', '[]')
"""


def _a_second_migration(monkeypatch: pytest.MonkeyPatch, sql: str) -> None:
    """What a later version of the service would bring."""
    monkeypatch.setattr(migrating, "MIGRATIONS", {**MIGRATIONS, "0002": "0002_second.sql"})
    monkeypatch.setattr(version, "MIGRATIONS", {**MIGRATIONS, "0002": "0002_second.sql"})
    monkeypatch.setattr(version, "HEAD", "0002")
    monkeypatch.setattr(migrating, "read_sql", lambda file: sql if file.startswith("0002") else read_sql(file))


async def test_an_older_database_gets_what_is_missing_and_keeps_its_data(
    postgres_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _a_second_migration(monkeypatch, SECOND)
    async with connected(postgres_dsn) as connection:
        await connection.execute(OLD_LETTER)
        assert (await schema_state(connection)).fit is SchemaFit.TOO_OLD

        await migrate(postgres_dsn)

        assert (await schema_state(connection)).fit is SchemaFit.CURRENT
        rows = await connection.fetch("select revision from saga_private.migrations order by 1")
        assert [row["revision"] for row in rows] == ["0001", "0002"]
        assert await connection.fetchval("select reason from saga.dead_letters") == "broken"


async def test_a_later_migration_that_fails_leaves_the_revision_before(
    postgres_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _a_second_migration(monkeypatch, f"{SECOND}; select 1 / 0")
    with pytest.raises(asyncpg.DivisionByZeroError):
        await migrate(postgres_dsn)
    async with connected(postgres_dsn) as connection:
        assert (await schema_state(connection)).revision == HEAD
        assert await connection.fetchval("select to_regclass('saga.newer')") is None


# ---------------------------------------------------------------------------------------------------- who may read what


async def test_readers_can_read_the_views_that_a_migration_brings(
    postgres_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _a_second_migration(monkeypatch, SECOND)
    await migrate(postgres_dsn)
    async with connected(postgres_dsn) as connection:
        await connection.execute("set role saga_reader")
        assert await connection.fetch("select * from saga.newer") == []


async def test_readers_can_read_every_view_and_no_table(postgres_dsn: str) -> None:
    async with connected(postgres_dsn) as connection:
        await connection.execute("set role saga_reader")
        for view in VIEWS:
            assert await connection.fetch(f"select * from saga.{view}") == []
        for table in TABLES:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.fetch(f"select * from {PRIVATE_SCHEMA}.{table}")
        for view in VIEWS:
            may_write = "select has_table_privilege($1, 'insert, update, delete, truncate')"
            assert await connection.fetchval(may_write, f"saga.{view}") is False


@asynccontextmanager
async def limited_role(admin_dsn: str, database: str, *grants: str) -> AsyncIterator[str]:
    """The address of a database for a role that owns nothing and has these rights."""
    address = urlsplit(admin_dsn)
    role = f"limited_{database}"
    async with connected(urlunsplit(address._replace(path=f"/{database}"))) as connection:
        await connection.execute(f"create role {role} login nocreaterole password 'limited'")
        for grant in grants:
            await connection.execute(grant.format(role=role))
        try:
            netloc = f"{role}:limited@{address.netloc.rpartition('@')[2]}"
            yield urlunsplit(address._replace(netloc=netloc, path=f"/{database}"))
        finally:
            await connection.execute(f"drop owned by {role} cascade; drop role {role}")


async def test_migrating_a_current_schema_needs_no_right_but_to_read(postgres_dsn: str) -> None:
    grants = (
        "grant usage on schema saga_private to {role}",
        "grant select on saga_private.migrations to {role}",
        "alter role {role} set default_transaction_read_only = on",
    )
    async with limited_role(postgres_dsn, urlsplit(postgres_dsn).path[1:], *grants) as dsn:
        async with connected(dsn) as connection:
            database = await connection.fetchval("select current_database()")
            assert not await connection.fetchval("select has_database_privilege($1, 'create')", database)
        assert await migrate(dsn) == HEAD


async def test_schemas_that_an_administrator_made_are_enough_to_migrate(blank_postgres_dsn: str) -> None:
    schemas = ("create schema saga authorization {role}", "create schema saga_private authorization {role}")
    async with limited_role(blank_postgres_dsn, urlsplit(blank_postgres_dsn).path[1:], *schemas) as dsn:
        assert await migrate(dsn) == HEAD
        assert await _fit(dsn) is SchemaFit.CURRENT


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
async def test_a_database_that_cannot_hold_every_text_is_refused(blank_postgres_dsn: str, encoding: str) -> None:
    address, name = urlsplit(blank_postgres_dsn), f"in_{encoding.lower()}_{os.getpid()}"
    dsn = urlunsplit(address._replace(path=f"/{name}"))
    async with connected(blank_postgres_dsn) as connection:
        await connection.execute(f"create database {name} encoding '{encoding}' locale 'C' template template0")
        try:
            with pytest.raises(SchemaUnfit, match=f"has the encoding {encoding}, which does not keep every text"):
                await migrate(dsn)
            assert await _fit(dsn) is SchemaFit.MISSING
            for migrate_at_start in (True, False):
                settings = Settings(postgres_dsn=ServerUrl(dsn), migrate_at_start=migrate_at_start)
                with pytest.raises(StartupRefused, match=f"encoding {encoding}"):
                    await wait_for_postgres(settings)
        finally:
            await connection.execute(f"drop database {name}")


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
    for role in ROLES:
        assert f"create role {role} nologin; grant usage on schema saga to {role}" in caplog.text

    async with connected(admin_dsn) as connection:
        for role in ROLES:
            await connection.execute(f"create role {role} nologin")
    caplog.clear()
    await migrate(dsn)
    assert caplog.records == []
    async with connected(urlunsplit(address._replace(path="/for_limited"))) as connection:
        await connection.execute("set role saga_reader")
        assert await connection.fetch("select * from saga.sagas") == []
