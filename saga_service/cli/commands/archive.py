"""`archive`: ended sagas as a file, and removed from Postgres afterwards with `--remove`."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer

from saga_service.admin.failure_kinds import Failure, FailureKind
from saga_service.cli.access.archive import (
    ArchivedSaga,
    WriteSagas,
    columns_of_the_views,
    ended_sagas,
    ending_of,
    read_back,
    write_lines,
    written_file,
)
from saga_service.cli.access.effective_settings import read_settings
from saga_service.cli.access.postgres import open_postgres
from saga_service.cli.access.postgres_writers import open_removal
from saga_service.cli.console.output import counted, moment, print_json
from saga_service.cli.exits import ExitCode
from saga_service.cli.invocation import run_to_end
from saga_service.core.ids import SagaId
from saga_service.definitions.keywords import duration_ms
from saga_service.settings import Settings
from saga_service.store.retention import WrittenSaga

DAY_MS = 86_400_000
PAGE_SAGAS_MAX = 500


@dataclass(frozen=True, slots=True)
class Archived:
    """The sagas of an archive. `output` is null where there is no file, `removed` where nothing was to be removed."""

    sagas: int
    ended_before: datetime
    output: str | None
    removed: int | None


def archive_command(
    before: Annotated[
        str | None,
        typer.Option(
            metavar="AGE|DATE", help="Only those that ended so long ago (90d), or before this date (2026-01-31, UTC)."
        ),
    ] = None,
    saga: Annotated[str | None, typer.Option(help="Only those of this definition.")] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="A new file: .jsonl, .jsonl.gz, or .parquet (extra `parquet`). Without it: standard output.",
        ),
    ] = None,
    remove: Annotated[
        bool,
        typer.Option(
            "--remove",
            help="Then remove from Postgres what the file holds. Needs --output, and --before of a day or more.",
        ),
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print what was done as JSON for programs. Needs --output.")
    ] = False,
) -> None:
    settings = read_settings()
    ended_before = _moment(before)
    _check_options(before, ended_before, output, remove=remove, as_json=as_json)
    if output is None:
        archived = run_to_end(_to_stdout(settings, ended_before, saga))
    else:
        archived = run_to_end(_to_file(settings, ended_before, saga, output, remove=remove))
    _print_archived(archived, to_stdout=output is None, as_json=as_json)


def _moment(before: str | None) -> datetime:
    """The moment of `--before`, by default now. Raises Failure where it is neither an age nor a date."""

    now = datetime.now(UTC)
    if before is None:
        return now
    try:
        day = datetime.fromisoformat(before)
    except ValueError:
        try:
            return now - timedelta(milliseconds=duration_ms(before))
        except ValueError as error:
            raise Failure(
                f"--before must be an age such as 90d or a date such as 2026-01-31: as an age it {error}",
                kind=FailureKind.INVALID,
            ) from None
    return day if day.tzinfo else day.replace(tzinfo=UTC)


def _check_options(
    before: str | None, ended_before: datetime, output: Path | None, *, remove: bool, as_json: bool
) -> None:
    if as_json and output is None:
        raise Failure("--json needs --output: the sagas are on standard output", kind=FailureKind.INVALID)
    if not remove:
        return
    if output is None:
        raise Failure(
            "--remove needs --output: what was written to standard output cannot be read back", kind=FailureKind.INVALID
        )
    if before is None or ended_before > datetime.now(UTC) - timedelta(milliseconds=DAY_MS):
        raise Failure(
            "--remove needs --before of a day or more, for example 90d: a late reply may still come to younger ones",
            kind=FailureKind.INVALID,
        )


async def _to_stdout(settings: Settings, ended_before: datetime, saga: str | None) -> Archived:
    async with open_postgres(settings) as connection:
        with write_lines(sys.stdout.buffer) as write:
            written = await _write_all(ended_sagas(connection, ended_before, saga), _to_pipe(write))
    return Archived(written, ended_before, None, None)


def _to_pipe(write: WriteSagas) -> WriteSagas:
    """A function that writes to standard output, and ends the command where its reader (`| head`) closes the pipe."""

    def write_page(sagas: Sequence[ArchivedSaga]) -> None:
        try:
            write(sagas)
            sys.stdout.buffer.flush()
        except BrokenPipeError:
            # What is still in the buffer would fail once more when the interpreter ends.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(ExitCode.PROBLEM) from None

    return write_page


async def _to_file(
    settings: Settings, ended_before: datetime, saga: str | None, output: Path, *, remove: bool
) -> Archived:
    ending = ending_of(output)
    async with open_postgres(settings) as connection:
        pages = ended_sagas(connection, ended_before, saga)
        first = await anext(pages, None)
        if first is None:
            # An empty file would only stand in the way of the next archive.
            return Archived(0, ended_before, None, 0 if remove else None)
        with written_file(output, ending, await columns_of_the_views(connection)) as write:
            write(first)
            written = len(first) + await _write_all(pages, write)
    removed = await _remove(settings, ended_before, output, ending) if remove else None
    return Archived(written, ended_before, str(output), removed)


async def _write_all(pages: AsyncIterator[list[ArchivedSaga]], write: WriteSagas) -> int:
    written = 0
    async for page in pages:
        write(page)
        written += len(page)
    return written


async def _remove(settings: Settings, ended_before: datetime, output: Path, ending: str) -> int:
    """Remove the sagas that can be read back from the file. The number of those removed."""

    before_ms = int(ended_before.timestamp() * 1000)
    in_the_file = read_back(output, ending)
    removed = 0
    async with open_removal(settings) as removal:
        while some := list(islice(in_the_file, PAGE_SAGAS_MAX)):
            written = [WrittenSaga(SagaId(saga_id), revision) for saga_id, revision in some]
            removed += await removal.remove_written(written, before_ms)
    return removed


def _print_archived(archived: Archived, *, to_stdout: bool, as_json: bool) -> None:
    if as_json:
        print_json(archived)
        return
    before = f"ended before {moment(archived.ended_before)} UTC"
    if not archived.sagas:
        typer.echo(f"no saga {before}: " + ("nothing was printed" if to_stdout else "no file was written"), err=True)
        return
    verb = "is" if archived.sagas == 1 else "are"
    where = "printed" if to_stdout else f"in {archived.output}"
    lines = [f"{counted(archived.sagas, 'saga')} that {before} {verb} {where}"]
    if archived.removed is not None:
        lines.append(f"removed from Postgres: {archived.removed} of them")
        if stayed := archived.sagas - archived.removed:
            lines.append(
                f"{stayed} stay: they changed meanwhile, somebody else holds or removed them, or the saga that "
                "began them has not ended long enough ago"
            )
    typer.echo("\n".join(lines), err=to_stdout)
