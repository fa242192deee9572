"""Ended sagas as Parquet: a row for each saga, with its steps and its history as lists of records.

The columns have the types of the views. A JSON column is JSON text here, since a value of it may have any shape. This
module needs the extra `parquet`, so it is imported for a `.parquet` file alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import orjson
import pyarrow as arrow
from pyarrow import parquet

Row = Mapping[str, Any]
"""One saga, or one record of its lists. `Any`: what columns hold."""
Columns = Mapping[str, Mapping[str, str]]
"""By view: each column's type, as Postgres names it."""

READ_ROWS_MAX = 1_000
_LISTS = ("steps", "history")
_TYPES = {
    "integer": arrow.int32(),
    "bigint": arrow.int64(),
    "boolean": arrow.bool_(),
    "timestamp with time zone": arrow.timestamp("us", "UTC"),
    "text[]": arrow.list_(arrow.string()),
}
"""Types by the name of the type in Postgres. All others become text."""
_JSON = ("json", "jsonb")


@contextmanager
def write_parquet(raw: IO[bytes], columns: Columns) -> Iterator[Callable[[Sequence[Row]], None]]:
    """A function that writes sagas into the file."""
    schema = arrow.schema(
        [*_fields(columns["sagas"]), *((name, arrow.list_(arrow.struct(_fields(columns[name])))) for name in _LISTS)]
    )
    with parquet.ParquetWriter(raw, schema, compression="zstd") as writer:

        def write(sagas: Sequence[Row]) -> None:
            rows = [_row(saga, columns) for saga in sagas]
            writer.write_table(arrow.Table.from_pylist(rows, schema=schema))

        yield write


def read_parquet(path: Path) -> Iterator[tuple[str, int]]:
    """The id and the revision of each saga in the file."""
    with parquet.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=READ_ROWS_MAX, columns=["id", "revision"]):
            yield from zip(batch["id"].to_pylist(), batch["revision"].to_pylist(), strict=True)


def _fields(columns: Mapping[str, str]) -> list[tuple[str, Any]]:  # Any: a type of pyarrow's, which has none for us
    return [(name, _TYPES.get(kind, arrow.string())) for name, kind in columns.items()]


def _row(saga: Row, columns: Columns) -> dict[str, Any]:
    lists = {name: [_texts(record, columns[name]) for record in saga[name]] for name in _LISTS}
    return {**_texts(saga, columns["sagas"]), **lists}


def _texts(record: Row, columns: Mapping[str, str]) -> dict[str, Any]:
    """The record with JSON as text."""
    return {
        name: orjson.dumps(record[name]).decode() if kind in _JSON and record[name] is not None else record[name]
        for name, kind in columns.items()
    }
