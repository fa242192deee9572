"""Lists of sagas and of dead letters, newest first, a page at a time.

No page costs more because the table is large, or because it is deep in the list. A list is walked in the order of an
index, and a page looks at so many rows at most: where few of them fit, the page is short, and the next one goes on.
Filters that few sagas fit have indexes of their own, and all that fit are read and sorted.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Generic, NamedTuple, TypeVar

from asyncpg import Connection

from saga_service.admin.filters import IN_FLIGHT, UNDOING, Conditions, LetterFilter, SagaFilter, counting
from saga_service.admin.views import DeadLetterRow, SagaRow, rows_of

EXAMINED_MAX = 20_000
"""Rows that one page looks at: some tens of milliseconds."""
COUNT_S_MAX = 1.0
"""How long a list counts what fits. A table of many millions takes longer."""

_Row = TypeVar("_Row", SagaRow, DeadLetterRow)


class AfterSaga(NamedTuple):
    """The place of a saga among all, newest first: a page begins after it."""

    created_at: datetime
    id: str


class AfterLetter(NamedTuple):
    """The place of a dead letter among all, newest first: a page begins after it."""

    id: int


_Place = TypeVar("_Place", AfterSaga, AfterLetter)


class Page(NamedTuple, Generic[_Row, _Place]):
    """Rows that fit. `next` is the place after which the next page begins; None where no more can follow."""

    items: list[_Row]
    next: _Place | None


@dataclass(frozen=True, slots=True)
class Order(Generic[_Row, _Place]):
    """The order of a list: what an index of the view's table has."""

    view: str
    row: type[_Row]
    place: type[_Place]
    parameters: str
    """A parameter for each column of a place."""

    @property
    def columns(self) -> str:
        return ", ".join(self.place._fields)

    @property
    def newest_first(self) -> str:
        return "order by " + ", ".join(f"{column} desc" for column in self.place._fields)

    def place_of(self, row: Any) -> _Place:  # Any: a row of the view, or a record with its columns
        return self.place(*(getattr(row, column) for column in self.place._fields))


SAGAS = Order("sagas", SagaRow, AfterSaga, "{}, {}::uuid")
LETTERS = Order("dead_letters", DeadLetterRow, AfterLetter, "{}")


async def page_of_sagas(
    connection: Connection, wanted: SagaFilter, sagas_max: int, after: AfterSaga | None = None
) -> Page[SagaRow, AfterSaga]:
    """Sagas that fit, newest first, from the first one or from the one after `after`."""
    if _is_selective(wanted):
        return await _all_that_fit(connection, SAGAS, wanted.conditions(), sagas_max, after)
    page = await _walked(connection, SAGAS, wanted.conditions(), sagas_max, after, wanted.older_than)
    if page.next is None or len(page.items) == sagas_max or not _is_indexed(wanted):
        return page
    return await _all_that_fit(connection, SAGAS, wanted.conditions(), sagas_max, after)


async def page_of_letters(
    connection: Connection, wanted: LetterFilter, letters_max: int, after: AfterLetter | None = None
) -> Page[DeadLetterRow, AfterLetter]:
    """Dead letters that fit, newest first, from the first one or from the one after `after`."""
    return await _walked(connection, LETTERS, wanted.conditions(), letters_max, after)


async def newest_sagas(connection: Connection, wanted: SagaFilter, sagas_max: int) -> tuple[list[SagaRow], int | None]:
    """The sagas that fit, newest first, and the number of all that fit: None where counting takes too long."""
    found, is_all = await _pages_of(partial(page_of_sagas, connection, wanted), sagas_max)
    return found, len(found) if is_all else await count_of(connection, "sagas", wanted.conditions())


async def newest_letters(
    connection: Connection, wanted: LetterFilter, letters_max: int
) -> tuple[list[DeadLetterRow], int | None]:
    """The dead letters that fit, newest first, and the number of all that fit: None where counting takes too long."""
    found, is_all = await _pages_of(partial(page_of_letters, connection, wanted), letters_max)
    return found, len(found) if is_all else await count_of(connection, "dead_letters", wanted.conditions())


async def _pages_of(
    page_of: Callable[[int, _Place | None], Awaitable[Page[_Row, _Place]]], rows_max: int
) -> tuple[list[_Row], bool]:
    """The rows of as many pages as it takes, and whether these are all that fit."""
    found: list[_Row] = []
    place: _Place | None = None
    while len(found) < rows_max:
        page = await page_of(rows_max - len(found), place)
        found += page.items
        if page.next is None:
            return found, True
        place = page.next
    return found, False


async def count_of(connection: Connection, view: str, conditions: Conditions, up_to: int | None = None) -> int | None:
    """The number of rows that fit, `up_to` where there are as many or more; None where counting takes too long."""
    if up_to is None:
        query = counting(view, conditions)
    else:
        query = f"select count(*) from (select from saga.{view} {conditions.where()} limit {up_to}) as counted"
    try:
        count: int = await connection.fetchval(query, *conditions.values, timeout=COUNT_S_MAX)
    except TimeoutError:
        return None
    return count


def _is_selective(wanted: SagaFilter) -> bool:
    """True where an index has the sagas that fit, and they are few."""
    few = (wanted.key, wanted.parent_id, wanted.error_code)
    return any(each is not None for each in few) or wanted.is_of(UNDOING)


def _is_indexed(wanted: SagaFilter) -> bool:
    """True where an index has the sagas that fit, and they may be many."""
    return wanted.newer_than is not None or wanted.is_of(IN_FLIGHT)


async def _all_that_fit(
    connection: Connection,
    order: Order[_Row, _Place],
    conditions: Conditions,
    rows_max: int,
    after: _Place | None,
) -> Page[_Row, _Place]:
    """A page of all that fit, sorted."""
    # OFFSET 0 keeps Postgres from walking the order's index in the hope of an early end.
    fitting = f"select {order.columns} from saga.{order.view} {conditions.where()} offset 0"
    beyond = _beyond(order, conditions, after)
    ids = f"select id from ({fitting}) as fitting {beyond} {order.newest_first} limit {rows_max + 1}"
    return _page(order, await _rows(connection, order, ids, conditions), rows_max)


async def _walked(
    connection: Connection,
    order: Order[_Row, _Place],
    conditions: Conditions,
    rows_max: int,
    after: _Place | None,
    older_than: timedelta | None = None,
) -> Page[_Row, _Place]:
    """A page of those that fit among the next rows of the order, or among the next that are older."""
    where = conditions.where()
    beyond = _beyond(order, conditions, after, older_than)
    examined = f"select * from saga.{order.view} {beyond} {order.newest_first} limit {EXAMINED_MAX}"
    ids = f"select id from ({examined}) as examined {where} {order.newest_first} limit {rows_max + 1}"
    found = await _rows(connection, order, ids, conditions)
    if len(found) > rows_max:
        return _page(order, found, rows_max)
    return Page(found, await _last_examined(connection, order, after, older_than))


async def _last_examined(
    connection: Connection, order: Order[_Row, _Place], after: _Place | None, older_than: timedelta | None
) -> _Place | None:
    """The place of the last row that a page looks at; None where it looks at all that are left."""
    conditions = Conditions()
    beyond = _beyond(order, conditions, after, older_than)
    query = (
        f"select {order.columns} from saga.{order.view} {beyond} {order.newest_first} offset {EXAMINED_MAX - 1} limit 1"
    )
    last = await connection.fetchrow(query, *conditions.values)
    return None if last is None else order.place(*map(_plain, last))


def _plain(value: Any) -> Any:  # Any: a value of a place's column
    return value if isinstance(value, int | datetime) else str(value)


def _beyond(
    order: Order[_Row, _Place], conditions: Conditions, after: _Place | None, older_than: timedelta | None = None
) -> str:
    texts = []
    if after is not None:
        texts.append(conditions.numbered(f"({order.columns}) < ({order.parameters})", after))
    if older_than is not None:
        texts.append(conditions.numbered(f"{order.place._fields[0]} < now() - {{}}::interval", (older_than,)))
    return f"where {' and '.join(texts)}" if texts else ""


async def _rows(connection: Connection, order: Order[_Row, _Place], ids: str, conditions: Conditions) -> list[_Row]:
    return await rows_of(
        connection, order.row, order.view, f"where id in ({ids}) {order.newest_first}", conditions.values
    )


def _page(order: Order[_Row, _Place], found: list[_Row], rows_max: int) -> Page[_Row, _Place]:
    items = found[:rows_max]
    return Page(items, order.place_of(items[-1]) if len(found) > rows_max else None)
