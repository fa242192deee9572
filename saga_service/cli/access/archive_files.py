"""Files of ended sagas: written under another name until they are complete and on the disk, and read back."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import IO

import orjson

from saga_service.cli.access.ended_sagas import ArchivedSaga, Columns, IdAndRevision, WriteSagas
from saga_service.cli.exits import CommandFailed, ExitCode

PARTIAL_SUFFIX = ".partial"
ENDINGS = (".jsonl", ".jsonl.gz", ".parquet")


def ending_of(path: Path) -> str:
    """The one of ENDINGS that a file's name has.

    Raises CommandFailed where it has none of them, or the file exists: an archive may be all that is left of its sagas,
    so none is ever overwritten. Raises ModuleNotFoundError where the ending needs an extra that is not installed.
    """
    ending = next((ending for ending in ENDINGS if path.name.endswith(ending)), None)
    if ending is None:
        raise CommandFailed(f"--output must end in {', '.join(ENDINGS)}, but is '{path}'", code=ExitCode.USAGE)
    if path.exists():
        raise CommandFailed(f"{path} exists already", "name another file", code=ExitCode.USAGE)
    if ending == ".parquet":
        # Before the first saga is read from Postgres.
        import pyarrow  # noqa: F401  # of an extra, and slow to import
    return ending


@contextmanager
def written_file(path: Path, ending: str, columns: Columns) -> Iterator[WriteSagas]:
    """A function that writes sagas into the file. On leaving, the file is complete and on the disk.

    Where anything fails there is no file. Raises CommandFailed where it cannot be written.
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
        raise CommandFailed(f"{path} cannot be written: {error}") from None
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
    from saga_service.cli.access.archive_parquet import write_parquet  # of an extra, and slow to import

    with write_parquet(raw, columns) as write:
        yield write


def _read_parquet(path: Path) -> Iterator[IdAndRevision]:
    from saga_service.cli.access.archive_parquet import read_parquet  # as above

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
