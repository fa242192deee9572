"""How much lies on each of several streams, and how far each of their groups is: two round trips for all of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from saga_service.streams.connection import RedisClient
from saga_service.streams.pipeline import Command, Reply, send


@dataclass(frozen=True, slots=True)
class GroupBacklog:
    """One group of a stream. A number is None where the server does not know it, a moment where there is no entry."""

    stream: str
    group: str
    unread: int | None
    pending: int
    oldest_unread_ms: int | None
    oldest_pending_ms: int | None


@dataclass(frozen=True, slots=True)
class Backlog:
    """The streams that are there, each with its number of entries, and all of their groups."""

    entries: dict[str, int]
    groups: list[GroupBacklog]


async def backlog_of(client: RedisClient, streams: Sequence[str]) -> Backlog:
    """What is on these streams now. One that is not there, or may not be looked at, is left out.

    Raises TransportError where Redis does not answer.
    """
    replies = await send(client, [command for stream in streams for command in _first(stream)])
    entries: dict[str, int] = {}
    found: list[tuple[str, dict[str, Any]]] = []  # Any: what XINFO says of a group
    for stream, length, groups in zip(streams, replies[::2], replies[1::2], strict=True):
        if isinstance(length, int) and isinstance(groups, list):
            entries[stream] = length
            found += [(stream, dict(_named(group))) for group in groups]
    replies = await send(client, [command for stream, group in found for command in _second(stream, group)])
    groups_of_all = [
        _backlog(stream, group, unread, pending)
        for (stream, group), unread, pending in zip(found, replies[::2], replies[1::2], strict=True)
    ]
    return Backlog(entries, groups_of_all)


def _first(stream: str) -> Iterator[Command]:
    yield "XLEN", stream
    yield "XINFO", "GROUPS", stream


def _second(stream: str, group: dict[str, Any]) -> Iterator[Command]:
    yield "XRANGE", stream, b"(" + group["last-delivered-id"], "+", "COUNT", 1
    yield "XPENDING", stream, group["name"]


def _backlog(stream: str, group: dict[str, Any], unread: Reply, pending: Reply) -> GroupBacklog:
    first_unread = unread[0][0] if isinstance(unread, list) and unread else None
    first_pending = pending[1] if isinstance(pending, list) else None
    return GroupBacklog(
        stream=stream,
        group=group["name"].decode(errors="replace"),
        unread=group.get("lag"),
        pending=group["pending"],
        oldest_unread_ms=_added_ms(first_unread),
        oldest_pending_ms=_added_ms(first_pending),
    )


def _added_ms(entry_id: bytes | None) -> int | None:
    return None if entry_id is None else int(entry_id.partition(b"-")[0])


def _named(flat: list[Any]) -> Iterator[tuple[str, Any]]:
    return ((name.decode(), value) for name, value in zip(flat[::2], flat[1::2], strict=True))
