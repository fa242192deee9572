"""Facts about streams and their groups, for people who look at a deployment. Nothing here changes anything."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from saga_service.streams.connection import RedisClient
from saga_service.streams.errors import translated
from saga_service.wire.transport import StreamLost

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
    return GroupFacts(
        name=info["name"].decode(),
        unread=info.get("lag"),
        pending=info["pending"],
        oldest_unread_ms=_added_ms(unread[0][0]) if unread else None,
        oldest_pending_ms=None if oldest_pending_id is None else _added_ms(oldest_pending_id),
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
