"""The texts that follow from the declared columns are the ones checked in. A failure shows the text that is right."""

from __future__ import annotations

import inspect
import re
from collections.abc import Sequence
from typing import Any

import pytest

from saga_service.store import queries, rows
from saga_service.store.columns import (
    ADVANCED,
    ASKED,
    DEAD_LETTERS,
    DEFERRED,
    HISTORY,
    PARKED,
    RESULTS,
    STARTED,
    STEP_PLACES,
    WAITING,
    Column,
)
from saga_service.store.schema.migrate import read_sql

Columns = Sequence[Column[Any]]

ROWS: dict[str, Columns] = {
    "result": RESULTS,
    "asked": ASKED,
    "waiting": WAITING,
    "deferred": DEFERRED,
    "started": STARTED,
    "advanced": ADVANCED,
    "parked": PARKED,
    "history": HISTORY,
    "letter": DEAD_LETTERS,
}
"""In the order of the parameters, by the prefix of their names."""

JSON = ("json", "jsonb")
SCHEMA = re.sub(r"\s+", " ", read_sql("schema.sql"))
COMMIT_BATCH = SCHEMA.partition("create function saga_private.commit_batch")[2].partition("$$;")[0]


def array_type(column: Column[Any]) -> str:
    return "text[]" if column.type in JSON else f"{column.type}[]"


def names(columns: Columns) -> str:
    return ", ".join(column.name for column in columns)


def cast_names(columns: Columns) -> str:
    return ", ".join(f"{each.name}::{each.type}" if each.type in JSON else each.name for each in columns)


def arrays(prefix: str) -> str:
    return ", ".join(f"{prefix}_{column.name}" for column in ROWS[prefix])


def spread(prefix: str) -> str:
    """The arrays of parameters as rows."""
    return f"from unnest({arrays(prefix)}) as {prefix} ({names(ROWS[prefix])})"


def plain(sql: str) -> str:
    """However it is broken into lines."""
    return re.sub(r"\s+", " ", sql).replace("( ", "(").replace(" )", ")").strip()


def test_the_parameters_of_commit_batch_are_the_columns() -> None:
    parameters = [
        f"{prefix}_{column.name} {array_type(column)}" for prefix, columns in ROWS.items() for column in columns
    ]
    signature = ", ".join([*parameters, "now_ms bigint", "outgoing_messages text", "published_ids bigint[]"])
    assert plain(COMMIT_BATCH).startswith(f"({signature}) returns bigint")


@pytest.mark.parametrize("prefix", ROWS)
def test_commit_batch_reads_its_arrays_as_these_columns(prefix: str) -> None:
    assert spread(prefix) in plain(COMMIT_BATCH)


@pytest.mark.parametrize(
    ("prefix", "table"), [("started", "sagas"), ("history", "history"), ("letter", "dead_letters")]
)
def test_commit_batch_writes_every_column_of_a_new_row(prefix: str, table: str) -> None:
    columns = ROWS[prefix]
    insert = f"insert into saga_private.{table} ({names(columns)}) select {cast_names(columns)} {spread(prefix)}"
    assert insert in plain(COMMIT_BATCH)


def test_commit_batch_keeps_a_deferred_entry_with_every_column() -> None:
    insert = (
        f"insert into saga_private.requests (at_ms, first_attempt_at_ms, attempts, {names(DEFERRED)})"
        f" select now_ms, now_ms, 1, {cast_names(DEFERRED)} {spread('deferred')}"
    )
    insert = insert.replace(
        "addressed_key from",
        "coalesce(saga_private.order_key(addressed_key), saga_private.order_key_of(addressed_id)) from",
    )
    assert insert in plain(COMMIT_BATCH)


def test_commit_batch_sets_every_column_of_a_saga_that_went_on() -> None:
    changing = [column for column in ADVANCED if column.name not in ("id", "expected_revision")]
    cast = {column.name: f"::{column.type}" if column.type in JSON else "" for column in changing}
    assignments = ", ".join(f"{name} = advanced.{name}{as_type}" for name, as_type in cast.items())
    assert f"update saga_private.sagas set {assignments} {spread('advanced')}" in plain(COMMIT_BATCH)


def test_a_saga_that_went_on_has_the_columns_of_one_that_started() -> None:
    started = {column.name: column.type for column in STARTED}
    changing = {column.name: column.type for column in ADVANCED if column.name != "expected_revision"}
    assert changing.items() <= started.items()


def test_the_call_of_commit_batch_casts_each_array() -> None:
    columns = [column for columns in ROWS.values() for column in columns]
    types = [
        *(array_type(column) if column.is_text_of_others else f"text::{array_type(column)}" for column in columns),
        *("bigint", "text", "bigint[]"),
    ]
    arguments = ", ".join(f"${place}::{type_}" for place, type_ in enumerate(types, start=1))
    assert plain(queries.COMMIT) == f"select saga_private.commit_batch({arguments})"


def test_the_database_names_the_places_of_a_step_as_they_are() -> None:
    body = SCHEMA.partition("create function saga_private.steps_of")[2].partition("from json_array_elements")[0]
    named = re.findall(r"step\.state ->>? (\d+)\b[^,]*?(?:, 0\))? as (\w+)", body)
    assert [(int(place), name) for place, name in named] == list(enumerate(STEP_PLACES))


def test_the_places_of_a_step_are_read_in_their_order() -> None:
    assert tuple(inspect.signature(rows.read_step).parameters) == STEP_PLACES
