"""Readiness: the servers that a process needs answer, and the schema fits. `health --ready` and `/readyz` ask it."""

from __future__ import annotations

import asyncpg

from saga_service.admin.failure_kinds import Failure, FailureKind
from saga_service.admin.server_access import Servers
from saga_service.store.schema.migrate import SchemaFit, SchemaState, schema_state


class SchemaNotShown(Failure):
    """The role may not see which version the schema has."""


async def check_redis(servers: Servers) -> None:
    """Raises Failure where Redis cannot be used now."""
    async with servers.redis() as client:
        await client.execute_command("PING")


async def check_postgres(servers: Servers) -> None:
    """Raises Failure where Postgres cannot be used now, or its schema does not fit; SchemaNotShown."""
    async with servers.postgres() as connection:
        state = await schema_of(connection)
    if state.fit is not SchemaFit.CURRENT:
        raise Failure(state.text, state.advice, kind=FailureKind.SCHEMA)


async def schema_of(connection: asyncpg.Connection) -> SchemaState:
    """The schema's state. Raises SchemaNotShown."""
    try:
        return await schema_state(connection)
    except asyncpg.InsufficientPrivilegeError:
        raise SchemaNotShown(
            "the role in SAGA_POSTGRES_DSN may not look at the schema's version",
            "use the service's own role for this (saga_reader and saga_operator are not enough)",
            kind=FailureKind.UNREACHABLE,
        ) from None
