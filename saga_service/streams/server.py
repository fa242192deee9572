"""Checks that a Redis can carry us. Features are probed: a version says little, as Valkey calls itself 7.2.4."""

from __future__ import annotations

import structlog

from saga_service.streams.connection import RedisClient
from saga_service.streams.errors import translated
from saga_service.wire.transport import StreamRefused

log = structlog.get_logger(__name__)


class UnfitServer(Exception):
    """The server would lose or refuse what the service needs it for. `advice` is what to change."""

    def __init__(self, problem: str, advice: str) -> None:
        super().__init__(f"{problem}; {advice}")
        self.problem = problem
        self.advice = advice


async def check_server(client: RedisClient) -> None:
    """Raises UnfitServer where the server is too old or would evict streams, and TransportError where it does not
    answer."""
    with translated():
        await _check_features(client)
        await _check_eviction(client)


async def server_version(client: RedisClient) -> str:
    """The server's name and version: `redis 7.0.15`, `valkey 9.1.2`. Raises TransportError."""
    with translated():
        lines = (await client.execute_command("INFO", "server")).decode().splitlines()
    about = dict(line.split(":", 1) for line in lines if ":" in line)
    if "valkey_version" in about:
        return f"valkey {about['valkey_version']}"
    return f"redis {about.get('redis_version', 'of unknown version')}"


async def _check_features(client: RedisClient) -> None:
    known = await client.execute_command("COMMAND", "INFO", "XAUTOCLAIM")
    if not known or known[0] is None:
        raise UnfitServer(
            f"this is {await server_version(client)}, which has no XAUTOCLAIM", "use Redis 6.2 or later, or Valkey"
        )


async def _check_eviction(client: RedisClient) -> None:
    try:
        with translated():
            reply = await client.execute_command("CONFIG", "GET", "maxmemory-policy")
    except StreamRefused as error:
        log.warning("redis does not tell its maxmemory-policy; make sure that it is noeviction", error=str(error))
        return
    policy = reply[1].decode() if len(reply) > 1 else "noeviction"
    if policy.startswith("allkeys-"):
        raise UnfitServer(
            f"redis has maxmemory-policy {policy}, which may evict whole streams",
            "set it to noeviction: redis-cli CONFIG SET maxmemory-policy noeviction",
        )
    if policy != "noeviction":
        log.warning("redis evicts keys that expire; ours do not, but noeviction is the safe policy", policy=policy)
