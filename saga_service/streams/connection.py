"""Connections to Redis.

The client's own retries are off: a retried XADD adds twice, and a retried XREADGROUP strands what the first try was
given. The caller decides what to repeat. No socket waits for ever, because a half-open one would never answer.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from typing import Any

import redis
from redis import exceptions
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.connection import AbstractConnection, Connection, parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from saga_service.streams.errors import translated

RedisClient = Redis
"""The client of redis-py. Outside this folder it is known by this name alone, and its errors by `translated`."""

ANSWER_MS_MAX = 5_000
"""How long Redis may take to connect or to answer, on top of what a read is asked to block."""
POOL_WAIT_S = 20
"""How long to wait for a connection that others have."""
POOL_LOOK_S = 0.5
"""How long a waiter sleeps before it looks again for a free connection."""


def connect(url: str, *, blocking_ms: int = 0, connections_max: int = 8) -> RedisClient:
    """A client with raw replies: bytes, and no rebuilding of entries on the way.

    `blocking_ms` is the longest BLOCK that will be asked for. A reader that blocks needs a client of its own.
    """
    # Options in the URL's query come first, so that they cannot undo these: all that is read here rests on them.
    parsed = parse_url(url)
    options: dict[str, Any] = {  # Any: what the client's own options are
        **parsed,
        "connection_class": _reporting_lost_links(parsed.get("connection_class", Connection)),
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
    client = Redis.from_pool(_PatientPool(**options))
    client.response_callbacks.clear()
    return client


def connected(until: AsyncExitStack, url: str, *, blocking_ms: int = 0, connections_max: int = 8) -> RedisClient:
    """A client as `connect` makes it, which is closed with the stack."""
    client = connect(url, blocking_ms=blocking_ms, connections_max=connections_max)
    until.push_async_callback(client.aclose)
    return client


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
    async def send_packed_command(self, command: Any, check_health: bool = True) -> None:
        try:
            await super().send_packed_command(command, check_health)
        except RuntimeError as error:
            # What uvloop says of a write on a link that has just been lost, where asyncio's own loop has an OSError.
            raise exceptions.ConnectionError(f"the link was lost: {error}") from error


def _reporting_lost_links(kind: type[AbstractConnection]) -> type[AbstractConnection]:
    """The kind of connection that the URL asks for (TCP, TLS, a unix socket), with lost links as connection errors."""
    return type(kind.__name__, (_ReportingLostLinks, kind), {})


def ask(url: str, *words: str | int, timeout_s: float = 5.0) -> Any:
    """The reply to one command, for programs without an event loop; text, not bytes.

    Raises TransportError.
    """
    with translated(), redis.Redis.from_url(url, decode_responses=True, socket_timeout=timeout_s) as client:
        return client.execute_command(*words)
