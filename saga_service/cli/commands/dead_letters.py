"""`dead-letters`: the entries that could not be used, and what to do about them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from saga_service.base.clock import now_ms
from saga_service.cli.access.postgres import open_dead_letters, open_postgres, open_requests
from saga_service.cli.access.redis import open_redis
from saga_service.cli.access.views import DeadLetterRow, dead_letters_with_ids, list_dead_letters
from saga_service.cli.console.output import AsJson, moment, print_heading, print_json, print_line
from saga_service.cli.console.tables import print_table
from saga_service.cli.exits import CommandFailed
from saga_service.cli.invocation import read_settings, run_to_end
from saga_service.settings import Settings
from saga_service.store.dead_letters import DeadLetterBox
from saga_service.store.requests import PostgresRequests
from saga_service.streams.connection import RedisClient
from saga_service.wire.dead_letters import raw_pairs
from saga_service.wire.transport import NO_STREAMS

commands = typer.Typer(no_args_is_help=True)

Numbers = Annotated[list[int], typer.Argument(metavar="NUMBER...", help="As the list shows them.")]


@dataclass(frozen=True, slots=True)
class Replayed:
    """A dead letter, and the new entry or request that is its copy."""

    id: int
    stream: str
    entry_id: str


@commands.command("list", epilog="Example: saga-service dead-letters list --stream saga:events")
def list_command(
    stream: Annotated[str | None, typer.Option(help="Only those found on this stream.")] = None,
    with_replayed: Annotated[bool, typer.Option("--all", help="Also those that were replayed.")] = False,
    letters_max: Annotated[int, typer.Option("--limit", min=1, max=100_000, help="How many at most.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List dead letters, the newest first."""
    letters = run_to_end(_list(read_settings(), stream, with_replayed, letters_max))
    if as_json:
        print_json(letters)
    elif not letters:
        typer.echo("no dead letters", err=True)
    else:
        columns = (
            "number",
            "put aside (UTC)",
            *(["replayed (UTC)"] if with_replayed else []),
            "stream",
            "entry",
            "reason",
        )
        rows = [
            (
                str(row.id),
                moment(row.at),
                *([moment(row.replayed_at)] if with_replayed else []),
                row.stream,
                row.entry_id,
                row.reason,
            )
            for row in letters
        ]
        print_table(columns, rows, texts=("reason",), lines_max=3)


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


@commands.command("replay", epilog="Example: saga-service dead-letters replay 17 18")
def replay_command(
    numbers: Numbers,
    again: Annotated[bool, typer.Option("--again", help="Also those that were replayed before.")] = False,
    as_json: AsJson = False,
) -> None:
    """Add entries to their streams again exactly as they came. Every group of such a stream will read them.

    A request that came by SQL is made again.
    """
    replayed = run_to_end(_replay(read_settings(), numbers, again))
    if as_json:
        print_json(replayed)
    else:
        for each in replayed:
            print_line(f"dead letter {each.id} is on {each.stream} again, as {each.entry_id}")


@commands.command("drop", epilog="Example: saga-service dead-letters drop 17 18")
def drop_command(numbers: Numbers) -> None:
    """Delete dead letters for good."""
    dropped = run_to_end(_drop(read_settings(), numbers))
    typer.echo(f"dropped: {', '.join(map(str, dropped))}")


async def _list(settings: Settings, stream: str | None, with_replayed: bool, letters_max: int) -> list[DeadLetterRow]:
    async with open_postgres(settings) as connection:
        return await list_dead_letters(connection, stream=stream, with_replayed=with_replayed, letters_max=letters_max)


async def _letter(settings: Settings, number: int) -> DeadLetterRow:
    async with open_postgres(settings) as connection:
        found = await dead_letters_with_ids(connection, [number])
    _refuse_missing([number], [letter.id for letter in found])
    return found[0]


def _print_letter(letter: DeadLetterRow) -> None:
    print_heading(f"dead letter {letter.id}")
    print_line(f"found on {letter.stream} as {letter.entry_id}, put aside {moment(letter.at)} UTC")
    if letter.saga_id is not None:
        of_key = "" if letter.key is None else f", with the key {letter.key}"
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


async def _replay(settings: Settings, numbers: list[int], again: bool) -> list[Replayed]:
    async with open_postgres(settings) as connection:
        found = await dead_letters_with_ids(connection, numbers)
    _refuse_missing(numbers, [letter.id for letter in found])
    before = [str(letter.id) for letter in found if letter.replayed_at is not None]
    if before and not again:
        raise CommandFailed(
            f"replayed already: {', '.join(before)}; nothing was done", "to replay them once more: --again"
        )
    async with open_dead_letters(settings) as box, open_requests(settings) as requests, open_redis(settings) as client:
        return [await _replay_one(box, requests, client, letter.id) for letter in found]


async def _replay_one(box: DeadLetterBox, requests: PostgresRequests, client: RedisClient, number: int) -> Replayed:
    letter = await box.dead_letter(number)
    if letter is None:
        raise _dropped(number)
    pairs = raw_pairs(letter.raw)
    if letter.stream in NO_STREAMS:
        request = await requests.replay(number, _request(number, pairs), now_ms())
        if request is None:
            raise _dropped(number)
        return Replayed(number, letter.stream, str(request))
    entry_id = await client.execute_command("XADD", letter.stream, "*", *(part for pair in pairs for part in pair))
    # Marked after it is done: a crash between the two makes a second copy at worst, and loses nothing.
    await box.mark_replayed([number], now_ms())
    return Replayed(number, letter.stream, entry_id.decode())


def _request(number: int, pairs: list[tuple[bytes, bytes]]) -> dict[str, str]:
    try:
        return {name.decode(): value.decode() for name, value in pairs}
    except UnicodeDecodeError:
        # Somebody has written to the stream of dead letters in the service's name.
        raise CommandFailed(f"dead letter {number} says that it came by SQL, but is not text", "drop it") from None


def _dropped(number: int) -> CommandFailed:
    return CommandFailed(f"dead letter {number} was dropped by another command meanwhile")


async def _drop(settings: Settings, numbers: list[int]) -> list[int]:
    async with open_dead_letters(settings) as box:
        dropped = await box.drop_dead_letters(numbers)
    _refuse_missing(numbers, dropped)
    return dropped


def _refuse_missing(wanted: list[int], there: list[int]) -> None:
    missing = sorted(set(wanted) - set(there))
    if missing:
        raise CommandFailed(
            f"no dead letter has the number {', '.join(map(str, missing))}", "see: saga-service dead-letters list --all"
        )
