"""`list` and `show`: which sagas there are, and the whole story of one."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from saga_service.cli.access.servers import read_settings
from saga_service.cli.console.exits import CommandFailed
from saga_service.cli.event_loop import run_to_end

if TYPE_CHECKING:
    from asyncpg import Connection

    from saga_service.cli.access.views import SagaRow, SagaStory
    from saga_service.core.definition import Definition
    from saga_service.settings import Settings


class Status(StrEnum):
    """As the views say it. Written down once more because reading the core costs time that help has not got."""

    RUNNING = "running"
    COMPENSATING = "compensating"
    PAUSED = "paused"
    COMPLETED = "completed"
    COMPENSATED = "compensated"
    STUCK = "stuck"


AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


def list_command(
    status: Annotated[Status | None, typer.Option(help="Only those with this status.")] = None,
    saga: Annotated[str | None, typer.Option(help="Only those of this definition.")] = None,
    key: Annotated[str | None, typer.Option(help="Only those with this business key.")] = None,
    parent: Annotated[
        str | None, typer.Option(metavar="SAGA_ID|KEY", help="Only the children that this saga has started.")
    ] = None,
    sagas_max: Annotated[int, typer.Option("--limit", min=1, max=100_000, help="How many at most.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List sagas, the newest first."""
    from datetime import UTC, datetime

    from saga_service.cli.console.output import duration, print_json, print_table
    from saga_service.cli.console.timeline import why

    sagas = run_to_end(_list(read_settings(), status, saga, key, parent, sagas_max))
    if as_json:
        print_json(sagas)
    elif not sagas:
        typer.echo("no sagas", err=True)
    else:
        now = datetime.now(UTC)
        rows = [
            (row.id, row.status, row.saga, row.key or "", duration(now - row.created_at), why(row)) for row in sagas
        ]
        print_table(("id", "status", "saga", "key", "age", "why"), rows)


def show_command(
    target: Annotated[str, typer.Argument(metavar="SAGA_ID|KEY", help="The saga's id, or its business key.")],
    saga: Annotated[str | None, typer.Option(help="The saga's definition, for a key that several have.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show one saga: what happened when, what is awaited, what is still to be undone, and what to type next."""
    from datetime import UTC, datetime

    from saga_service.cli.console.output import print_json
    from saga_service.cli.console.timeline import print_story

    story, definition = run_to_end(_show(read_settings(), target, saga))
    if as_json:
        print_json(story)
    else:
        # Where it took the definition to tell which saga is meant, the key alone would not name it in the next command;
        # and one that begins with a dash would be taken for an option there.
        by_target = saga is None and not target.startswith("-")
        print_story(story, definition, datetime.now(UTC), target if by_target else story.saga.id)


async def _list(
    settings: Settings, status: str | None, saga: str | None, key: str | None, parent: str | None, sagas_max: int
) -> list[SagaRow]:
    from saga_service.cli.access.decryption import cipher_of, decrypted_saga
    from saga_service.cli.access.selection import find_saga
    from saga_service.cli.access.servers import open_postgres
    from saga_service.cli.access.views import list_sagas

    async with open_postgres(settings) as connection:
        # Here --saga says which children are meant.
        parent_id = None if parent is None else (await find_saga(connection, parent, by_definition="")).id
        found = await list_sagas(
            connection, status=status, saga=saga, key=key, parent_id=parent_id, sagas_max=sagas_max
        )
    cipher = cipher_of(settings)
    return [decrypted_saga(row, cipher) for row in found]


async def _show(settings: Settings, given: str, named: str | None) -> tuple[SagaStory, Definition | None]:
    from saga_service.cli.access.decryption import cipher_of, decrypted_story
    from saga_service.cli.access.selection import find_saga
    from saga_service.cli.access.servers import open_postgres
    from saga_service.cli.access.views import story_of

    async with open_postgres(settings) as connection:
        found = await find_saga(connection, given, named)
        story = await story_of(connection, found.id)
        if story is None:
            raise CommandFailed(f"the saga {found.id} was removed just now")
        return decrypted_story(story, cipher_of(settings)), await _definition(connection, story.saga)


async def _definition(connection: Connection, saga: SagaRow) -> Definition | None:
    """Only where there is something to say by it, since it takes a while to be able to read it; None as well where it
    cannot be had: whoever is called at night still sees all the rest."""
    if saga.status != "stuck" and saga.deadline_at is None:
        return None
    from saga_service.cli.access.definitions import definition_of
    from saga_service.definitions import UnreadableDocument

    try:
        return await definition_of(connection, saga)
    except UnreadableDocument:
        return None
