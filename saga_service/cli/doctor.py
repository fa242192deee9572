"""`doctor`: what is wrong with this deployment, and what to do about it."""

from __future__ import annotations

from typing import Annotated

import typer

from saga_service.cli.configuration import read_settings
from saga_service.cli.exits import ExitCode
from saga_service.cli.loop import run_to_end


def doctor_command(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """Look at the servers, the schema, the streams and the sagas; each problem comes with what to do."""
    from saga_service.cli.checks import check_all
    from saga_service.cli.output import print_json, print_table
    from saga_service.telemetry import configure_logging

    settings = read_settings()
    configure_logging(settings.log_format, "error")
    findings = run_to_end(check_all(settings))
    if as_json:
        print_json(findings)
    else:
        rows = [(each.check, each.verdict, each.text, each.advice or "") for each in findings]
        print_table(("check", "verdict", "found", "what to do"), rows)
    if any(each.verdict == "problem" for each in findings):
        raise typer.Exit(ExitCode.PROBLEM)
