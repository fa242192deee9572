"""Connections to Redis.

The client's own retries are off: a retried XADD adds twice, and a retried XREADGROUP strands what the first try was
given. The caller decides what to repeat. No socket waits for ever, because a half-open one would never answer.
"""

from __future__ import annotations

import asyncio
import re
import time
from contextlib import AsyncExitStack
from typing import Any

import redis
from redis import exceptions
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.connection import AbstractConnection, Connection, parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from saga_service.base.lifecycle import heeding_cancellation
from saga_service.streams.errors import translated
from saga_service.wire.entries import SERVER_ID_CHARACTERS

RedisClient = Redis
"""The client of redis-py. Outside this folder it is known by this name alone, and its errors by `translated`."""

ANSWER_MS_MAX = 5_000
"""How long Redis may take to connect or to answer, on top of what a read is asked to block."""
POOL_WAIT_S = 20
"""How long to wait for a connection that others have."""
POOL_LOOK_S = 0.5
"""How long a waiter sleeps before it looks again for a free connection."""


ASK_SERVER_ID = ("INFO",)
_HALF_CHARACTERS = SERVER_ID_CHARACTERS // 2
_RUN = re.compile(rb"^run_id:([0-9a-f]{%d})" % _HALF_CHARACTERS, re.MULTILINE)
_MASTER = re.compile(rb"^master_replid:([0-9a-f]{%d})" % _HALF_CHARACTERS, re.MULTILINE)


def server_id_in(info: object) -> str | None:
    """The id of a server's run as master, from the reply to ASK_SERVER_ID; None where the reply has none, or refuses.

    The run is another one after each restart, and its replication another one after each failover, there and back
    included. So where the id is the same as before, nothing that Redis said it had done was lost meanwhile.
    """
    if not isinstance(info, bytes):
        return None
    run, master = _RUN.search(info), _MASTER.search(info)
    return None if run is None or master is None else (run[1] + master[1]).decode()


def connect(url: str, *, blocking_ms: int = 0, connections_max: int = 8, knows_server: bool = False) -> RedisClient:
    """A client with raw replies: bytes, and no rebuilding of entries on the way.

    `blocking_ms` is the longest BLOCK that will be asked for. A reader that blocks needs a client of its own. With
    `knows_server` each connection asks once which run of which server it leads to.
    """
    # Options in the URL's query come first, so that they cannot undo these: all that is read here rests on them.
    parsed = parse_url(url)
    options: dict[str, Any] = {  # Any: what the client's own options are
        **parsed,
        "connection_class": _kind(parsed.get("connection_class", Connection), knows_server=knows_server),
        "max_connections": connections_max,
        "timeout": POOL_LOOK_S,
        "socket_timeout": (blocking_ms + ANSWER_MS_MAX) / 1000,
        "socket_connect_timeout": ANSWER_MS_MAX / 1000,
        "retry": Retry(NoBackoff(), 0),
        # Nothing is retried: this makes the client drop the connection, which leads to a former master.
        "retry_on_error": [exceptions.ReadOnlyError],
        # One shape of replies over all server versions.
        "protocol": 2,
        "decode_responses": False,
    }
    if "path" not in options:
        options["socket_keepalive"] = True
    client = _HeedingClient.from_pool(_PatientPool(**options))
    client.response_callbacks.clear()
    return client


def connected(
    until: AsyncExitStack, url: str, *, blocking_ms: int = 0, connections_max: int = 8, knows_server: bool = False
) -> RedisClient:
    """A client as `connect` makes it, which is closed with the stack."""
    client = connect(url, blocking_ms=blocking_ms, connections_max=connections_max, knows_server=knows_server)
    until.push_async_callback(client.aclose)
    return client


class _HeedingClient(Redis):
    """A client that loses no cancellation: where its own code does, the loop that asked would run on for ever."""

    async def execute_command(self, *words: Any, **options: Any) -> Any:
        with heeding_cancellation():
            return await super().execute_command(*words, **options)  # type: ignore[no-untyped-call]  # as below


class _PatientPool(BlockingConnectionPool):
    """A pool whose waiters look for a free connection by themselves now and then.

    Before Python 3.13 a waiter that is cancelled just as it is notified takes the notification with it, and the
    others go on waiting.
    """

    async def get_connection(self, *_: object, **__: object) -> Any:
        """A connection of the kind that the pool has. Raises ConnectionError when none is free for too long."""
        give_up_at_s = time.monotonic() + POOL_WAIT_S
        while True:
            try:
                return await super().get_connection()  # type: ignore[no-untyped-call]  # the client has no types for it
            except exceptions.ConnectionError as error:
                if not isinstance(error.__cause__, asyncio.TimeoutError) or time.monotonic() > give_up_at_s:
                    raise


class _ReportingLostLinks(AbstractConnection):
    server_id: str | None = None
    """The id of the run of the server that it leads to; None where nobody asked."""

    async def send_packed_command(self, command: Any, check_health: bool = True) -> None:
        try:
            await super().send_packed_command(command, check_health)
        except RuntimeError as error:
            # What uvloop says of a write on a link that has just been lost, where asyncio's own loop has an OSError.
            raise exceptions.ConnectionError(f"the link was lost: {error}") from error


class _KnowingServer(_ReportingLostLinks):
    async def on_connect_check_health(self, check_health: bool = True) -> None:
        await super().on_connect_check_health(check_health=check_health)
        await self.send_command(*ASK_SERVER_ID)
        try:
            self.server_id = server_id_in(await self.read_response())
        except exceptions.ResponseError:
            self.server_id = None


def _kind(kind: type[AbstractConnection], *, knows_server: bool) -> type[AbstractConnection]:
    """The kind of connection that the URL asks for (TCP, TLS, a unix socket), with lost links as connection errors."""
    return type(kind.__name__, (_KnowingServer if knows_server else _ReportingLostLinks, kind), {})


def ask(url: str, *words: str | int, timeout_s: float = 5.0) -> Any:
    """The reply to one command, for programs without an event loop; text, not bytes.

    Raises TransportError.
    """
    with translated(), redis.Redis.from_url(url, decode_responses=True, socket_timeout=timeout_s) as client:
        return client.execute_command(*words)
