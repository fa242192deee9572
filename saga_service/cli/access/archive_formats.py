"""Files of ended sagas: written under another name until they are whole and on the disk, and read back."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import orjson
import pyarrow as arrow
from pyarrow import parquet

from saga_service.cli.console.exits import CommandFailed, ExitCode

if TYPE_CHECKING:
    from saga_service.cli.access.ended_sagas import ArchivedSaga

Columns = Mapping[str, Mapping[str, str]]
WriteSagas = Callable[[Sequence["ArchivedSaga"]], None]
IdAndRevision = tuple[str, int]

PARTIAL_SUFFIX = ".partial"
ENDINGS = (".jsonl", ".jsonl.gz", ".parquet")


def ending_of(path: Path) -> str:
    """Which of ENDINGS a file has. Raises CommandFailed where it has none, is there already, or cannot be written here.

    An archive may be all that is left of its sagas: none is ever written over.
    """
    ending = next((ending for ending in ENDINGS if path.name.endswith(ending)), None)
    if ending is None:
        raise CommandFailed(f"--output must end in {', '.join(ENDINGS)}, but is '{path}'", ExitCode.USAGE)
    if path.exists():
        raise CommandFailed(f"{path} is there already; name another file", ExitCode.USAGE)
    if ending == ".parquet":
        _require_pyarrow()
    return ending


def _require_pyarrow() -> None:
    from importlib.util import find_spec

    if find_spec("pyarrow") is None:
        raise CommandFailed(
            "Parquet needs pyarrow: pip install 'saga-service[parquet]'; or write .jsonl.gz", ExitCode.USAGE
        )


@contextmanager
def written_file(path: Path, ending: str, columns: Columns) -> Iterator[WriteSagas]:
    """What writes sagas into it. After this the file is on the disk, whole; where anything fails there is none."""
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
        raise CommandFailed(f"{path} cannot be written: {error}") from None
    finally:
        partial.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """The name of a new file is on the disk when its folder is."""
    # Some file systems, and Windows, have no such thing for folders.
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def read_back(path: Path, ending: str) -> Iterator[IdAndRevision]:
    """Each saga that the file holds, and its revision there."""
    return _READERS[ending](path)


# ------------------------------------------------------------------------------------------------------- JSON Lines


@contextmanager
def write_lines(raw: IO[bytes] | gzip.GzipFile, _columns: Columns | None = None) -> Iterator[WriteSagas]:
    """One saga on each line."""
    import orjson

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
    import orjson

    for line in lines:
        saga = orjson.loads(line)
        yield saga["id"], saga["revision"]


# ---------------------------------------------------------------------------------------------------------- Parquet


@contextmanager
def _write_parquet(raw: IO[bytes], columns: Columns) -> Iterator[WriteSagas]:
    from saga_service.cli.access.archive_formats import write_parquet

    with write_parquet(raw, columns) as write:
        yield write


def _read_parquet(path: Path) -> Iterator[IdAndRevision]:
    from saga_service.cli.access.archive_formats import read_parquet

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


# MERGED from cli.archive_parquet:
# Ended sagas as Parquet: a row for each, its steps and its history as lists of records in it.
#
# Columns have the types of the views; what is JSON there is JSON text here, for it has any shape.

if TYPE_CHECKING:
    from saga_service.cli.access.archive_formats import Columns, IdAndRevision, WriteSagas
    from saga_service.cli.access.ended_sagas import ArchivedSaga

READ_ROWS_MAX = 1_000
_LISTS = ("steps", "history")
_TYPES = {
    "integer": arrow.int32(),
    "bigint": arrow.int64(),
    "boolean": arrow.bool_(),
    "timestamp with time zone": arrow.timestamp("us", "UTC"),
    "text[]": arrow.list_(arrow.string()),
}
"""By the type in Postgres; all others become text."""
_JSON = ("json", "jsonb")


@contextmanager
def write_parquet(raw: IO[bytes], columns: Columns) -> Iterator[WriteSagas]:
    schema = arrow.schema(
        [*_fields(columns["sagas"]), *((name, arrow.list_(arrow.struct(_fields(columns[name])))) for name in _LISTS)]
    )
    with parquet.ParquetWriter(raw, schema, compression="zstd") as writer:

        def write(sagas: Sequence[ArchivedSaga]) -> None:
            rows = [_row(saga, columns) for saga in sagas]
            writer.write_table(arrow.Table.from_pylist(rows, schema=schema))

        yield write


def read_parquet(path: Path) -> Iterator[IdAndRevision]:
    with parquet.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=READ_ROWS_MAX, columns=["id", "revision"]):
            yield from zip(batch["id"].to_pylist(), batch["revision"].to_pylist(), strict=True)


def _fields(columns: Mapping[str, str]) -> list[tuple[str, Any]]:  # Any: a type of pyarrow's, which has none for us
    return [(name, _TYPES.get(kind, arrow.string())) for name, kind in columns.items()]


def _row(saga: ArchivedSaga, columns: Columns) -> dict[str, Any]:
    lists = {name: [_texts(record, columns[name]) for record in saga[name]] for name in _LISTS}
    return {**_texts(saga, columns["sagas"]), **lists}


def _texts(record: Mapping[str, Any], columns: Mapping[str, str]) -> dict[str, Any]:
    """With JSON as text, and everything else as it is."""
    return {
        name: orjson.dumps(record[name]).decode() if kind in _JSON and record[name] is not None else record[name]
        for name, kind in columns.items()
    }
