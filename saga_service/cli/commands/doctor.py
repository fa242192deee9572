"""`doctor`: the problems of this deployment, and what to do about each."""

from __future__ import annotations

from collections.abc import AsyncIterator

import typer

from saga_service.cli.access.postgres import open_postgres
from saga_service.cli.access.redis import open_redis
from saga_service.cli.access.settings import read_settings
from saga_service.cli.checks import Finding, failed
from saga_service.cli.checks.postgres import postgres_findings
from saga_service.cli.checks.streams import redis_findings
from saga_service.cli.console.options import AsJson
from saga_service.cli.console.output import print_json, print_table
from saga_service.cli.event_loop import run_to_end
from saga_service.cli.exits import CommandFailed, ExitCode
from saga_service.settings import Settings
from saga_service.telemetry import configure_logging


def doctor_command(as_json: AsJson = False) -> None:
    settings = read_settings()
    configure_logging(settings.log_format, "error")
    findings = run_to_end(_all_findings(settings))
    if as_json:
        print_json(findings)
    else:
        rows = [(each.check, each.verdict, each.text, each.advice or "") for each in findings]
        print_table(("check", "verdict", "found", "what to do"), rows)
    if any(each.verdict == "problem" for each in findings):
        raise typer.Exit(ExitCode.PROBLEM)


async def _all_findings(settings: Settings) -> list[Finding]:
    return [finding async for finding in _findings(settings)]


async def _findings(settings: Settings) -> AsyncIterator[Finding]:
    try:
        async with open_postgres(settings) as connection:
            async for finding in postgres_findings(connection, settings):
                yield finding
    except CommandFailed as failure:
        yield failed("postgres", failure)
    try:
        async with open_redis(settings) as client:
            async for finding in redis_findings(client, settings):
                yield finding
    except CommandFailed as failure:
        yield failed("redis", failure)
