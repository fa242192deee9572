"""The command line's root: the table of commands.

A command's module is imported when the command is run (see `lazy_group`), so every module imports at its top whatever
it needs, and `--help` stays quick.
"""

from __future__ import annotations

import sys
from io import TextIOWrapper
from typing import Annotated

import typer

from saga_service.cli.exits import EXIT_CODES_HELP
from saga_service.cli.lazy_group import CommandEntry, LazyGroup

TRY = "Try"
RUN = "Run"
SAGAS = "Sagas"
OPERATE = "Operate sagas"
CHECK = "Maintain"

COMMANDS = (
    CommandEntry(
        "demo",
        TRY,
        "demo:demo_command",
        "Watch three sagas on real servers: one completes, one is compensated, one outlives its process.",
        "demo --keep",
    ),
    CommandEntry(
        "dev",
        TRY,
        "dev:dev_command",
        "Run embedded servers, the service and workers on this machine, until Ctrl-C. The data is kept.",
        "dev -d sagas.yaml -w workers:shop",
    ),
    CommandEntry(
        "bench",
        TRY,
        "bench:bench_command",
        "Measure order sagas end to end through one service process and one worker process.",
        "bench --sagas 5000 --json",
    ),
    CommandEntry(
        "check",
        RUN,
        "check:check_command",
        "Check that definitions and workers fit together: those that are named, or without any name those that run.",
        "check -d sagas.yaml -w shop.workers:payment",
    ),
    CommandEntry(
        "run",
        RUN,
        "run:run_command",
        "Run the service until SIGTERM or SIGINT; a second signal ends it at once. Any number may run side by side.",
        "run",
    ),
    CommandEntry(
        "worker",
        RUN,
        "worker:worker_command",
        "Run workers until SIGTERM or SIGINT; a second signal ends it at once. Any number may run side by side.",
        "worker shop.workers:payment",
    ),
    CommandEntry(
        "http",
        RUN,
        "http:http_command",
        "Serve the HTTP API until SIGTERM or SIGINT. Any number may run side by side.",
        "http",
    ),
    CommandEntry(
        "worker-migrate",
        RUN,
        "deployment:worker_migrate_command",
        "Make the inbox's table in each of the workers' own databases. Safe to run by many at once, and to run again.",
        "worker-migrate shop.workers:payment",
    ),
    CommandEntry(
        "migrate",
        RUN,
        "deployment:migrate_command",
        "Bring the database schema up to date. Safe to run by many at once, and to run again.",
        "migrate",
    ),
    CommandEntry(
        "start",
        SAGAS,
        "start:start_command",
        "Start a saga by adding its event. The input is checked by SAGA_DEFINITIONS, or by the registered definition.",
        "start order -f order_id=A-17 -f amount=30 --wait",
        takes_data=True,
    ),
    CommandEntry("list", SAGAS, "list:list_command", "List sagas, the newest first.", "list --status stuck"),
    CommandEntry(
        "show",
        SAGAS,
        "show:show_command",
        "Show one saga: what happened when, what is awaited, what is still to be undone, and what to type next.",
        "show A-17",
    ),
    CommandEntry(
        "signal",
        SAGAS,
        "start:signal_command",
        "Send a saga a signal, by way of Postgres, and wait for the service's answer.",
        "signal approved A-17 -f by=anna --id ticket-99",
        takes_data=True,
    ),
    CommandEntry(
        "plan",
        SAGAS,
        "show:plan_command",
        "Show what cancel, or compensate once a saga has completed, would undo now, in which order. Changes nothing.",
        "plan A-17",
    ),
    CommandEntry(
        "dead-letters",
        SAGAS,
        "dead_letters:commands",
        "Entries that could not be used: list, show, replay, drop.",
    ),
    CommandEntry(
        "jobs",
        SAGAS,
        "jobs:commands",
        "Operations on many sagas or dead letters that the service carries out: list, show, stop.",
    ),
    CommandEntry(
        "retry",
        OPERATE,
        "operate:retry_command",
        "Try again steps and undos that were given up on, or that wait for their next attempt. Attempts count anew.",
        "retry --status stuck --saga order --error-code provider_down --dry-run",
    ),
    CommandEntry(
        "skip",
        OPERATE,
        "operate:skip_command",
        "Go on without a step, or let an effect stand that cannot be undone.",
        "skip A-17 --step notify --reason 'told them by phone'",
    ),
    CommandEntry(
        "resolve",
        OPERATE,
        "operate:resolve_command",
        "Record what became of a step, after looking: it succeeded, it failed, or it is undone.",
        "resolve A-17 --step charge --as succeeded --reason 'seen at the bank'",
    ),
    CommandEntry(
        "cancel",
        OPERATE,
        "operate:cancel_command",
        "Stop sagas, and undo what they have done.",
        "cancel A-17 --reason 'the customer called'",
    ),
    CommandEntry(
        "compensate",
        OPERATE,
        "operate:compensate_command",
        "Undo what sagas have done, those that have completed as well.",
        "compensate A-17 --reason 'sold by mistake'",
    ),
    CommandEntry(
        "pause",
        OPERATE,
        "operate:pause_command",
        "Send nothing more for sagas until they are resumed. What is in flight may still come in.",
        "pause --saga order --reason 'the provider is down'",
    ),
    CommandEntry(
        "resume",
        OPERATE,
        "operate:resume_command",
        "Let paused sagas go on.",
        "resume --saga order --yes --reason 'it is back'",
    ),
    CommandEntry(
        "definitions",
        CHECK,
        "definitions:commands",
        "Saga definitions: check, list, graph.",
    ),
    CommandEntry(
        "archive",
        CHECK,
        "archive:archive_command",
        "Write ended sagas (completed, compensated) with their steps and history to a file.",
        "archive --before 90d --output sagas.jsonl.gz --remove",
    ),
    CommandEntry("keys", CHECK, "keys:commands", "Encryption keys: make, list, rotate."),
    CommandEntry("tokens", CHECK, "tokens:commands", "Access tokens of the HTTP API: make."),
    CommandEntry(
        "settings",
        CHECK,
        "settings:settings_command",
        "Show the settings in force and where each comes from. Passwords are not shown.",
        "settings --json",
    ),
    CommandEntry(
        "processes",
        CHECK,
        "processes:processes_command",
        "List the services and workers that are alive: what each has, since when, and how busy it is.",
        "processes --json",
    ),
    CommandEntry(
        "doctor",
        CHECK,
        "doctor:doctor_command",
        "Look at the servers, the streams, the sagas, and at who is alive; each problem comes with what to do.",
        "doctor",
    ),
    CommandEntry(
        "health",
        CHECK,
        "health:health_command",
        "Check the processes on this machine or in this container, by exit code: does each go on? Asks no server.",
        "health --ready",
    ),
)


class Commands(LazyGroup):
    """The commands of `saga-service`."""

    entries = COMMANDS


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


def _print_version(is_wanted: bool) -> None:
    if is_wanted:
        from importlib.metadata import version

        typer.echo(version("saga-service"))
        raise typer.Exit


@app.callback()
def _root(
    _: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version, and end.")
    ] = False,
) -> None:
    pass


def main() -> None:
    for stream in (sys.stdout, sys.stderr):
        # A terminal of another encoding shows what it has no letter for in escaped form.
        if isinstance(stream, TextIOWrapper):  # and not what a test puts in its place
            stream.reconfigure(errors="backslashreplace")
    app()
