"""`doctor`: the problems of a deployment, each a finding with its advice. No check changes anything."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import typer
from asyncpg import Connection, InsufficientPrivilegeError

from saga_service.admin.failure_kinds import Failure
from saga_service.admin.views import ProcessRow, deployed_documents, list_processes
from saga_service.cli.access.effective_settings import read_settings
from saga_service.cli.access.postgres import open_postgres
from saga_service.cli.access.redis import open_redis
from saga_service.cli.checks.clocks import clock_findings, postgres_ahead_ms
from saga_service.cli.checks.findings import Finding, as_far_as_allowed, failed, role_lacks
from saga_service.cli.checks.groups import server_findings, services_being_read, stream_findings
from saga_service.cli.checks.processes import groups_read, process_findings
from saga_service.cli.checks.stored_sagas import key_findings, saga_findings, schema_findings
from saga_service.cli.console.output import AsJson, print_json
from saga_service.cli.console.tables import print_table
from saga_service.cli.exits import ExitCode
from saga_service.cli.invocation import run_to_end
from saga_service.core.state import JsonObject
from saga_service.definitions import readable_saga_spec
from saga_service.settings import Settings
from saga_service.streams.connection import RedisClient
from saga_service.streams.process_registry import ProcessRegistry
from saga_service.telemetry import configure_logging
from saga_service.wire.transport import RightMissing, StreamNames


@dataclass(slots=True)
class _Known:
    """What the checks in one server tell those in the other."""

    has_views: bool = False
    processes: list[ProcessRow] = field(default_factory=list)
    documents: list[JsonObject] = field(default_factory=list)
    read_by_others: set[str] = field(default_factory=set)
    here_ahead_ms: int | None = None
    postgres_ahead_ms: int | None = None

    def services(self) -> set[str]:
        """The services that the deployed definitions need."""
        specs = [spec for document in self.documents if (spec := readable_saga_spec(document)) is not None]
        return {service for spec in specs for service in spec.services()}


def doctor_command(as_json: AsJson = False) -> None:
    settings = read_settings()
    configure_logging(settings.log_format, "error")
    findings = run_to_end(_all_findings(settings))
    if as_json:
        print_json(findings)
    else:
        rows = [(each.check, each.verdict, each.text, each.advice or "") for each in findings]
        print_table(("check", "verdict", "found", "what to do"), rows, texts=("found", "what to do"))
    if any(each.verdict == "problem" for each in findings):
        raise typer.Exit(ExitCode.PROBLEM)


async def _all_findings(settings: Settings) -> list[Finding]:
    return [finding async for finding in _findings(settings)]


async def _findings(settings: Settings) -> AsyncIterator[Finding]:
    known = _Known()
    try:
        async with open_postgres(settings) as connection:
            async for finding in _in_postgres(connection, settings, known):
                yield finding
    except Failure as failure:
        yield failed("postgres", failure)
    try:
        async with open_redis(settings) as client:
            async for finding in _in_redis(client, settings, known):
                yield finding
    except Failure as failure:
        yield failed("redis", failure)
    if known.has_views:
        for finding in process_findings(known.processes, known.documents, known.read_by_others):
            yield finding
    async for finding in clock_findings(known.processes, known.here_ahead_ms, known.postgres_ahead_ms):
        yield finding


async def _in_postgres(connection: Connection, settings: Settings, known: _Known) -> AsyncIterator[Finding]:
    known.postgres_ahead_ms = await postgres_ahead_ms(connection)
    may_read = bool(await connection.fetchval("select to_regclass('saga.processes') is not null"))
    async for finding in schema_findings(connection):
        yield finding
        if finding.check == "schema":
            may_read = may_read and (finding.verdict == "ok" or "may not look" in finding.text)
    if not may_read:
        return
    async for finding in as_far_as_allowed("sagas", saga_findings(connection, settings)):
        yield finding
    async for finding in as_far_as_allowed("keys", key_findings(connection, settings)):
        yield finding
    try:
        known.processes = await list_processes(connection, with_dead=True)
        known.documents = await deployed_documents(connection)
        known.has_views = True
    except InsufficientPrivilegeError as error:
        yield role_lacks("processes", error)


async def _in_redis(client: RedisClient, settings: Settings, known: _Known) -> AsyncIterator[Finding]:
    async for finding in server_findings(client):
        yield finding
    known.here_ahead_ms = await ProcessRegistry(client, StreamNames(settings.stream_prefix)).clock_ahead_ms()
    services = known.services()
    streams = stream_findings(client, settings, services, groups_read(known.processes))
    async for finding in as_far_as_allowed("streams", streams):
        yield finding
    try:
        known.read_by_others = await services_being_read(client, settings, services)
    except RightMissing:
        # Told already. Whoever may not look does not know that nobody is there.
        known.read_by_others = services
