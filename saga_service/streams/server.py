"""The Redis server: checks that it can carry the service, and facts about its streams for people who look at a
deployment.

Features are probed: a version says little, as Valkey calls itself 7.2.4. Nothing here changes anything.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import structlog

from saga_service.streams.connection import RedisClient
from saga_service.streams.errors import translated
from saga_service.wire.transport import StreamLost, StreamRefused

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
        log.warning(
            "redis evicts keys that expire; of ours only the reports of workers do, but noeviction is the safe policy",
            policy=policy,
        )


SCAN_PAGE_KEYS = 1_000


@dataclass(frozen=True, slots=True)
class GroupFacts:
    """One group of a stream, and how far it is."""

    name: str
    unread: int | None
    """Entries that the group has not been given; None where the server does not know."""
    pending: int
    """Entries that were read and are not acknowledged."""
    oldest_unread_ms: int | None
    """When the first entry that the group has not been given was added; None where there is none."""
    oldest_pending_ms: int | None
    """When the oldest pending entry was added; None where there is none."""
    idle_ms: int | None
    """How long ago any of its consumers has asked; None where it has none."""


async def groups_of(client: RedisClient, stream: str) -> list[GroupFacts]:
    """The groups of a stream; none where there is no such stream. Raises TransportError."""
    try:
        with translated():
            replies = await client.execute_command("XINFO", "GROUPS", stream)
            return [await _facts(client, stream, {name.decode(): value for name, value in _pairs(r)}) for r in replies]
    except StreamLost:
        return []


async def _facts(client: RedisClient, stream: str, info: dict[str, Any]) -> GroupFacts:
    after = b"(" + info["last-delivered-id"]
    unread = await client.execute_command("XRANGE", stream, after, "+", "COUNT", 1)
    _, oldest_pending_id, *_ = await client.execute_command("XPENDING", stream, info["name"])
    consumers = await client.execute_command("XINFO", "CONSUMERS", stream, info["name"])
    return GroupFacts(
        name=info["name"].decode(),
        unread=info.get("lag"),
        pending=info["pending"],
        oldest_unread_ms=_added_ms(unread[0][0]) if unread else None,
        oldest_pending_ms=None if oldest_pending_id is None else _added_ms(oldest_pending_id),
        idle_ms=min((dict(_pairs(consumer))[b"idle"] for consumer in consumers), default=None),
    )


async def keys_beginning_with(client: RedisClient, prefix: str) -> list[str]:
    """The names of all keys that begin with `prefix`, sorted. Raises TransportError."""
    found: set[str] = set()
    cursor, pattern = b"0", _literally(prefix) + "*"
    while True:
        with translated():
            cursor, keys = await client.execute_command("SCAN", cursor, "MATCH", pattern, "COUNT", SCAN_PAGE_KEYS)
        found.update(key.decode() for key in keys)
        if cursor == b"0":
            return sorted(found)


def _literally(name: str) -> str:
    """The name for MATCH, which takes some characters for wildcards."""
    return "".join(f"\\{character}" if character in "*?[]\\" else character for character in name)


def _added_ms(entry_id: bytes) -> int:
    return int(entry_id.partition(b"-")[0])


def _pairs(flat: list[Any]) -> Iterator[tuple[Any, Any]]:
    return zip(flat[::2], flat[1::2], strict=True)
