"""The doctor's checks in Redis: the server, and whether every stream is read. None changes anything."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

from saga_service.base.clock import now_ms
from saga_service.cli.checks import Finding, ok, problem
from saga_service.cli.console.output import duration
from saga_service.settings import Settings
from saga_service.streams.connection import RedisClient
from saga_service.streams.inspection import GroupFacts, groups_of, keys_beginning_with
from saga_service.streams.server import UnfitServer, check_server, server_version
from saga_service.wire.stream_names import StreamNames

UNREAD_TOO_LONG = timedelta(minutes=1)
"""An entry that is on a stream for longer should have been read."""
PENDING_TOO_LONG = timedelta(minutes=5)
"""An entry that was read longer ago should have been acknowledged, by its consumer or by one that took it over."""
NOTHING = timedelta(0)


async def redis_findings(client: RedisClient, settings: Settings) -> AsyncIterator[Finding]:
    """The server's finding, and one for each group of each stream."""
    yield await _server(client)
    names = StreamNames(settings.stream_prefix)
    for stream in (names.events, names.replies, names.dead_letters):
        yield await _service_stream(client, stream, settings.consumer_group)
    for stream in await keys_beginning_with(client, names.commands("")):
        async for finding in _command_stream(client, stream):
            yield finding


async def _server(client: RedisClient) -> Finding:
    version = await server_version(client)
    try:
        await check_server(client)
    except UnfitServer as error:
        return problem("redis", f"answers, {version}: {error.problem}", error.advice)
    return ok("redis", f"answers, {version}")


async def _service_stream(client: RedisClient, stream: str, group: str) -> Finding:
    for facts in await groups_of(client, stream):
        if facts.name == group:
            return _group(stream, facts, "is the service running and able to keep up? saga-service run")
    return problem(stream, f"nobody has read it as group '{group}' yet", "start the service: saga-service run")


async def _command_stream(client: RedisClient, stream: str) -> AsyncIterator[Finding]:
    groups = await groups_of(client, stream)
    service = stream.rpartition(":")[2]
    if not groups:
        yield problem(stream, "no worker has ever read it", f"start the workers of '{service}'")
    for facts in groups:
        yield _group(stream, facts, f"are the workers of '{service}' running and able to keep up?")


def _group(stream: str, facts: GroupFacts, advice: str) -> Finding:
    unread, pending = _age(facts.oldest_unread_ms), _age(facts.oldest_pending_ms)
    counts = _counted("unread", facts.unread, unread), _counted("pending", facts.pending, pending)
    text = f"group '{facts.name}': {', '.join(counts)}"
    if unread > UNREAD_TOO_LONG or pending > PENDING_TOO_LONG:
        return problem(stream, text, advice)
    return ok(stream, text)


def _counted(what: str, count: int | None, oldest: timedelta) -> str:
    """The count in words. The server does not always know it, and then says None."""
    if not oldest:
        return f"none {what}"
    number = "some" if count is None else str(count)
    return f"{number} {what}, the oldest since {duration(oldest)}"


def _age(added_ms: int | None) -> timedelta:
    """The age of an entry, NOTHING where there is none."""
    if added_ms is None:
        return NOTHING
    # Never NOTHING: that would say that there is no such entry.
    return timedelta(milliseconds=max(1, now_ms() - added_ms))
