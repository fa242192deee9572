"""The two servers of a deployment, as whoever asks it has them: a command opens one connection, a process has pools."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, Protocol

import orjson
from asyncpg import Connection

from saga_service.settings import Settings

if TYPE_CHECKING:
    from saga_service.streams.connection import RedisClient  # whoever reads Postgres alone needs no client of Redis


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


ColumnCodec = Callable[[Any], Any]  # asyncpg's own type for what reads or writes a column


async def read_plain_values(connection: Connection) -> None:
    """Read JSON as the values that it holds, and ids as text."""

    def to_json(value: object) -> str:
        return orjson.dumps(value).decode()

    codecs: dict[str, tuple[ColumnCodec, ColumnCodec]] = {
        "json": (to_json, orjson.loads),
        "jsonb": (to_json, orjson.loads),
        "uuid": (str, str),
    }
    for name, (encoder, decoder) in codecs.items():
        await connection.set_type_codec(name, schema="pg_catalog", encoder=encoder, decoder=decoder, format="text")
