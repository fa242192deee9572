"""The archive: ended sagas read from the contract's views, and written as files that can be read back.

A file has another name until it is complete and on the disk. Parquet is written by `parquet.py`, which alone needs an
extra: lines of JSON are written by the plain install.
"""

from __future__ import annotations

import gzip
import os
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

import orjson
from asyncpg import Connection

from saga_service.admin.failure_kinds import Failure, FailureKind

PAGE_SAGAS_MAX = 100
"""The sagas in memory at once; an input or an output may have a megabyte."""

ArchivedSaga = dict[str, Any]
"""All columns of `saga.sagas`, those of later versions too, and `steps` and `history`, each a list of its view's rows.

`Any`: what columns hold."""
Columns = Mapping[str, Mapping[str, str]]
"""By view: each column's type, as Postgres names it."""
WriteSagas = Callable[[Sequence[ArchivedSaga]], None]
IdAndRevision = tuple[str, int]

_VIEWS = ("sagas", "steps", "history")
_SAGA_COLUMNS = ("saga_id", "saga")
"""Columns of the saga that the views of steps and history repeat."""

# By the index on ended sagas: in the order of their ends, each page after the last saga of the one before.
PAGE_OF_SAGAS = """
select * from saga.sagas
where (ended_at, id) > ($1::timestamptz, $2::uuid) and ended_at < $3::timestamptz
    and status in ('completed', 'compensated') and ($4::text is null or saga = $4::text)
order by ended_at, id limit $5
"""
_STEPS = "select * from saga.steps where saga_id = any($1::uuid[]) order by saga_id, position"
_HISTORY = "select * from saga.history where saga_id = any($1::uuid[]) order by saga_id, revision"
_COLUMNS = """
select relname, attname, format_type(atttypid, atttypmod) as kind
from pg_attribute join pg_class on pg_class.oid = attrelid
where relnamespace = 'saga'::regnamespace and relname = any($1::text[]) and attnum > 0
order by attnum
"""
_BEFORE_FIRST = (datetime(1, 1, 1, tzinfo=UTC), "00000000-0000-0000-0000-000000000000")


async def ended_sagas(
    connection: Connection, ended_before: datetime, saga: str | None
) -> AsyncIterator[list[ArchivedSaga]]:
    """Pages of the sagas that ended before this moment, in the order of their ends. `saga` names one definition."""
    after = _BEFORE_FIRST
    while page := await _page(connection, after, ended_before, saga):
        yield page
        after = (page[-1]["ended_at"], page[-1]["id"])


async def columns_of_the_views(connection: Connection) -> dict[str, dict[str, str]]:
    """The columns of `sagas`, `steps` and `history`, and the type of each."""
    columns: dict[str, dict[str, str]] = {view: {} for view in _VIEWS}
    for row in await connection.fetch(_COLUMNS, list(_VIEWS)):
        columns[row["relname"]][row["attname"]] = row["kind"]
    return {view: _without_saga_columns(found) if view != "sagas" else found for view, found in columns.items()}


async def _page(
    connection: Connection, after: tuple[datetime, str], ended_before: datetime, saga: str | None
) -> list[ArchivedSaga]:
    # One moment for all three, and over with the page: no transaction stays open while a file is written.
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        sagas = [dict(row) for row in await connection.fetch(PAGE_OF_SAGAS, *after, ended_before, saga, PAGE_SAGAS_MAX)]
        ids = [each["id"] for each in sagas]
        steps = _by_saga(ids, await connection.fetch(_STEPS, ids))
        history = _by_saga(ids, await connection.fetch(_HISTORY, ids))
    return [{**each, "steps": steps[each["id"]], "history": history[each["id"]]} for each in sagas]


def _by_saga(ids: Iterable[str], rows: Iterable[Any]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {saga_id: [] for saga_id in ids}
    for row in rows:
        found[row["saga_id"]].append(_without_saga_columns(dict(row)))
    return found


def _without_saga_columns(columns: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in columns.items() if name not in _SAGA_COLUMNS}


PARTIAL_SUFFIX = ".partial"
ENDINGS = (".jsonl", ".jsonl.gz", ".parquet")


def ending_of(path: Path) -> str:
    """The one of ENDINGS that a file's name has.

    Raises Failure where it has none of them, or the file exists: an archive may be all that is left of its sagas,
    so none is ever overwritten. Raises ModuleNotFoundError where the ending needs an extra that is not installed.
    """
    ending = next((ending for ending in ENDINGS if path.name.endswith(ending)), None)
    if ending is None:
        raise Failure(f"--output must end in {', '.join(ENDINGS)}, but is '{path}'", kind=FailureKind.INVALID)
    if path.exists():
        raise Failure(f"{path} exists already", "name another file", kind=FailureKind.INVALID)
    if ending == ".parquet":
        # Before the first saga is read from Postgres.
        import pyarrow  # noqa: F401  # of an extra, and slow to import
    return ending


@contextmanager
def written_file(path: Path, ending: str, columns: Columns) -> Iterator[WriteSagas]:
    """A function that writes sagas into the file. On leaving, the file is complete and on the disk.

    Where anything fails there is no file. Raises Failure where it cannot be written.
    """
    partial = path.with_name(path.name + PARTIAL_SUFFIX)
    try:
        with partial.open("wb") as raw:
            with _WRITERS[ending](raw, columns) as write:
                yield write
            raw.flush()
            os.fsync(raw.fileno())
        partial.rename(path)
        _sync_folder(path.parent)
    except OSError as error:
        raise Failure(f"{path} cannot be written: {error}") from None
    finally:
        partial.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Write the folder to the disk, and with it the new file's name."""
    # Some file systems, and Windows, have no such thing for folders.
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def read_back(path: Path, ending: str) -> Iterator[IdAndRevision]:
    """The id and the revision of each saga in the file."""
    return _READERS[ending](path)


@contextmanager
def write_lines(raw: IO[bytes] | gzip.GzipFile, _columns: Columns | None = None) -> Iterator[WriteSagas]:
    """A function that writes one saga on each line."""

    def write(sagas: Sequence[ArchivedSaga]) -> None:
        raw.writelines(orjson.dumps(saga, option=orjson.OPT_UTC_Z | orjson.OPT_APPEND_NEWLINE) for saga in sagas)

    yield write


@contextmanager
def _write_compressed_lines(raw: IO[bytes], columns: Columns) -> Iterator[WriteSagas]:
    # Without a name and a time of its own, the same sagas make the same file.
    with (
        gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0) as compressed,
        write_lines(compressed, columns) as write,
    ):
        yield write


def _read_lines(path: Path) -> Iterator[IdAndRevision]:
    with path.open("rb") as lines:
        yield from _of_lines(lines)


def _read_compressed_lines(path: Path) -> Iterator[IdAndRevision]:
    with gzip.open(path) as lines:
        yield from _of_lines(lines)


def _of_lines(lines: IO[bytes] | gzip.GzipFile) -> Iterator[IdAndRevision]:
    for line in lines:
        saga = orjson.loads(line)
        yield saga["id"], saga["revision"]


@contextmanager
def _write_parquet(raw: IO[bytes], columns: Columns) -> Iterator[WriteSagas]:
    from saga_service.cli.access.parquet import write_parquet  # of an extra, and slow to import

    with write_parquet(raw, columns) as write:
        yield write


def _read_parquet(path: Path) -> Iterator[IdAndRevision]:
    from saga_service.cli.access.parquet import read_parquet  # of an extra, and slow to import

    return read_parquet(path)


_WRITERS: dict[str, Callable[[IO[bytes], Columns], AbstractContextManager[WriteSagas]]] = {
    ".jsonl": write_lines,
    ".jsonl.gz": _write_compressed_lines,
    ".parquet": _write_parquet,
}
_READERS: dict[str, Callable[[Path], Iterator[IdAndRevision]]] = {
    ".jsonl": _read_lines,
    ".jsonl.gz": _read_compressed_lines,
    ".parquet": _read_parquet,
}
