"""`plan`: what would be undone if a saga turned round now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from saga_service.cli.access.servers import read_settings
from saga_service.cli.console.exits import CommandFailed
from saga_service.cli.event_loop import run_to_end

if TYPE_CHECKING:
    from saga_service.cli.access.views import SagaRow
    from saga_service.core.undo_plan import Plan
    from saga_service.settings import Settings


def plan_command(
    target: Annotated[str, typer.Argument(metavar="SAGA_ID|KEY", help="The saga's id, or its business key.")],
    saga: Annotated[str | None, typer.Option(help="The saga's definition, for a key that several have.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """Show what a saga would undo if it were cancelled now, in which order, and what nobody knows. Changes nothing."""
    from dataclasses import asdict

    from saga_service.cli.console.output import print_json

    found, plan = run_to_end(_plan(read_settings(), target, saga))
    if as_json:
        print_json({"saga_id": found.id, "saga": found.saga, "key": found.key, "status": found.status, **asdict(plan)})
    else:
        print_plan(found, plan)


async def _plan(settings: Settings, target: str, definition_name: str | None) -> tuple[SagaRow, Plan]:
    from saga_service.cli.access.definitions import definition_of
    from saga_service.cli.access.selection import find_saga
    from saga_service.cli.access.servers import open_postgres
    from saga_service.cli.access.views import story_of
    from saga_service.cli.console.advice import state_of
    from saga_service.core.undo_plan import plan
    from saga_service.definitions import UnreadableDocument

    async with open_postgres(settings) as connection:
        found = await find_saga(connection, target, definition_name)
        story = await story_of(connection, found.id)
        try:
            definition = await definition_of(connection, found)
        except UnreadableDocument as error:
            raise CommandFailed(str(error)) from None
    if definition is None:
        raise CommandFailed(f"version {found.version} of the definition of saga '{found.saga}' is not on record")
    if story is None:
        raise CommandFailed(f"the saga {found.id} was removed just now")
    return story.saga, plan(definition, state_of(story.saga, story.steps))


def print_plan(saga: SagaRow, plan: Plan) -> None:
    """What would be undone, for people."""
    from saga_service.cli.console.output import harmless, print_heading, print_line, print_table

    print_heading(harmless(f"{saga.saga} {saga.id}: {saga.status}"))
    if plan.stays_because is not None:
        print_line(f"it cannot be undone: {plan.stays_because}")
    for steps, said in (
        (plan.awaited, "in flight, and awaited before anything is undone: {}"),
        (plan.unknown, "nobody knows whether these have happened: {}"),
        (plan.lasting, "done, or maybe done, and nothing takes it back: {}"),
    ):
        if steps:
            print_line(said.format(", ".join(steps)))
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
    elif plan.stays_because is None:
        print_line("nothing is to be undone" + (", unless what is in flight succeeds" if plan.awaited else ""))
