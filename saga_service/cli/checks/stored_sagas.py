"""Checks in Postgres: the schema, sagas that nobody looks after, retention, and encryption keys."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import timedelta

from asyncpg import Connection, InsufficientPrivilegeError

from saga_service.admin.encryption import PLAIN, KeyUsage, keys_in_use, known_key_ids
from saga_service.admin.failure_kinds import Failure
from saga_service.admin.readiness import schema_of
from saga_service.admin.views import deployed_documents
from saga_service.cli.checks.findings import Finding, failed, ok, problem
from saga_service.cli.console.output import counted, duration
from saga_service.core.state import JsonObject
from saga_service.core.vocabulary import Task
from saga_service.definitions import UnreadableDocument, definition_from_document
from saga_service.settings import Settings
from saga_service.store.schema.migrate import ENCODING, SchemaFit

OVERDUE = timedelta(minutes=1)
"""A saga that is due for longer is driven by no replica."""
UNANSWERED_TOO_LONG = timedelta(seconds=10)
"""A request by SQL is read within a second or two."""
KEPT_LONG = timedelta(days=90)
KEPT_LONG_SAGAS_MAX = 100_000
"""More sagas than this that ended so long ago are worth a thought where nothing ever removes them."""
COUNT_KEYS_S_MAX = 2.0
"""Counting by key reads every saga: only briefly where there are no keys, and most likely nothing is encrypted."""
STEPS_NAMED_MAX = 10


async def saga_findings(connection: Connection, settings: Settings) -> AsyncIterator[Finding]:
    """What the contract's views tell: whoever may read them may have these."""
    async for finding in _counts(connection):
        yield finding
    async for finding in _deployment(connection, settings):
        yield finding
    yield await _ended_sagas(connection, settings)
    yield await _killed_workers(connection, settings)


async def _deployment(connection: Connection, settings: Settings) -> AsyncIterator[Finding]:
    """The deployment that the database belongs to, where it is another; nothing for a role that may not see it."""
    try:
        owner = await connection.fetchrow("select stream_prefix, consumer_group from saga_private.deployment")
    except InsufficientPrivilegeError:
        return
    own = (settings.stream_prefix, settings.consumer_group)
    if owner is None or tuple(owner) == own:
        return
    yield problem(
        "deployment",
        f"the database belongs to SAGA_STREAM_PREFIX={owner[0]} and SAGA_CONSUMER_GROUP={owner[1]}, and here they are "
        f"{own[0]} and {own[1]}",
        "set these here, or give this deployment a database of its own",
    )


async def key_findings(connection: Connection, settings: Settings) -> AsyncIterator[Finding]:
    """The encryption keys in use: the tables themselves have them."""
    yield await _keys(connection, settings)


async def schema_findings(connection: Connection) -> AsyncIterator[Finding]:
    """The server's finding, and the schema's."""
    yield await _server_of_postgres(connection)
    try:
        state = await schema_of(connection)
    except Failure as failure:
        yield failed("schema", failure)
    else:
        is_current = state.fit is SchemaFit.CURRENT
        yield ok("schema", state.text) if is_current else problem("schema", state.text, state.advice)


_SERVER = """
select current_setting('server_version') as version, getdatabaseencoding() as encoding,
    current_setting('transaction_read_only') = 'on' as is_read_only, pg_is_in_recovery() as is_standby,
    current_setting('default_transaction_isolation') as isolation
"""


async def _server_of_postgres(connection: Connection) -> Finding:
    server = await connection.fetchrow(_SERVER)
    assert server is not None, "a select without a from has one row"
    text = f"answers, version {server['version']}"
    if server["encoding"] != ENCODING:
        return problem(
            "postgres",
            f"{text}; the database has the encoding {server['encoding']}, which does not keep every text",
            f"make one with {ENCODING}: create database saga encoding '{ENCODING}' template template0",
        )
    if server["is_standby"]:
        return problem(
            "postgres",
            f"{text}; is a standby, and read-only",
            "let SAGA_POSTGRES_DSN lead to the primary",
        )
    if server["is_read_only"]:
        return problem(
            "postgres",
            f"{text}; is read-only, and no saga goes on",
            "set default_transaction_read_only to off, for the server, the database and the role",
        )
    if server["isolation"] != "read committed":
        return ok(
            "postgres",
            f"{text}; transactions are {server['isolation']} by default, so that they conflict more often",
            "alter role … set default_transaction_isolation = 'read committed'",
        )
    return ok("postgres", text)


_COUNTS = """
select
    (select count(*) from saga.sagas where status = 'stuck') as stuck,
    (select count(*) from saga.sagas where next_check_at < now() - $1::interval) as overdue,
    (select count(*) from saga.dead_letters where replayed_at is null) as dead_letters,
    (
        select count(*) from saga.requests
        where answered_at is null and greatest(at, next_check_at) < now() - $2::interval
    ) as requests,
    (select count(*) from saga.jobs where problem is not null) as jobs
"""

_COUNTED: dict[str, tuple[str, str]] = {
    "stuck": ("stuck sagas", "see what each waits for: saga-service list --status stuck, then saga-service show ID"),
    "overdue": ("overdue sagas", "no replica looks after them; is one running? start it: saga-service run"),
    "requests": ("unanswered requests", "no replica reads requests by SQL; is one running? saga-service run"),
    "jobs": ("jobs that stand still", "see why: saga-service jobs list; saga-service jobs stop NUMBER ends one"),
    "dead_letters": ("dead letters", "see why: saga-service dead-letters list; then replay or drop them"),
}
"""By column of _COUNTS: the check's name, and what to do where it is not zero."""


async def _counts(connection: Connection) -> AsyncIterator[Finding]:
    counts = await connection.fetchrow(_COUNTS, OVERDUE, UNANSWERED_TOO_LONG)
    assert counts is not None, "a select without a from has one row"
    for column, (check, advice) in _COUNTED.items():
        count = counts[column]
        yield problem(check, str(count), advice) if count else ok(check, "none")


_KEPT_LONG = """
select count(*) from (select from saga.sagas where ended_at < now() - $1::interval limit $2) as kept
"""


async def _ended_sagas(connection: Connection, settings: Settings) -> Finding:
    # Keeping every saga is the default, and a table that grows for ever should not come as a surprise.
    kept_days = settings.ended_sagas_retention_days
    if kept_days:
        return ok("ended sagas", f"are removed after {kept_days} days")
    kept = await connection.fetchval(_KEPT_LONG, KEPT_LONG, KEPT_LONG_SAGAS_MAX + 1)
    if kept <= KEPT_LONG_SAGAS_MAX:
        return ok("ended sagas", "are kept for ever")
    return problem(
        "ended sagas",
        f"are kept for ever; more than {KEPT_LONG_SAGAS_MAX} ended over {KEPT_LONG.days} days ago",
        "set SAGA_ENDED_SAGAS_RETENTION_DAYS, or: "
        f"saga-service archive --before {KEPT_LONG.days}d --output FILE --remove",
    )


async def _killed_workers(connection: Connection, settings: Settings) -> Finding:
    """The steps that time out before another worker takes over from one that was killed."""
    # Not a problem: with the default times most steps are among these.
    after_ms = settings.reclaim_idle_ms + settings.reclaim_period_ms
    steps = [
        step
        for document in await deployed_documents(connection)
        for step in _steps_timed_out_before(document, after_ms)
    ]
    if not steps:
        return ok("killed workers", "every step can be taken over in time")
    more = len(steps) - STEPS_NAMED_MAX
    named = ", ".join(steps[:STEPS_NAMED_MAX]) + (f" and {more} more" if more > 0 else "")
    return ok(
        "killed workers",
        f"their steps are taken over after {duration(timedelta(milliseconds=after_ms))}, "
        f"but these count as not answered before: {named}",
        "if that matters, lower SAGA_RECLAIM_IDLE_MS (+ SAGA_RECLAIM_PERIOD_MS) below the steps' `timeout`",
    )


def _steps_timed_out_before(document: JsonObject, taken_over_after_ms: int) -> Iterator[str]:
    """`saga.step` of each step of a definition whose time-out is not longer."""
    try:
        definition = definition_from_document(document)
    except UnreadableDocument:
        # Of a later release, whose own doctor can read it.
        return
    for step in definition.steps:
        if step.task is Task.COMMAND and step.timeout_ms <= taken_over_after_ms:
            yield f"{definition.name}.{step.name}"


async def _keys(connection: Connection, settings: Settings) -> Finding:
    has_keys = bool(settings.encryption_keys.get_secret_value() or settings.encryption_cipher)
    try:
        usage = await keys_in_use(connection, None if has_keys else COUNT_KEYS_S_MAX)
    except TimeoutError:
        return ok("keys", "too many sagas to count by key in time", "count them: saga-service keys list")
    text = ", ".join(map(_usage_in_words, usage)) or "nothing is encrypted yet"
    known = known_key_ids(settings)
    if known is None:
        return ok("keys", text)
    if unknown := [each.key_id for each in usage if each.key_id not in (*known, PLAIN)]:
        back = (
            "back into SAGA_ENCRYPTION_KEYS, after the first" if known else "into SAGA_ENCRYPTION_KEYS, which is unset"
        )
        names = ", ".join(unknown)
        return problem("keys", f"{text}; not known here: {names}", f"put {names} {back}")
    if known and settings.encryption_enabled and any(each.sagas and each.key_id != known[0] for each in usage):
        return ok("keys", text, f"to encrypt all with {known[0]}: saga-service keys rotate")
    return ok("keys", text)


def _usage_in_words(usage: KeyUsage) -> str:
    letters = f" and {counted(usage.dead_letters, 'dead letter')}" if usage.dead_letters else ""
    return f"{usage.key_id or 'not encrypted'}: {counted(usage.sagas, 'saga')}{letters}"
