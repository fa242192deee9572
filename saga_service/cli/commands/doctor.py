"""Steps that nobody can take over in time from a worker that was killed: they count as not answered before."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from redis.exceptions import ResponseError

from saga_service.base.clock import now_ms
from saga_service.cli.access.servers import open_postgres, open_redis, read_settings, schema_of
from saga_service.cli.access.views import newest_documents
from saga_service.cli.commands.keys import PLAIN, KeyUsage, keys_in_use, known_key_ids
from saga_service.cli.console.exits import CommandFailed, ExitCode
from saga_service.cli.console.output import duration
from saga_service.cli.event_loop import run_to_end
from saga_service.store.schema.version import SchemaFit
from saga_service.streams.server import UnfitServer, check_server, server_version
from saga_service.wire.stream_names import StreamNames

if TYPE_CHECKING:
    from asyncpg import Connection

    from saga_service.core.definition import Definition


async def steps_not_taken_over(connection: Connection, taken_over_after_ms: int) -> list[str]:
    """`saga.step` of each, in the newest version on record of every saga."""
    from saga_service.definitions import UnreadableDocument, definition_from_document

    found: list[str] = []
    for document in await newest_documents(connection):
        try:
            found += _given_up_before(definition_from_document(document), taken_over_after_ms)
        except UnreadableDocument:
            # Of a later release, whose own doctor knows.
            continue
    return found


def _given_up_before(definition: Definition, taken_over_after_ms: int) -> Iterator[str]:
    from saga_service.core.vocabulary import Task

    for step in definition.steps:
        if step.task is Task.COMMAND and step.timeout_ms <= taken_over_after_ms:
            yield f"{definition.name}.{step.name}"


# MERGED from cli.checks:
# The doctor's checks. Each looks at one thing and says what it found; none changes anything.

if TYPE_CHECKING:
    from asyncpg import Connection
    from redis.asyncio import Redis

    from saga_service.settings import Settings

UNREAD_TOO_LONG = timedelta(minutes=1)
"""An entry that is there so long should have been read by somebody."""
IN_HAND_TOO_LONG = timedelta(minutes=5)
"""An entry that somebody read should by then have been acknowledged, by him or by whoever took it over."""
OVERDUE = timedelta(minutes=1)
"""A saga whose look is due for so long is looked after by nobody."""
UNANSWERED_TOO_LONG = timedelta(seconds=10)
"""What is asked by SQL is taken within a second or two, and then looked at again before its time is long past."""
KEPT_LONG = timedelta(days=90)
LOOK_FOR_ENCRYPTED_S_MAX = 2.0
"""To see whether anything is encrypted all is read: not for long, where most likely nothing is."""
KEPT_LONG_SAGAS_MAX = 100_000
"""More than so many, ended so long ago, are worth a thought where nothing ever removes them."""


@dataclass(frozen=True, slots=True)
class Finding:
    """`advice` says what to do about a problem."""

    check: str
    verdict: Literal["ok", "problem"]
    text: str
    advice: str | None = None


async def check_all(settings: Settings) -> list[Finding]:
    return [finding async for finding in _findings(settings)]


async def _findings(settings: Settings) -> AsyncIterator[Finding]:
    try:
        async with open_postgres(settings) as connection:
            yield await _postgres(connection)
            schema = await _schema(connection)
            yield schema
            if schema.verdict == "ok":
                async for finding in _sagas(connection):
                    yield finding
                yield await _ended_sagas(connection, settings)
                yield await _taken_over(connection, settings)
                yield await _keys(connection, settings)
    except CommandFailed as failure:
        yield _unusable("postgres", failure)
    try:
        async with open_redis(settings) as client:
            yield await _redis(client)
            async for finding in _streams(client, settings):
                yield finding
    except CommandFailed as failure:
        yield _unusable("redis", failure)


def _unusable(check: str, failure: CommandFailed) -> Finding:
    text, _, advice = str(failure).rpartition("; ")
    return Finding(check, "problem", text or advice, advice)


# --------------------------------------------------------------------------------------------------------- postgres


async def _postgres(connection: Connection) -> Finding:
    return Finding("postgres", "ok", f"answers, version {await connection.fetchval('show server_version')}")


async def _schema(connection: Connection) -> Finding:
    try:
        state = await schema_of(connection)
    except CommandFailed as failure:
        return _unusable("schema", failure)
    if state.fit is SchemaFit.CURRENT:
        return Finding("schema", "ok", state.advice)
    text, _, advice = state.advice.rpartition("; ")
    return Finding("schema", "problem", text, advice)


_COUNTS = """
select
    (select count(*) from saga.sagas where status = 'stuck') as stuck,
    (select count(*) from saga.sagas where next_check_at < now() - $1::interval) as overdue,
    (select count(*) from saga.dead_letters where replayed_at is null) as dead_letters,
    (
        select count(*) from saga.requests
        where answered_at is null and greatest(at, next_check_at) < now() - $2::interval
    ) as requests
"""

_COUNTED: dict[str, tuple[str, str]] = {
    "stuck": ("stuck sagas", "see what each waits for: saga-service list --status stuck, then saga-service show ID"),
    "overdue": ("overdue sagas", "no replica looks after them; is one running? start it: saga-service run"),
    "requests": ("unanswered requests", "no replica takes what is asked by SQL; is one running? saga-service run"),
    "dead_letters": ("dead letters", "see why: saga-service dead-letters list; then replay or drop them"),
}


async def _sagas(connection: Connection) -> AsyncIterator[Finding]:
    counts = await connection.fetchrow(_COUNTS, OVERDUE, UNANSWERED_TOO_LONG)
    assert counts is not None, "a select without a from has one row"
    for column, (check, advice) in _COUNTED.items():
        count = counts[column]
        yield Finding(check, "problem", str(count), advice) if count else Finding(check, "ok", "none")


_KEPT_LONG = """
select count(*) from (select from saga.sagas where ended_at < now() - $1::interval limit $2) as kept
"""


async def _ended_sagas(connection: Connection, settings: Settings) -> Finding:
    """That nothing is removed is the default, and a table that grows for ever should not come as a surprise."""
    kept_days = settings.ended_sagas_kept_days
    if kept_days:
        return Finding("ended sagas", "ok", f"are removed after {kept_days} days")
    kept = await connection.fetchval(_KEPT_LONG, KEPT_LONG, KEPT_LONG_SAGAS_MAX + 1)
    if kept <= KEPT_LONG_SAGAS_MAX:
        return Finding("ended sagas", "ok", "are kept for ever")
    return Finding(
        "ended sagas",
        "problem",
        f"are kept for ever; more than {KEPT_LONG_SAGAS_MAX} ended over {KEPT_LONG.days} days ago",
        f"set SAGA_ENDED_SAGAS_KEPT_DAYS, or: saga-service archive --before {KEPT_LONG.days}d --output FILE --remove",
    )


STEPS_TOLD_MAX = 10


async def _taken_over(connection: Connection, settings: Settings) -> Finding:
    """No problem yet, and mostly meant: with the times as they are by default, most steps are among these."""
    after_ms = settings.reclaim_idle_ms + settings.reclaim_period_ms
    steps = await steps_not_taken_over(connection, after_ms)
    if not steps:
        return Finding("killed workers", "ok", "every step can be taken over in time")
    more = len(steps) - STEPS_TOLD_MAX
    named = ", ".join(steps[:STEPS_TOLD_MAX]) + (f" and {more} more" if more > 0 else "")
    return Finding(
        "killed workers",
        "ok",
        f"their steps are taken over after {duration(timedelta(milliseconds=after_ms))}, "
        f"but these count as not answered before: {named}",
        "if that matters, lower SAGA_RECLAIM_IDLE_MS (+ SAGA_RECLAIM_PERIOD_MS) below the steps' `timeout`",
    )


async def _keys(connection: Connection, settings: Settings) -> Finding:
    has_keys = bool(settings.encryption_keys.get_secret_value() or settings.encryption_cipher)
    try:
        usage = await keys_in_use(connection, None if has_keys else LOOK_FOR_ENCRYPTED_S_MAX)
    except TimeoutError:
        return Finding("keys", "ok", "too many sagas to count by key in time; count them: saga-service keys list")
    text = ", ".join(map(_counted_by_key, usage)) or "nothing is encrypted yet"
    known = known_key_ids(settings)
    if known is None:
        return Finding("keys", "ok", text)
    if unknown := [each.key_id for each in usage if each.key_id not in (*known, PLAIN)]:
        back = (
            "back into SAGA_ENCRYPTION_KEYS, after the first" if known else "into SAGA_ENCRYPTION_KEYS, which is unset"
        )
        advice = f"put {', '.join(unknown)} {back}"
        return Finding("keys", "problem", f"{text}; not known here: {', '.join(unknown)}", advice)
    if known and settings.encryption_enabled and any(each.sagas and each.key_id != known[0] for each in usage):
        return Finding("keys", "ok", f"{text}; to encrypt all with {known[0]}: saga-service keys rotate")
    return Finding("keys", "ok", text)


def _counted_by_key(usage: KeyUsage) -> str:
    letters = f" and {usage.dead_letters} dead letters" if usage.dead_letters else ""
    return f"{usage.key_id or 'not encrypted'}: {usage.sagas} sagas{letters}"


# ------------------------------------------------------------------------------------------------------------ redis


async def _redis(client: Redis) -> Finding:
    version = await server_version(client)
    try:
        await check_server(client)
    except UnfitServer as error:
        text, _, advice = str(error).rpartition("; ")
        return Finding("redis", "problem", f"answers, {version}: {text}", advice)
    return Finding("redis", "ok", f"answers, {version}")


async def _streams(client: Redis, settings: Settings) -> AsyncIterator[Finding]:
    names = StreamNames(settings.prefix)
    for stream in (names.events, names.replies, names.dead_letters):
        yield await _our_stream(client, stream, settings.group)
    for stream in await _command_streams(client, names):
        async for finding in _command_stream(client, stream):
            yield finding


async def _our_stream(client: Redis, stream: str, group: str) -> Finding:
    groups = await _groups(client, stream)
    ours = groups.get(group)
    if ours is None:
        return Finding(
            stream, "problem", f"nobody has read it as group '{group}' yet", "start the service: saga-service run"
        )
    return await _group(client, stream, group, ours, "is the service running and able to keep up? saga-service run")


async def _command_stream(client: Redis, stream: str) -> AsyncIterator[Finding]:
    groups = await _groups(client, stream)
    service = stream.rpartition(":")[2]
    advice = f"are the workers of '{service}' running and able to keep up?"
    if not groups:
        yield Finding(stream, "problem", "no worker has ever read it", f"start the workers of '{service}'")
    for group, facts in groups.items():
        yield await _group(client, stream, group, facts, advice)


async def _group(client: Redis, stream: str, group: str, facts: Mapping[str, Any], advice: str) -> Finding:
    unread = await _age_of_unread(client, stream, facts["last-delivered-id"])
    in_hand = await _age_in_hand(client, stream, group)
    counts = _counted("unread", facts.get("lag"), unread), _counted("in hand", facts["pending"], in_hand)
    text = f"group '{group}': {', '.join(counts)}"
    if unread > UNREAD_TOO_LONG or in_hand > IN_HAND_TOO_LONG:
        return Finding(stream, "problem", text, advice)
    return Finding(stream, "ok", text)


def _counted(what: str, count: int | None, oldest: timedelta) -> str:
    """The server does not always know a count, and then says none."""
    if not oldest:
        return f"none {what}"
    number = "some" if count is None else str(count)
    return f"{number} {what}, the oldest since {duration(oldest)}"


async def _groups(client: Redis, stream: str) -> dict[str, dict[str, Any]]:
    """Facts of each group by its name; none where the stream is not there. `Any`: numbers and texts."""
    try:
        replies = await client.execute_command("XINFO", "GROUPS", stream)
    except ResponseError as error:
        if "no such key" in str(error):
            return {}
        raise
    all_facts = [{name.decode(): value for name, value in _pairs(reply)} for reply in replies]
    return {facts["name"].decode(): facts for facts in all_facts}


async def _age_of_unread(client: Redis, stream: str, last_delivered_id: bytes) -> timedelta:
    """How long the first entry that the group has not been given is there; nothing where there is none."""
    entries = await client.execute_command("XRANGE", stream, b"(" + last_delivered_id, "+", "COUNT", 1)
    return _age(entries[0][0]) if entries else timedelta(0)


async def _age_in_hand(client: Redis, stream: str, group: str) -> timedelta:
    """How long the oldest entry is there that somebody has read and not acknowledged."""
    _, oldest_id, *_ = await client.execute_command("XPENDING", stream, group)
    return timedelta(0) if oldest_id is None else _age(oldest_id)


def _age(entry_id: bytes) -> timedelta:
    added_ms = int(entry_id.partition(b"-")[0])
    # Never nothing: that would say that there is no such entry.
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
    """For MATCH, which takes some characters for wildcards."""
    return "".join(f"\\{character}" if character in "*?[]\\" else character for character in name)


def _pairs(flat: list[Any]) -> Iterator[tuple[Any, Any]]:
    return zip(flat[::2], flat[1::2], strict=True)


# MERGED from cli.doctor:
# `doctor`: what is wrong with this deployment, and what to do about it.


def doctor_command(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """Look at the servers, the schema, the streams and the sagas; each problem comes with what to do."""
    from saga_service.cli.commands.doctor import check_all
    from saga_service.cli.console.output import print_json, print_table
    from saga_service.telemetry import configure_logging

    settings = read_settings()
    configure_logging(settings.log_format, "error")
    findings = run_to_end(check_all(settings))
    if as_json:
        print_json(findings)
    else:
        rows = [(each.check, each.verdict, each.text, each.advice or "") for each in findings]
        print_table(("check", "verdict", "found", "what to do"), rows)
    if any(each.verdict == "problem" for each in findings):
        raise typer.Exit(ExitCode.PROBLEM)
