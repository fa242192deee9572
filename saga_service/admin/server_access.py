"""The two servers of a deployment, as whoever asks it has them: a command opens one connection, a process has pools."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Protocol

from asyncpg import Connection

from saga_service.settings import Settings
from saga_service.streams.connection import RedisClient


class Servers(Protocol):
    """Connections to both servers, and the settings of the deployment."""

    @property
    def settings(self) -> Settings: ...

    def postgres(self) -> AbstractAsyncContextManager[Connection]:
        """A connection for a while. Raises Failure where Postgres cannot be used."""
        ...

    def redis(self) -> AbstractAsyncContextManager[RedisClient]:
        """A client for a while, which repeats nothing by itself. Raises Failure where Redis cannot be used."""
        ...
