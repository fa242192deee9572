"""The command line's root: which commands there are."""

from __future__ import annotations

from typing import Annotated

import typer

from saga_service.cli.commands import (
    archive,
    bench,
    dead_letters,
    definitions,
    demo,
    dev,
    doctor,
    keys,
    operate,
    plan,
    run,
    settings,
    signal,
    start,
    worker_migrate,
)
from saga_service.cli.commands import list as listing
from saga_service.cli.console.exits import EXIT_CODES_HELP, Commands

app = typer.Typer(
    cls=Commands,
    name="saga-service",
    help=(
        "A saga orchestrator on Redis Streams and Postgres. "
        "Settings come from the environment (SAGA_…), .env and secrets files: saga-service settings"
    ),
    epilog=EXIT_CODES_HELP,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    # A traceback of ours shows no local variables: those hold passwords.
    pretty_exceptions_enable=False,
)


def _tell_version(is_wanted: bool) -> None:
    if is_wanted:
        from importlib.metadata import version

        typer.echo(version("saga-service"))
        raise typer.Exit


@app.callback()
def _root(
    _: Annotated[
        bool, typer.Option("--version", callback=_tell_version, is_eager=True, help="Print the version, and end.")
    ] = False,
) -> None:
    pass


TRY = "Try"
RUN = "Run"
SAGAS = "Sagas"
OPERATE = "Operate sagas"
CHECK = "Look after"

app.command("demo", rich_help_panel=TRY, epilog="Example: saga-service demo --keep")(demo.demo_command)
app.command("dev", rich_help_panel=TRY, epilog="Example: saga-service dev -d sagas.yaml -w workers:shop")(
    dev.dev_command
)
app.command("bench", rich_help_panel=TRY, epilog="Example: saga-service bench --sagas 5000 --json")(bench.bench_command)

app.command("run", rich_help_panel=RUN, epilog="Example: SAGA_DEFINITIONS=sagas/ saga-service run")(run.run_command)
app.command("worker", rich_help_panel=RUN, epilog="Example: saga-service worker shop.workers:payment")(
    run.worker_command
)
app.command(
    "worker-migrate",
    rich_help_panel=RUN,
    epilog="Example: saga-service worker-migrate shop.workers:payment",
)(worker_migrate.worker_migrate_command)
app.command("migrate", rich_help_panel=RUN, epilog="Example: saga-service migrate")(run.migrate_command)

app.command(
    "start", rich_help_panel=SAGAS, epilog="Example: saga-service start order -f order_id=A-17 -f amount=30 --wait"
)(start.start_command)
app.command("list", rich_help_panel=SAGAS, epilog="Example: saga-service list --status stuck")(listing.list_command)
app.command("show", rich_help_panel=SAGAS, epilog="Example: saga-service show A-17")(listing.show_command)
app.command(
    "signal", rich_help_panel=SAGAS, epilog="Example: saga-service signal approved A-17 -f by=anna --id ticket-99"
)(signal.signal_command)
app.command("plan", rich_help_panel=SAGAS, epilog="Example: saga-service plan A-17")(plan.plan_command)
app.add_typer(dead_letters.commands, name="dead-letters", rich_help_panel=SAGAS)

for name, command, help_text, example in operate.COMMANDS:
    app.command(name, rich_help_panel=OPERATE, help=help_text, epilog=f"Example: saga-service {example}")(command)

app.add_typer(definitions.commands, name="definitions", rich_help_panel=CHECK)
app.command(
    "archive",
    rich_help_panel=CHECK,
    epilog="Example: saga-service archive --before 90d --output sagas.jsonl.gz --remove",
)(archive.archive_command)
app.add_typer(keys.commands, name="keys", rich_help_panel=CHECK)
app.command("settings", rich_help_panel=CHECK, epilog="Example: saga-service settings --json")(
    settings.settings_command
)
app.command("doctor", rich_help_panel=CHECK, epilog="Example: saga-service doctor")(doctor.doctor_command)
app.command("health", rich_help_panel=CHECK, epilog="Example: saga-service health")(run.health_command)


def main() -> None:
    app()
