"""`dead-letters`: the entries that could not be used, and what to do about them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer
from asyncpg import Connection

from saga_service.admin.failure_kinds import Failure, FailureKind
from saga_service.admin.filters import (
    LetterFilter,
    LetterGroup,
    letter_groups,
    next_numbers,
)
from saga_service.admin.lists import newest_letters
from saga_service.admin.text import shell_word
from saga_service.admin.views import DeadLetterRow, dead_letters_with_ids
from saga_service.cli.access.effective_settings import read_settings
from saga_service.cli.access.option_values import age
from saga_service.cli.access.postgres import open_postgres
from saga_service.cli.console.bulk import IN_BULK, Bulk, DryRun, Yes
from saga_service.cli.console.output import AsJson, counted, moment, print_heading, print_json, print_line, shown_of
from saga_service.cli.console.tables import print_table
from saga_service.cli.exits import ExitCode
from saga_service.cli.invocation import run_to_end
from saga_service.settings import Settings

if TYPE_CHECKING:
    from saga_service.admin.dead_letters import Replay, Replayed

commands = typer.Typer(no_args_is_help=True)

GROUPS_SHOWN_MAX = 20
REPLAY_LETTERS = 200
"""Dead letters that are replayed in one batch: an entry may have a megabyte, and a batch is in memory as a whole."""
DROP_LETTERS = 1_000
"""Dead letters that are dropped in one statement."""

Stream = Annotated[str | None, typer.Option(help="Those found on this stream.", rich_help_panel=IN_BULK)]
ReasonPart = Annotated[
    str | None,
    typer.Option("--reason", metavar="TEXT", help="Those whose reason has this text.", rich_help_panel=IN_BULK),
]
Saga = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help="Those whose field `type` or `saga` is this saga, or signal.", rich_help_panel=IN_BULK
    ),
]
OlderThan = Annotated[
    str | None, typer.Option(metavar="AGE", help="Those put aside so long ago: 30m, 2h, 1d.", rich_help_panel=IN_BULK)
]
NewerThan = Annotated[
    str | None, typer.Option(metavar="AGE", help="Those put aside since so long ago.", rich_help_panel=IN_BULK)
]
Numbers = Annotated[
    list[int] | None,
    typer.Argument(metavar="[NUMBER]...", help="As the list shows them. Without any: those that the filters leave."),
]
Limit = Annotated[
    int | None, typer.Option("--limit", min=1, help="So many at most, the oldest first.", rich_help_panel=IN_BULK)
]


@dataclass(frozen=True, slots=True)
class Many:
    """How a command goes about all dead letters that its filters leave."""

    verb: str
    letters_max: int | None
    bulk: Bulk


@commands.command("list", epilog="Example: saga-service dead-letters list --stream saga:events --newer-than 1h")
def list_command(
    stream: Stream = None,
    reason: ReasonPart = None,
    saga: Saga = None,
    older_than: OlderThan = None,
    newer_than: NewerThan = None,
    with_replayed: Annotated[bool, typer.Option("--all", help="Also those that were replayed: else left out.")] = False,
    letters_max: Annotated[int, typer.Option("--limit", min=1, max=100_000, help="How many at most.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List dead letters, the newest first."""
    wanted = _filter(stream, reason, saga, older_than, newer_than, with_replayed=with_replayed)
    letters, fit = run_to_end(_list(read_settings(), wanted, letters_max))
    if as_json:
        print_json(letters)
    elif letters:
        _print_list(letters)
    typer.echo(shown_of(len(letters), fit, "dead letter"), err=True)


@commands.command("show", epilog="Example: saga-service dead-letters show 17")
def show_command(
    number: Annotated[int, typer.Argument(help="As the list shows it.")],
    as_json: AsJson = False,
) -> None:
    """Show one dead letter: the entry, why it could not be used, and what can be done."""
    letter = run_to_end(_letter(read_settings(), number))
    if as_json:
        print_json(letter)
    else:
        _print_letter(letter)


@commands.command("replay", epilog="Example: saga-service dead-letters replay --stream saga:events --dry-run")
def replay_command(
    numbers: Numbers = None,
    stream: Stream = None,
    reason: ReasonPart = None,
    saga: Saga = None,
    older_than: OlderThan = None,
    newer_than: NewerThan = None,
    letters_max: Limit = None,
    again: Annotated[bool, typer.Option("--again", help="Also those that were replayed before.")] = False,
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Add entries to their streams again exactly as they came. Every group of such a stream will read them.

    A request that came by SQL is made again.
    """
    wanted = _filter(stream, reason, saga, older_than, newer_than, with_replayed=again)
    settings = read_settings()
    many = Many("replay", letters_max, Bulk(dry_run, yes, as_json))
    failures: list[Failure] = []
    if _are_named(numbers, wanted, many):
        replayed, failures = run_to_end(_replay_named(settings, numbers or [], again=again))
    else:
        replayed = run_to_end(_replay_many(settings, wanted, many))
    if as_json:
        print_json(replayed)
    elif numbers:
        for each in replayed:
            print_line(f"dead letter {each.id} is on {each.stream} again, as {each.entry_id}")
    else:
        typer.echo(f"replayed: {counted(len(replayed), 'dead letter')}")
    _tell(failures)


@commands.command("drop", epilog="Example: saga-service dead-letters drop --reason 'no saga' --older-than 7d")
def drop_command(
    numbers: Numbers = None,
    stream: Stream = None,
    reason: ReasonPart = None,
    saga: Saga = None,
    older_than: OlderThan = None,
    newer_than: NewerThan = None,
    with_replayed: Annotated[
        bool, typer.Option("--all", help="With the filters: also those that were replayed.", rich_help_panel=IN_BULK)
    ] = False,
    letters_max: Limit = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Delete dead letters for good."""
    wanted = _filter(stream, reason, saga, older_than, newer_than, with_replayed=with_replayed)
    settings = read_settings()
    many = Many("drop", letters_max, Bulk(dry_run, yes, as_json))
    failures: list[Failure] = []
    if _are_named(numbers, wanted, many):
        dropped, failures = run_to_end(_drop_named(settings, numbers or []))
    else:
        dropped = run_to_end(_drop_many(settings, wanted, many))
    if as_json:
        print_json(dropped)
    elif dropped or not failures:
        typer.echo(f"dropped: {', '.join(map(str, dropped)) if numbers else counted(len(dropped), 'dead letter')}")
    _tell(failures)


def _filter(
    stream: str | None,
    reason: str | None,
    saga: str | None,
    older_than: str | None,
    newer_than: str | None,
    *,
    with_replayed: bool,
) -> LetterFilter:
    return LetterFilter(
        stream, reason, saga, age(older_than, "--older-than"), age(newer_than, "--newer-than"), with_replayed
    )


def _are_named(numbers: list[int] | None, wanted: LetterFilter, many: Many) -> bool:
    """True for numbers, False for filters. Raises Failure where both are given, or neither."""
    filtered = wanted != LetterFilter(with_replayed=wanted.with_replayed)
    if numbers and (filtered or many.letters_max is not None or many.bulk.dry_run):
        raise Failure("give numbers, or filters and their options; not both", kind=FailureKind.INVALID)
    if not numbers and not filtered:
        raise Failure(
            "no dead letter is named",
            "give its number, or filter by --stream, --reason, --saga, --older-than, --newer-than",
            kind=FailureKind.INVALID,
        )
    return bool(numbers)


async def _list(settings: Settings, wanted: LetterFilter, letters_max: int) -> tuple[list[DeadLetterRow], int | None]:
    async with open_postgres(settings) as connection:
        return await newest_letters(connection, wanted, letters_max)


def _print_list(letters: Sequence[DeadLetterRow]) -> None:
    # The second moment is empty for most, and then has no column on a terminal.
    print_table(
        ("number", "put aside (UTC)", "replayed (UTC)", "stream", "entry", "reason"),
        [
            (str(row.id), moment(row.at), moment(row.replayed_at), row.stream, row.entry_id, row.reason)
            for row in letters
        ],
        texts=("reason",),
        lines_max=3,
    )


async def _letter(settings: Settings, number: int) -> DeadLetterRow:
    async with open_postgres(settings) as connection:
        found = await dead_letters_with_ids(connection, [number])
    if not found:
        raise _missing([number])
    return found[0]


def _print_letter(letter: DeadLetterRow) -> None:
    print_heading(f"dead letter {letter.id}")
    print_line(f"found on {letter.stream} as {letter.entry_id}, put aside {moment(letter.at)} UTC")
    if letter.saga_id is not None:
        of_key = "" if letter.key is None else f", with the key {shell_word(letter.key)}"
        print_line(f"for the saga {letter.saga_id}{of_key}")
    print_line(f"because {letter.reason}")
    if letter.replayed_at is not None:
        print_line(f"replayed {moment(letter.replayed_at)} UTC")
    print_line()
    print_table(
        ("field", "value"), [(str(name), str(value)) for name, value in letter.fields.items()], texts=("value",)
    )
    print_line()
    print_heading("Next:")
    print_line(f"  once the cause is mended: saga-service dead-letters replay {letter.id}")
    print_line(f"  if it is not needed:      saga-service dead-letters drop {letter.id}")


async def _replay_named(settings: Settings, numbers: list[int], *, again: bool) -> tuple[list[Replayed], list[Failure]]:
    """Put back those that can be; for all others, why not."""
    async with open_postgres(settings) as connection:
        found = {letter.id: letter for letter in await dead_letters_with_ids(connection, numbers)}
    before = [number for number, letter in found.items() if letter.replayed_at is not None and not again]
    left = [number for number in found if number not in before]
    failures = _failures(numbers, found)
    if before:
        named = ", ".join(map(str, before))
        failures.append(Failure(f"replayed already: {named}", "to replay them once more: --again"))
    replayed: list[Replayed] = []
    async with _open_replay(settings) as replay:
        for begin in range(0, len(left), REPLAY_LETTERS):
            replayed += await replay.batch(left[begin : begin + REPLAY_LETTERS])
    return replayed, failures


async def _replay_many(settings: Settings, wanted: LetterFilter, many: Many) -> list[Replayed]:
    replayed: list[Replayed] = []
    async with open_postgres(settings) as connection, _open_replay(settings) as replay:
        async for numbers in _batches(connection, wanted, many, REPLAY_LETTERS):
            try:
                replayed += await replay.batch(numbers)
            except Failure as failure:
                raise Failure(f"{failure}; {len(replayed):,} were replayed before") from None
    return replayed


@asynccontextmanager
async def _open_replay(settings: Settings) -> AsyncIterator[Replay]:
    # Imported here and below: it takes a quarter of a command's time, and a list has no use for it.
    from saga_service.admin.dead_letters import Replay
    from saga_service.cli.access.postgres_writers import open_dead_letters, open_requests
    from saga_service.cli.access.redis import open_redis

    async with open_dead_letters(settings) as box, open_requests(settings) as requests, open_redis(settings) as client:
        yield Replay(box, requests, client)


async def _drop_named(settings: Settings, numbers: list[int]) -> tuple[list[int], list[Failure]]:
    from saga_service.cli.access.postgres_writers import open_dead_letters

    async with open_dead_letters(settings) as box:
        dropped = await box.drop_dead_letters(numbers)
    return dropped, _failures(numbers, dropped)


async def _drop_many(settings: Settings, wanted: LetterFilter, many: Many) -> list[int]:
    dropped: list[int] = []
    from saga_service.cli.access.postgres_writers import open_dead_letters

    async with open_postgres(settings) as connection, open_dead_letters(settings) as box:
        async for numbers in _batches(connection, wanted, many, DROP_LETTERS):
            dropped += await box.drop_dead_letters(numbers)
    return dropped


async def _batches(
    connection: Connection, wanted: LetterFilter, many: Many, letters_max: int
) -> AsyncIterator[list[int]]:
    """The numbers of those that fit, batch by batch, once the person is sure."""
    groups = await letter_groups(connection, wanted)
    fit = sum(group.letters for group in groups)
    meant = fit if many.letters_max is None else min(fit, many.letters_max)
    if many.bulk.dry_run:
        _print_groups(groups, fit, meant, as_json=many.bulk.as_json)
        raise typer.Exit
    if meant:
        many.bulk.confirm(f"{many.verb} {counted(meant, 'dead letter')}")
    # A replayed entry that fails again is a dead letter with a higher number, and is not replayed for ever.
    up_to = max((group.number_max for group in groups), default=0)
    after, left = 0, meant
    while left > 0:
        numbers = await next_numbers(connection, wanted, after=after, up_to=up_to, letters_max=min(left, letters_max))
        if not numbers:
            return
        yield numbers
        after, left = numbers[-1], left - len(numbers)


def _print_groups(groups: Sequence[LetterGroup], fit: int, meant: int, *, as_json: bool) -> None:
    if as_json:
        print_json(groups)
        return
    if groups:
        rows = [(group.stream, str(group.letters), group.reason) for group in groups[:GROUPS_SHOWN_MAX]]
        print_table(("stream", "dead letters", "reason"), rows, texts=("reason",), lines_max=3)
    if len(groups) > GROUPS_SHOWN_MAX:
        typer.echo(f"and {len(groups) - GROUPS_SHOWN_MAX:,} more reasons", err=True)
    of_all = "" if meant == fit else f", the oldest of the {fit:,} that fit"
    typer.echo(f"{counted(meant, 'dead letter')}{of_all}; nothing was changed", err=True)


def _failures(wanted: Iterable[int], there: Iterable[int]) -> list[Failure]:
    missing = sorted(set(wanted) - set(there))
    return [_missing(missing)] if missing else []


def _missing(numbers: Sequence[int]) -> Failure:
    named = ", ".join(map(str, numbers))
    return Failure(f"no dead letter has the number {named}", "see: saga-service dead-letters list --all")


def _tell(failures: Sequence[Failure]) -> None:
    """Say what was not done. Raises what ends the command with its exit code where that is anything."""
    for failure in failures:
        typer.echo(f"saga-service: {failure}", err=True)
    if failures:
        raise typer.Exit(ExitCode.PROBLEM)
