"""What has changed since a moment: one look at Postgres for any number of those who watch sagas or wait for something.

A look names the snapshot of the look before, and `saga.changes` tells what was committed since. So nothing is missed
and nothing is told twice, in whatever order transactions end. A look costs by what has changed, and neither by how many
sagas are watched nor by how many there are.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from asyncpg import Connection
from pydantic import TypeAdapter

from saga_service.admin.views import HistoryRow, SagaSummary
from saga_service.store.requests import Result

LINES_MAX = 100
"""Lines of one saga's history that a look brings. The next look brings more."""
REMOVED_MAX = 5_000
"""Removed sagas that a look tells of."""
KEPT_FOR = timedelta(minutes=1)
"""How old a cursor may be. Changes are kept for longer, since a commit may take some time."""

# Thirteen digits of milliseconds reach to the year 2286: a moment that Python has, whoever made it up.
_CURSOR = re.compile(r"([0-9]{1,13})@([0-9]{1,20}:([0-9]{1,20}):[0-9,]{0,4000})")


class Cursor(NamedTuple):
    """The moment up to which changes are known: the clock of Postgres, and a snapshot of it."""

    at: datetime
    snapshot: str

    def __str__(self) -> str:
        return f"{round(self.at.timestamp() * 1000)}@{self.snapshot}"

    def is_remembered_at(self, now: Cursor) -> bool:
        """True where all that has changed between the two is still known."""
        return now.at - KEPT_FOR <= self.at <= now.at and self._latest <= now._latest

    @property
    def _latest(self) -> int:
        return int(self.snapshot.split(":")[1])


def cursor_in(text: str) -> Cursor | None:
    """The cursor that a text is; None where it is none."""
    match = _CURSOR.fullmatch(text)
    if match is None:
        return None
    return Cursor(datetime.fromtimestamp(int(match[1]) / 1000, UTC), match[2])


class EntryPlace(NamedTuple):
    """An entry of a stream."""

    stream: str
    entry_id: str


class LetterOfEntry(NamedTuple):
    """The dead letter that an entry became."""

    id: int
    reason: str


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a look asks for.

    `watched` has the sagas that are looked up where they have changed since, `fresh` those that are looked up in any
    case, each with the revision from which its history is wanted; None where no history is.
    """

    since: Cursor | None = None
    changed_max: int = 0
    """How many of all sagas that have changed are looked up."""
    watched: Mapping[str, int | None] = field(default_factory=dict)
    fresh: Mapping[str, int | None] = field(default_factory=dict)
    requests: Sequence[int] = ()
    entries: Sequence[EntryPlace] = ()


@dataclass(frozen=True, slots=True)
class Changes:
    """What a look has found."""

    cursor: Cursor
    changed: int
    """How many sagas have changed since."""
    sagas: Mapping[str, SagaSummary]
    """The sagas that were looked up. One that is not there is left out."""
    removed: frozenset[str]
    """Sagas that were removed since, and are not there again."""
    lines: Mapping[str, list[HistoryRow]]
    answers: Mapping[int, Result]
    letters: Mapping[EntryPlace, LetterOfEntry]


def _columns(kind: type) -> str:
    return ", ".join(column.name for column in fields(kind))


# Every part looks up single rows by an index, whatever Postgres believes of the tables' size: LIMIT keeps it from
# joins. The answers are read from the view, since a reader has no right to operate.
LOOK = f"""
with told as materialized (
    select saga_id, bool_or(is_removal) as is_removed, bool_or(not is_removal) as is_changed from saga.changes
    where transaction_id >= pg_snapshot_xmin($1::text::pg_snapshot)
        and not pg_visible_in_snapshot(transaction_id, $1::text::pg_snapshot)
    group by saga_id
), followed as materialized (
    select watched.saga_id, watched.revision from unnest($3::uuid[], $4::integer[]) as watched (saga_id, revision)
    join told using (saga_id)
    union all
    select saga_id, revision from unnest($5::uuid[], $6::integer[]) as fresh (saga_id, revision)
), wanted as materialized (
    (select saga_id from told where is_changed limit $2)
    union
    select saga_id from followed
), found as materialized (
    select wanted.saga_id, to_jsonb(summary) as content
    from wanted cross join lateral (
        select {_columns(SagaSummary)} from saga.sagas where sagas.id = wanted.saga_id limit 1
    ) as summary
)
select 'look' as kind, null::uuid as saga_id, jsonb_build_object(
    'snapshot', pg_current_snapshot()::text, 'at', now(), 'changed', (select count(*) from told where is_changed)
) as content
union all
select 'saga', saga_id, content from found
union all
(
    select 'removed', told.saga_id, null
    from told cross join lateral (select count(*) as sagas from saga.sagas where sagas.id = told.saga_id) as there
    where told.is_removed and there.sagas = 0 limit {REMOVED_MAX}
)
union all
select 'line', followed.saga_id, to_jsonb(line)
from followed cross join lateral (
    select {_columns(HistoryRow)} from saga.history
    where history.saga_id = followed.saga_id and history.revision > followed.revision
    order by history.revision limit {LINES_MAX}
) as line
union all
select 'answer', null, to_jsonb(answer)
from unnest($7::bigint[]) as asked (request_id) cross join lateral (
    select request_id, verdict, coalesce(reason, '') as reason from saga.requests
    where requests.request_id = asked.request_id and requests.answered_at is not null limit 1
) as answer
union all
select 'letter', null, to_jsonb(letter)
from unnest($8::text[], $9::text[]) as entry (stream, entry_id) cross join lateral (
    select id, stream, entry_id, reason from saga.dead_letters
    where dead_letters.stream = entry.stream and dead_letters.entry_id = entry.entry_id limit 1
) as letter
"""

_SUMMARY = TypeAdapter(SagaSummary)
_LINE = TypeAdapter(HistoryRow)


async def changes_since(connection: Connection, wanted: Wanted) -> Changes:
    """Look once. The connection reads JSON as values and ids as text. Raises what asyncpg raises."""
    rows = await connection.fetch(LOOK, *_parameters(wanted))
    look: Any = None  # a JSON object
    sagas: dict[str, SagaSummary] = {}
    removed: set[str] = set()
    lines: dict[str, list[HistoryRow]] = {}
    answers: dict[int, Result] = {}
    letters: dict[EntryPlace, LetterOfEntry] = {}
    for kind, saga_id, content in rows:
        match kind:
            case "look":
                look = content
            case "saga":
                sagas[saga_id] = _SUMMARY.validate_python(content)
            case "removed":
                removed.add(saga_id)
            case "line":
                lines.setdefault(saga_id, []).append(_LINE.validate_python(content))
            case "answer":
                answers[content["request_id"]] = Result(content["verdict"], content["reason"])
            case "letter":
                letters[EntryPlace(content["stream"], content["entry_id"])] = LetterOfEntry(
                    content["id"], content["reason"]
                )
    for each in lines.values():
        each.sort(key=lambda line: line.revision)
    return Changes(
        cursor=Cursor(datetime.fromisoformat(look["at"]), look["snapshot"]),
        changed=look["changed"],
        sagas=sagas,
        removed=frozenset(removed),
        lines=lines,
        answers=answers,
        letters=letters,
    )


def _parameters(wanted: Wanted) -> tuple[object, ...]:
    return (
        None if wanted.since is None else wanted.since.snapshot,
        wanted.changed_max,
        list(wanted.watched),
        list(wanted.watched.values()),
        list(wanted.fresh),
        list(wanted.fresh.values()),
        list(wanted.requests),
        [entry.stream for entry in wanted.entries],
        [entry.entry_id for entry in wanted.entries],
    )
