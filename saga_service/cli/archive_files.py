"""Files of ended sagas: written under another name until they are whole and on the disk, and read back."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING

from saga_service.cli.exits import CommandFailed, ExitCode

if TYPE_CHECKING:
    from saga_service.cli.archiving import ArchivedSaga

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
    from saga_service.cli.archive_parquet import write_parquet

    with write_parquet(raw, columns) as write:
        yield write


def _read_parquet(path: Path) -> Iterator[IdAndRevision]:
    from saga_service.cli.archive_parquet import read_parquet

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
