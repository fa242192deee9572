"""`show` and `plan`: the whole story of one saga, and what it would undo if it were undone from now on."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import NamedTuple

from asyncpg import Connection

from saga_service.admin.encryption import cipher_of, decrypted_story
from saga_service.admin.lookup import removed_just_now, story_and_state
from saga_service.admin.text import harmless
from saga_service.admin.views import SagaRow, SagaStory, deployed_document, list_processes
from saga_service.admin.worker_handlers import lacking_workers
from saga_service.cli.access.effective_settings import read_settings
from saga_service.cli.access.postgres import open_postgres
from saga_service.cli.access.selection import find_saga
from saga_service.cli.console.advice import REASON_TO_WRITE
from saga_service.cli.console.output import (
    AsJson,
    Definition,
    Target,
    print_heading,
    print_json,
    print_line,
)
from saga_service.cli.console.tables import print_table
from saga_service.cli.console.timeline import awaited_command, print_story
from saga_service.cli.invocation import run_to_end
from saga_service.core import definition as core
from saga_service.core.state import SagaState
from saga_service.core.undo_plan import Plan
from saga_service.settings import Settings


class _Shown(NamedTuple):
    story: SagaStory
    state: SagaState | None
    definition: core.Definition | None
    lacking: Mapping[str, str]
    outdated: Collection[str]


def show_command(target: Target, saga: Definition = None, as_json: AsJson = False) -> None:
    story, state, definition, lacking, outdated = run_to_end(_show(read_settings(), target, saga))
    if as_json:
        print_json(story)
    else:
        # A key that needs its definition beside it would not name the saga in the next command, and a key that begins
        # with a dash would be taken for an option there.
        by_target = saga is None and not target.startswith("-")
        address = target if by_target else story.saga.id
        print_story(story, state, definition, datetime.now(UTC), address, lacking, outdated)


async def _show(settings: Settings, target: str, saga: str | None) -> _Shown:
    cipher = cipher_of(settings)
    async with open_postgres(settings) as connection:
        found = await find_saga(connection, target, saga, deferral_max_ms=settings.deferral_max_ms)
        shown = await story_and_state(connection, found.id, cipher)
        if shown is None:
            raise removed_just_now(found.id)
        story, state = shown
        lacking = await _lacking(connection, story)
        outdated = await _outdated(connection, story.saga, lacking)
        definition = await _definition(connection, story.saga, is_needed=bool(outdated))
        return _Shown(decrypted_story(story, cipher), state, definition, lacking, outdated)


async def _lacking(connection: Connection, story: SagaStory) -> Mapping[str, str]:
    """A remark on each awaited command that no worker carries out."""
    commands = {command for step in story.steps if (command := awaited_command(step)) is not None}
    return lacking_workers(await list_processes(connection), commands) if commands else {}


async def _outdated(connection: Connection, saga: SagaRow, lacking: Collection[str]) -> Collection[str]:
    """The lacking commands that the deployed version of the saga does not send any more."""
    if not lacking:
        return ()
    from saga_service.definitions import readable_saga_spec  # slow to import

    document = await deployed_document(connection, saga.saga)
    deployed = None if document is None else readable_saga_spec(document)
    if deployed is None or deployed.definition.version == saga.version:
        return ()
    sent = {command for step in deployed.definition.steps for command in (step.action, step.compensation)}
    return [command for command in lacking if command not in sent]


async def _definition(connection: Connection, saga: SagaRow, *, is_needed: bool) -> core.Definition | None:
    """The saga's definition where the story needs it. None as well where it cannot be read: the rest is still shown."""
    if not is_needed and saga.status != "stuck" and saga.deadline_at is None:
        return None
    from saga_service.admin.definitions import definition_of  # slow to import
    from saga_service.definitions import UnreadableDocument

    try:
        return await definition_of(connection, saga)
    except UnreadableDocument:
        return None


def plan_command(target: Target, saga: Definition = None, as_json: AsJson = False) -> None:
    found, planned = run_to_end(_plan(read_settings(), target, saga))
    if as_json:
        named = {"saga_id": found.id, "saga": found.saga, "key": found.key, "status": found.status}
        print_json(named | asdict(planned))
    else:
        _print_plan(found, planned)


async def _plan(settings: Settings, target: str, saga: str | None) -> tuple[SagaRow, Plan]:
    # Imported here: `show` needs definitions seldom, and they are slow to import.
    from saga_service.admin.definitions import plan_of

    async with open_postgres(settings) as connection:
        found = await find_saga(connection, target, saga)
        return await plan_of(connection, found, cipher_of(settings))


def _print_plan(saga: SagaRow, plan: Plan) -> None:
    print_heading(harmless(f"{saga.saga} {saga.id}: {saga.status}"))
    if saga.status == "completed":
        print_line("it is completed, so that cancel is refused")
    if plan.stays_because is not None:
        print_line(f"it cannot be undone: {plan.stays_because}")
    for steps, sentence in (
        (plan.awaited, "in flight, and awaited before anything is undone: {}"),
        (plan.unknown, "it is not known whether these have happened: {}"),
        (plan.lasting, "done, or maybe done, and nothing takes it back: {}"),
    ):
        if steps:
            print_line(sentence.format(", ".join(steps)))
    if plan.waves:
        print_line()
        print_table(
            ("order", "step", "undone by", "its effect"),
            [
                (str(order), undo.step, undo.command, "stands" if undo.is_certain else "may stand")
                for order, wave in enumerate(plan.waves, start=1)
                for undo in wave
            ],
        )
        if saga.status == "completed":
            print_line()
            print_line(f"to undo this: saga-service compensate {saga.id} {REASON_TO_WRITE}")
    elif plan.stays_because is None:
        print_line("nothing is to be undone" + (", unless what is in flight succeeds" if plan.awaited else ""))
