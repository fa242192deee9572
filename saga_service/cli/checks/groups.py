"""Checks in Redis: the server, every stream of ours with all groups on it, and whether each group is read.

A stream is trimmed up to what every group has acknowledged. So a group that nobody reads keeps all that comes after it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Iterable, Mapping
from datetime import timedelta
from shlex import quote

from saga_service.base.clock import now_ms
from saga_service.cli.checks.findings import Finding, ok, problem, right_missing
from saga_service.cli.console.output import duration
from saga_service.settings import Settings
from saga_service.streams.connection import RedisClient
from saga_service.streams.server import (
    GroupFacts,
    UnfitServer,
    check_server,
    groups_of,
    keys_beginning_with,
    server_version,
)
from saga_service.wire.transport import RightMissing, StreamNames

UNREAD_TOO_LONG = timedelta(minutes=1)
"""An entry that is on a stream for longer should have been read."""
PENDING_TOO_LONG = timedelta(minutes=5)
"""An entry that was read longer ago should have been acknowledged, by its consumer or by one that took it over."""
NOBODY_READS_AFTER_MS = 300_000
"""A group none of whose consumers has asked for so long is read by nobody."""
NOTHING = timedelta(0)


async def server_findings(client: RedisClient) -> AsyncIterator[Finding]:
    """The server's finding, also for a user that may not see all of it."""
    try:
        version = await server_version(client)
    except RightMissing as error:
        yield right_missing("redis version", error)
        version = "its version is not known"
    try:
        await check_server(client)
    except RightMissing as error:
        yield right_missing("redis", error)
    except UnfitServer as error:
        yield problem("redis", f"answers, {version}: {error.problem}", error.advice)
    else:
        yield ok("redis", f"answers, {version}")


async def stream_findings(
    client: RedisClient, settings: Settings, services: Collection[str], groups: Mapping[str, Collection[str]]
) -> AsyncIterator[Finding]:
    """One finding for each group of each stream. `groups` are those that workers which are alive read, by stream.

    The streams of `services` are looked at if the user may not list the streams that there are.
    """
    names, own = StreamNames(settings.stream_prefix), settings.consumer_group
    for stream in (names.events, names.replies, names.dead_letters):
        async for finding in _service_stream(client, stream, own):
            yield finding
    for facts in await groups_of(client, names.outcomes):
        yield _others_group(names.outcomes, facts)
    try:
        commands = await keys_beginning_with(client, names.commands(""))
    except RightMissing as error:
        yield right_missing("streams of commands", error)
        commands = [names.commands(service) for service in services]
    for stream in commands:
        async for finding in _command_stream(client, stream, groups.get(stream, ())):
            yield finding


async def services_being_read(client: RedisClient, settings: Settings, services: Iterable[str]) -> set[str]:
    """The services on whose streams some consumer has asked lately: it may be a worker that does not report."""
    names = StreamNames(settings.stream_prefix)
    return {
        service
        for service in services
        if any(not _is_read_by_nobody(facts) for facts in await groups_of(client, names.commands(service)))
    }


async def _service_stream(client: RedisClient, stream: str, own: str) -> AsyncIterator[Finding]:
    groups = await groups_of(client, stream)
    if not any(facts.name == own for facts in groups):
        yield problem(stream, f"group '{own}' has not read it yet", "start the service: saga-service run")
    for facts in groups:
        if facts.name == own:
            yield _group(stream, facts, "is the service running and able to keep up? saga-service run")
        else:
            yield _others_group(stream, facts)


async def _command_stream(client: RedisClient, stream: str, read_by_workers: Collection[str]) -> AsyncIterator[Finding]:
    groups = await groups_of(client, stream)
    service = stream.rpartition(":")[2]
    if not groups:
        yield problem(stream, "no worker has ever read it", f"start the workers of '{service}'")
    # Of several groups those of workers are the right ones; without a report it is the one of the service's name.
    own = set(read_by_workers) or {service}
    for facts in groups:
        if facts.name in own or len(groups) == 1:
            yield _group(stream, facts, f"are the workers of '{service}' running and able to keep up?")
        else:
            yield _others_group(stream, facts)


def _others_group(stream: str, facts: GroupFacts) -> Finding:
    """The finding for a group that is neither the service's nor its workers'."""
    finding = _group(stream, facts, "its readers keep the stream from being trimmed until they have caught up")
    if finding.verdict == "ok" or not _is_read_by_nobody(facts):
        return finding
    return problem(
        stream,
        f"nobody reads {finding.text}; so the stream keeps all entries from there on",
        f"have it read, or remove it: redis-cli XGROUP DESTROY {quote(stream)} {quote(facts.name)}",
    )


def _is_read_by_nobody(facts: GroupFacts) -> bool:
    return facts.idle_ms is None or facts.idle_ms > NOBODY_READS_AFTER_MS


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
