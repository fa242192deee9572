"""The doctor's checks in Redis: the server, and whether every stream is read. None changes anything."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import timedelta
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from saga_service.base.clock import now_ms
from saga_service.cli.checks.finding import Finding, ok, problem
from saga_service.cli.console.output import duration
from saga_service.settings import Settings
from saga_service.streams.server import UnfitServer, check_server, server_version
from saga_service.wire.stream_names import StreamNames

UNREAD_TOO_LONG = timedelta(minutes=1)
"""An entry that is on a stream for longer should have been read."""
PENDING_TOO_LONG = timedelta(minutes=5)
"""An entry that was read longer ago should have been acknowledged, by its consumer or by one that took it over."""
NOTHING = timedelta(0)


async def redis_findings(client: Redis, settings: Settings) -> AsyncIterator[Finding]:
    """The server's finding, and one for each group of each stream."""
    yield await _server(client)
    names = StreamNames(settings.stream_prefix)
    for stream in (names.events, names.replies, names.dead_letters):
        yield await _service_stream(client, stream, settings.consumer_group)
    for stream in await _command_streams(client, names):
        async for finding in _command_stream(client, stream):
            yield finding


async def _server(client: Redis) -> Finding:
    version = await server_version(client)
    try:
        await check_server(client)
    except UnfitServer as error:
        return problem("redis", f"answers, {version}: {error.problem}", error.advice)
    return ok("redis", f"answers, {version}")


async def _service_stream(client: Redis, stream: str, group: str) -> Finding:
    facts = (await _groups(client, stream)).get(group)
    if facts is None:
        return problem(stream, f"nobody has read it as group '{group}' yet", "start the service: saga-service run")
    return await _group(client, stream, group, facts, "is the service running and able to keep up? saga-service run")


async def _command_stream(client: Redis, stream: str) -> AsyncIterator[Finding]:
    groups = await _groups(client, stream)
    service = stream.rpartition(":")[2]
    if not groups:
        yield problem(stream, "no worker has ever read it", f"start the workers of '{service}'")
    for group, facts in groups.items():
        advice = f"are the workers of '{service}' running and able to keep up?"
        yield await _group(client, stream, group, facts, advice)


async def _group(client: Redis, stream: str, group: str, facts: Mapping[str, Any], advice: str) -> Finding:
    unread = await _age_of_first_unread(client, stream, facts["last-delivered-id"])
    pending = await _age_of_first_pending(client, stream, group)
    counts = _counted("unread", facts.get("lag"), unread), _counted("pending", facts["pending"], pending)
    text = f"group '{group}': {', '.join(counts)}"
    if unread > UNREAD_TOO_LONG or pending > PENDING_TOO_LONG:
        return problem(stream, text, advice)
    return ok(stream, text)


def _counted(what: str, count: int | None, oldest: timedelta) -> str:
    """The count in words. The server does not always know it, and then says None."""
    if not oldest:
        return f"none {what}"
    number = "some" if count is None else str(count)
    return f"{number} {what}, the oldest since {duration(oldest)}"


async def _groups(client: Redis, stream: str) -> dict[str, dict[str, Any]]:
    """Facts of each group by its name; none where the stream does not exist. `Any`: numbers and texts."""
    try:
        replies = await client.execute_command("XINFO", "GROUPS", stream)
    except ResponseError as error:
        if "no such key" in str(error):
            return {}
        raise
    all_facts = [{name.decode(): value for name, value in _pairs(reply)} for reply in replies]
    return {facts["name"].decode(): facts for facts in all_facts}


async def _age_of_first_unread(client: Redis, stream: str, last_delivered_id: bytes) -> timedelta:
    """The age of the first entry that the group has not been given, NOTHING where there is none."""
    entries = await client.execute_command("XRANGE", stream, b"(" + last_delivered_id, "+", "COUNT", 1)
    return _age(entries[0][0]) if entries else NOTHING


async def _age_of_first_pending(client: Redis, stream: str, group: str) -> timedelta:
    """The age of the oldest entry that was read and is not acknowledged, NOTHING where there is none."""
    _, oldest_id, *_ = await client.execute_command("XPENDING", stream, group)
    return NOTHING if oldest_id is None else _age(oldest_id)


def _age(entry_id: bytes) -> timedelta:
    added_ms = int(entry_id.partition(b"-")[0])
    # Never NOTHING: that would say that there is no such entry.
    return timedelta(milliseconds=max(1, now_ms() - added_ms))


async def _command_streams(client: Redis, names: StreamNames) -> list[str]:
    found: set[str] = set()
    cursor = b"0"
    pattern = _literally(names.commands("")) + "*"
    while True:
        cursor, keys = await client.execute_command("SCAN", cursor, "MATCH", pattern, "COUNT", 1_000)
        found.update(key.decode() for key in keys)
        if cursor == b"0":
            return sorted(found)


def _literally(name: str) -> str:
    """The name for MATCH, which takes some characters for wildcards."""
    return "".join(f"\\{character}" if character in "*?[]\\" else character for character in name)


def _pairs(flat: list[Any]) -> Iterator[tuple[Any, Any]]:
    return zip(flat[::2], flat[1::2], strict=True)
