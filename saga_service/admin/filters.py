"""The sagas and the dead letters that a person's filters leave, and how many there are.

Every filter is a condition on the contract's views that an index serves, or that is asked of few rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from asyncpg import Connection

from saga_service.admin.views import SagaRow, SagaSummary, rows_of
from saga_service.core.vocabulary import Operation, SagaStatus
from saga_service.wire.business_keys import KeyForm, written_key


@dataclass(slots=True)
class Conditions:
    """Conditions of a query that all hold, with the values of their parameters."""

    texts: list[str] = field(default_factory=list)
    values: list[object] = field(default_factory=list)

    def add(self, text: str, value: object) -> None:
        """Add a condition in which `{}` stands for the value. One whose value is None is left out."""
        if value is not None:
            self.values.append(value)
            self.texts.append(text.replace("{}", f"${len(self.values)}"))

    def numbered(self, text: str, values: Sequence[object]) -> str:
        """The text with a parameter's number in the place of each `{}`, for a condition that stands elsewhere."""
        for value in values:
            self.values.append(value)
            text = text.replace("{}", f"${len(self.values)}", 1)
        return text

    def where(self) -> str:
        return f"where {' and '.join(self.texts)}" if self.texts else ""


@dataclass(frozen=True, slots=True)
class SagaFilter:
    """What sagas have in common. None stands for a filter that is not given."""

    statuses: Sequence[str] | None = None
    saga: str | None = None
    key: str | None = None
    parent_id: str | None = None
    error_code: str | None = None
    older_than: timedelta | None = None
    newer_than: timedelta | None = None

    def conditions(self) -> Conditions:
        wanted = Conditions()
        wanted.add("saga = {}", self.saga)
        wanted.add("key = any({}::text[])", None if self.key is None else self._spellings(self.key))
        wanted.add("parent_id = {}::uuid", self.parent_id)
        wanted.add("(error_code = {} or status = 'stuck' and stuck_code = {})", self.error_code)
        wanted.add("status = any({}::text[])", None if self.statuses is None else list(self.statuses))
        if self.is_of(IN_FLIGHT):
            wanted.texts.append(_IS_IN_FLIGHT)
        # What began later has changed later: the index on the beginnings serves.
        wanted.add("updated_at < now() - {}::interval and created_at < now() - {}::interval", self.older_than)
        wanted.add(_CHANGED_SINCE, self.newer_than)
        return wanted

    def is_of(self, statuses: frozenset[SagaStatus]) -> bool:
        """True where every saga that fits has one of these statuses."""
        return self.statuses is not None and statuses.issuperset(self.statuses)

    def could_fit(self, row: SagaSummary) -> bool:
        """True where the conditions hold that are on what never changes of a saga."""
        return (
            self.saga in (None, row.saga)
            and self.parent_id in (None, row.parent_id)
            and (self.key is None or row.key in self._spellings(self.key))
        )

    def fits(self, row: SagaSummary) -> bool:
        """True where all conditions hold but those on ages, which change without the saga."""
        return (
            self.could_fit(row)
            and (self.statuses is None or row.status in self.statuses)
            and (
                self.error_code in (None, row.error_code)
                or (row.status == SagaStatus.STUCK and row.stuck_code == self.error_code)
            )
        )

    @staticmethod
    def _spellings(key: str) -> list[str]:
        # A UUID is one key however it is written.
        return sorted({key, written_key(KeyForm.UUID, key)})


# A saga that has not ended has a timer, or is compensating, or waits for a person: said in the words of the partial
# indexes, so that sagas which ended earlier, mostly many, are not read.
_IS_IN_FLIGHT = "(next_check_at > '-infinity' or status in ('compensating', 'stuck', 'paused'))"
_CHANGED_SINCE = f"updated_at >= now() - {{}}::interval and (ended_at >= now() - {{}}::interval or {_IS_IN_FLIGHT})"

UNDOING = frozenset({SagaStatus.COMPENSATING, SagaStatus.STUCK, SagaStatus.PAUSED})
"""The statuses of an index of their own."""
IN_FLIGHT = UNDOING | {SagaStatus.RUNNING}
"""The statuses of sagas that have not ended."""


async def sagas_to_operate(connection: Connection, wanted: SagaFilter, sagas_max: int) -> tuple[list[SagaRow], int]:
    """The sagas that fit, the longest unchanged first, and the number of all that fit."""
    conditions = wanted.conditions()
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        rest = f"{conditions.where()} order by updated_at, id limit {sagas_max}"
        found = await rows_of(connection, SagaRow, "sagas", rest, conditions.values)
        count: int = await connection.fetchval(counting("sagas", conditions), *conditions.values)
    return found, count


@dataclass(frozen=True, slots=True)
class LetterFilter:
    """What dead letters have in common. None stands for a filter that is not given."""

    stream: str | None = None
    reason: str | None = None
    """A part of the reason, in any case of letters."""
    saga: str | None = None
    """The saga, or the signal, that the entry names in its field `type` or `saga`."""
    older_than: timedelta | None = None
    newer_than: timedelta | None = None
    with_replayed: bool = False

    def conditions(self) -> Conditions:
        wanted = Conditions(texts=[] if self.with_replayed else ["replayed_at is null"])
        wanted.add("stream = {}", self.stream)
        wanted.add("position(lower({}) in lower(reason)) > 0", self.reason)
        wanted.add("{} in (fields ->> 'type', fields ->> 'saga')", self.saga)
        wanted.add("at < now() - {}::interval", self.older_than)
        wanted.add("at >= now() - {}::interval", self.newer_than)
        return wanted


@dataclass(frozen=True, slots=True)
class LetterGroup:
    """Dead letters of one stream with one reason."""

    stream: str
    reason: str
    letters: int
    number_max: int


async def letter_groups(connection: Connection, wanted: LetterFilter) -> list[LetterGroup]:
    """The number of dead letters that fit, by stream and reason, the most first."""
    conditions = wanted.conditions()
    found = await connection.fetch(
        "select stream, reason, count(*) as letters, max(id) as number_max from saga.dead_letters "
        f"{conditions.where()} group by stream, reason order by letters desc, stream, reason",
        *conditions.values,
    )
    return [LetterGroup(**dict(row)) for row in found]


async def next_numbers(
    connection: Connection, wanted: LetterFilter, *, after: int, up_to: int, letters_max: int
) -> list[int]:
    """The lowest numbers of dead letters that fit, above `after` and not above `up_to`."""
    conditions = wanted.conditions()
    conditions.add("id > {}", after)
    conditions.add("id <= {}", up_to)
    found = await connection.fetch(
        f"select id from saga.dead_letters {conditions.where()} order by id limit {letters_max}", *conditions.values
    )
    return [row["id"] for row in found]


def counting(view: str, conditions: Conditions) -> str:
    return f"select count(*) from saga.{view} {conditions.where()}"


_RUNNING, _COMPENSATING, _PAUSED, _STUCK = (
    SagaStatus.RUNNING,
    SagaStatus.COMPENSATING,
    SagaStatus.PAUSED,
    SagaStatus.STUCK,
)

STATUSES_TO_OPERATE: dict[Operation, tuple[SagaStatus, ...]] = {
    Operation.RETRY: (_STUCK,),
    Operation.SKIP: (_STUCK,),
    Operation.RESOLVE: (_STUCK,),
    Operation.CANCEL: (_RUNNING, _PAUSED, _STUCK),
    # Completed sagas only where --status says so.
    Operation.COMPENSATE: (_RUNNING, _PAUSED, _STUCK),
    Operation.PAUSE: (_RUNNING, _COMPENSATING, _STUCK),
    Operation.RESUME: (_PAUSED,),
}
"""The statuses that each operation can do something about."""
