"""`plan`: what a saga would undo if it were cancelled now."""

from __future__ import annotations

from dataclasses import asdict

from saga_service.cli.access.decryption import cipher_of
from saga_service.cli.access.definitions import definition_of
from saga_service.cli.access.lookup import find_saga, story_and_state
from saga_service.cli.access.postgres import open_postgres
from saga_service.cli.access.settings import read_settings
from saga_service.cli.access.views import SagaRow
from saga_service.cli.console.options import AsJson, Definition, Target
from saga_service.cli.console.output import harmless, print_heading, print_json, print_line, print_table
from saga_service.cli.event_loop import run_to_end
from saga_service.cli.exits import CommandFailed
from saga_service.core.undo_plan import Plan, plan
from saga_service.definitions import UnreadableDocument
from saga_service.settings import Settings


def plan_command(target: Target, saga: Definition = None, as_json: AsJson = False) -> None:
    found, planned = run_to_end(_plan(read_settings(), target, saga))
    if as_json:
        named = {"saga_id": found.id, "saga": found.saga, "key": found.key, "status": found.status}
        print_json(named | asdict(planned))
    else:
        _print_plan(found, planned)


async def _plan(settings: Settings, target: str, saga: str | None) -> tuple[SagaRow, Plan]:
    async with open_postgres(settings) as connection:
        found = await find_saga(connection, target, saga)
        shown = await story_and_state(connection, found.id, cipher_of(settings))
        try:
            definition = await definition_of(connection, found)
        except UnreadableDocument as error:
            raise CommandFailed(str(error)) from None
    if definition is None:
        raise CommandFailed(f"version {found.version} of the definition of saga '{found.saga}' is not registered")
    if shown is None:
        raise CommandFailed(f"the saga {found.id} was removed just now")
    story, state = shown
    if state is None:
        raise CommandFailed(
            "a later version of the service has stored this saga", "use the command line of that version"
        )
    return story.saga, plan(definition, state)


def _print_plan(saga: SagaRow, plan: Plan) -> None:
    print_heading(harmless(f"{saga.saga} {saga.id}: {saga.status}"))
    if plan.stays_because is not None:
        print_line(f"it cannot be undone: {plan.stays_because}")
    for steps, sentence in (
        (plan.awaited, "in flight, and awaited before anything is undone: {}"),
        (plan.unknown, "nobody knows whether these have happened: {}"),
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
    elif plan.stays_because is None:
        print_line("nothing is to be undone" + (", unless what is in flight succeeds" if plan.awaited else ""))
