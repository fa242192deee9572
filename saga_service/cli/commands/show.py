"""`show`: the whole story of one saga."""

from __future__ import annotations

from datetime import UTC, datetime

from asyncpg import Connection

from saga_service.cli.access.decryption import cipher_of, decrypted_story
from saga_service.cli.access.definitions import definition_of
from saga_service.cli.access.lookup import find_saga, story_and_state
from saga_service.cli.access.postgres import open_postgres
from saga_service.cli.access.settings import read_settings
from saga_service.cli.access.views import SagaRow, SagaStory
from saga_service.cli.console.options import AsJson, Definition, Target
from saga_service.cli.console.output import print_json
from saga_service.cli.console.story import print_story
from saga_service.cli.event_loop import run_to_end
from saga_service.cli.exits import CommandFailed
from saga_service.core import definition as core
from saga_service.core.state import SagaState
from saga_service.definitions import UnreadableDocument
from saga_service.settings import Settings


def show_command(target: Target, saga: Definition = None, as_json: AsJson = False) -> None:
    story, state, definition = run_to_end(_show(read_settings(), target, saga))
    if as_json:
        print_json(story)
    else:
        # A key that needs its definition beside it would not name the saga in the next command, and a key that begins
        # with a dash would be taken for an option there.
        by_target = saga is None and not target.startswith("-")
        print_story(story, state, definition, datetime.now(UTC), target if by_target else story.saga.id)


async def _show(
    settings: Settings, target: str, saga: str | None
) -> tuple[SagaStory, SagaState | None, core.Definition | None]:
    cipher = cipher_of(settings)
    async with open_postgres(settings) as connection:
        found = await find_saga(connection, target, saga)
        shown = await story_and_state(connection, found.id, cipher)
        if shown is None:
            raise CommandFailed(f"the saga {found.id} was removed just now")
        story, state = shown
        return decrypted_story(story, cipher), state, await _definition(connection, story.saga)


async def _definition(connection: Connection, saga: SagaRow) -> core.Definition | None:
    """The saga's definition where the story needs it. None as well where it cannot be read: the rest is still shown."""
    if saga.status != "stuck" and saga.deadline_at is None:
        return None
    try:
        return await definition_of(connection, saga)
    except UnreadableDocument:
        return None
