"""`schema.sql` and the migrations are two texts of one schema: a database that either made has the same catalog."""

from __future__ import annotations

import asyncpg

from saga_service.store.schema.migrate import MIGRATIONS, read_sql
from tests.support.databases import Databases

OURS = "nspname in ('saga', 'saga_private')"
RELATIONS = f"pg_class join pg_namespace on pg_namespace.oid = relnamespace and {OURS}"
FUNCTIONS = f"pg_proc join pg_namespace on pg_namespace.oid = pronamespace and {OURS}"
CATALOG = {
    "relations": f"select nspname, relname, relkind, reloptions, relacl::text from {RELATIONS}",
    "columns": f"""
        select nspname, relname, attnum, attname, format_type(atttypid, atttypmod), attnotnull, attstorage,
            attidentity, pg_get_expr(adbin, adrelid)
        from {RELATIONS} join pg_attribute on attrelid = pg_class.oid and attnum > 0
        left join pg_attrdef on adrelid = attrelid and adnum = attnum
    """,
    "constraints": f"""
        select nspname, relname, conname, pg_get_constraintdef(pg_constraint.oid)
        from {RELATIONS} join pg_constraint on conrelid = pg_class.oid
    """,
    "indexes": f"""
        select nspname, relname, pg_get_indexdef(indexrelid) from {RELATIONS} join pg_index on indrelid = pg_class.oid
    """,
    "views": f"select nspname, relname, pg_get_viewdef(pg_class.oid) from {RELATIONS} where relkind = 'v'",
    "functions": f"select nspname, pg_get_functiondef(pg_proc.oid), proacl::text from {FUNCTIONS}",
    "comments": f"""
        select nspname, relname, objsubid, description
        from {RELATIONS} join pg_description on objoid = pg_class.oid and classoid = 'pg_class'::regclass
    """,
    "comments on functions": f"""
        select nspname, proname, description
        from {FUNCTIONS} join pg_description on objoid = pg_proc.oid and classoid = 'pg_proc'::regclass
    """,
    "comments on schemas": f"select nspname, obj_description(oid, 'pg_namespace') from pg_namespace where {OURS}",
}


async def catalog(dsn: str, *files: str) -> dict[str, list[str]]:
    """What Postgres says of both schemas once these files were applied."""
    connection: asyncpg.Connection = await asyncpg.connect(dsn)
    try:
        for file in files:
            await connection.execute(read_sql(file))
        return {kind: sorted(map(str, await connection.fetch(query))) for kind, query in CATALOG.items()}
    finally:
        await connection.close()


async def test_the_migrations_make_what_schema_sql_says(blank_postgres_dsn: str, databases: Databases) -> None:
    other_dsn = databases.create_blank()
    try:
        migrated = await catalog(other_dsn, *MIGRATIONS.values())
    finally:
        databases.drop(other_dsn)

    described = await catalog(blank_postgres_dsn, "schema.sql")

    assert all(described.values()), "nothing is compared"
    assert migrated == described
