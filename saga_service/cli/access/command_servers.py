"""Both servers for one command: each connection is opened where it is needed, and closed after it."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from asyncpg import Connection

from saga_service.cli.access.postgres import open_postgres
from saga_service.cli.access.redis import open_redis
from saga_service.settings import Settings
from saga_service.streams.connection import RedisClient


@dataclass(frozen=True, slots=True)
class CommandServers:
    """Fulfils `admin.server_access.Servers`."""

    settings: Settings

    def postgres(self) -> AbstractAsyncContextManager[Connection]:
        return open_postgres(self.settings)

    def redis(self) -> AbstractAsyncContextManager[RedisClient]:
        return open_redis(self.settings)
