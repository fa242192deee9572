"""Bringing the schema up: once, whole, by whoever comes first, on every kind of address and with few rights."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import asyncpg
import pytest
from alembic import command
from alembic.config import Config

from saga_service.local.servers import EmbeddedServers
from saga_service.store import migrate as migrating
from saga_service.store.migrate import migrate
from saga_service.store.roles import CLIENT_ROLE, OPERATOR_ROLE, READER_ROLE
from saga_service.store.schema import HEAD, PRIVATE_SCHEMA, SchemaFit, SchemaUnfit, schema_state

VIEWS = ("sagas", "steps", "history", "signals", "requests", "dead_letters", "definitions", "compensation_debt")
TABLES = ("sagas", "history", "outbox", "requests", "dead_letters", "definitions", "migrations", "alembic_version")
FUNCTIONS = ("start", "signal", "operate", "request_results")
ROLES = (READER_ROLE, CLIENT_ROLE, OPERATOR_ROLE)


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


# ------------------------------------------------------------------------------------------------ from older revisions

OLD_SAGA = """
insert into saga_private.sagas (
    id, created_at_ms, saga, version, key, input, status, revision, updated_at_ms, ended_at_ms, wake_at_ms, steps
)
select
    gen_random_uuid(), 1000, 'order', 'v1', 'A-' || status, '{"amount": 5}', status, 2, 2000,
    case when status = 'completed' then 2000 end, case when status = 'running' then 32000 end,
    '[["reserve","succeeded",1,0,2,null,null,false,{"r": 1},null,1000,2000]]'
from unnest('{running,completed,stuck}'::text[]) as status
"""
OLD_HISTORY = """
insert into saga_private.history (saga_id, revision, at_ms, event, status)
select id, line, 1000 * line, 'any', 'running'
from saga_private.sagas cross join generate_series(1, 2) as line
"""
GRANT_TO_READERS = (
    f"do $$ begin create role {READER_ROLE} nologin; exception when duplicate_object then null; end $$",
    f"grant usage on schema saga to {READER_ROLE}",
    f"grant select on all tables in schema saga to {READER_ROLE}",
)
OLD_LETTER = """
insert into saga_private.dead_letters (at_ms, stream, entry_id, reason, preview, raw)
values (1000, 'saga:events', '1-1', 'broken', '{}', '[]')
"""


async def _migrate_to(revision: str, dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the version of the service did for which this revision was the newest."""
    upgrade = command.upgrade

    def upgrade_to_it(config: Config, _newest: str) -> None:
        upgrade(config, revision)

    with monkeypatch.context() as patched:
        patched.setattr(command, "upgrade", upgrade_to_it)
        patched.setattr(migrating, "HEAD", revision)
        # They grant what there is today.
        patched.setattr(migrating, "GRANT_TO_ROLES", ())
        await migrate(dsn)


async def test_an_older_database_is_brought_up_with_all_that_is_in_it(
    blank_postgres_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    columns = "key, saga, version, status, revision, input, created_at, updated_at, ended_at, next_check_at"
    shown = (
        f"select {columns} from saga.sagas order by key",
        "select saga, step, status, attempts, output from saga.steps order by status, saga_id",
        "select revision, at, event, status from saga.history order by saga_id, revision",
        "select id, stream, entry_id, at from saga.dead_letters",
    )
    await _migrate_to("0001", blank_postgres_dsn, monkeypatch)
    async with connected(blank_postgres_dsn) as connection:
        assert (await schema_state(connection)).revision == "0001"
        for statement in (OLD_SAGA, OLD_HISTORY, OLD_LETTER):
            await connection.execute(statement)
        before = [await connection.fetch(query) for query in shown]
        assert [len(rows) for rows in before] == [3, 3, 6, 1]

    assert await migrate(blank_postgres_dsn) == HEAD

    async with connected(blank_postgres_dsn) as connection:
        assert (await schema_state(connection)).fit is SchemaFit.CURRENT
        assert [await connection.fetch(query) for query in shown] == before
        removed = await connection.fetchrow("select * from saga_private.remove_ended(0, 3000, 10)")
        assert tuple(removed or ()) == (1, 2000)
        left = await connection.fetch("select key from saga.sagas order by key")
        assert [row["key"] for row in left] == ["A-running", "A-stuck"]


# ---------------------------------------------------------------------------------------------------- who may read what


async def test_whoever_could_read_before_can_read_the_views_that_a_migration_brings(
    blank_postgres_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await _migrate_to("0002", blank_postgres_dsn, monkeypatch)
    name = f"anna_{uuid4().hex}"
    async with connected(blank_postgres_dsn) as connection:
        for grant in GRANT_TO_READERS:
            await connection.execute(grant)
        await connection.execute(f"create role {name} in role {READER_ROLE}")

        assert await migrate(blank_postgres_dsn) == HEAD

        try:
            await connection.execute(f"set role {name}")
            for view in VIEWS:
                assert await connection.fetch(f"select * from saga.{view}") == []
        finally:
            await connection.execute("reset role")
            await connection.execute(f"drop role {name}")


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
    for role in ROLES:
        assert f"create role {role} nologin; grant usage on schema saga to {role}" in caplog.text

    async with connected(admin_dsn) as connection:
        for role in ROLES:
            await connection.execute(f"create role {role} nologin")
    caplog.clear()
    await migrate(dsn)
    assert caplog.records == []
    async with connected(urlunsplit(address._replace(path="/for_limited"))) as connection:
        await connection.execute(f"set role {READER_ROLE}")
        assert await connection.fetch("select * from saga.sagas") == []
