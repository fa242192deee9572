"""`health`: whether the service or the workers on this machine go on, as an exit code for containers.

Liveness asks no server, for an outage must not restart every container. Nothing but the standard library is imported
for it, because containers ask every few seconds.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from saga_service.admin.failure_kinds import Failure
from saga_service.base.health_report import ProcessHealth, health_directory, read_health_reports

if TYPE_CHECKING:
    from saga_service.settings import Settings

DIRECTORY_VARIABLE = "SAGA_HEALTH_DIR"
SECRETS_DIRECTORY_VARIABLE, SECRETS_DIRECTORY_DEFAULT = "SAGA_SECRETS_DIR", "/run/secrets"


def health_command(
    name: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Only this one of several: a kind (service, worker, http), a worker's service, or a consumer's name.",
        ),
    ] = None,
    ready: Annotated[
        bool, typer.Option("--ready", help="Ask the servers too: can the processes do their work now?")
    ] = False,
) -> None:
    directory = _directory()
    processes = _chosen(read_health_reports(directory), name, directory)
    faults = [fault for process in processes for fault in _faults(process, time.monotonic(), ready)]
    if faults:
        raise Failure("\n".join(faults))
    if ready:
        _check_servers(processes)
    for process in processes:
        typer.echo(f"ok: {_in_words(process)}")


def _check_servers(processes: Sequence[ProcessHealth]) -> None:
    # Imported here: settings and clients of servers cost more than all of the above.
    from saga_service.cli.access.effective_settings import read_settings
    from saga_service.cli.invocation import run_to_end

    # Workers need no Postgres of the service.
    needs_postgres = any(process.kind != "worker" for process in processes)
    run_to_end(_ask_servers(read_settings(), needs_postgres=needs_postgres))


async def _ask_servers(settings: Settings, *, needs_postgres: bool) -> None:
    """Ask Redis, and Postgres where it is needed. Raises Failure where one cannot be used now."""
    from saga_service.admin.readiness import check_postgres, check_redis
    from saga_service.cli.access.redis import CommandServers

    servers = CommandServers(settings)
    await check_redis(servers)
    if needs_postgres:
        await check_postgres(servers)


def _directory() -> Path:
    given = next((value for name, value in os.environ.items() if name.upper() == DIRECTORY_VARIABLE), None)
    if not given and _may_be_set_elsewhere():
        # Imported here: it reads more than all else that is done.
        from saga_service.cli.access.effective_settings import read_settings

        given = read_settings().health_dir
    return health_directory(given)


def _may_be_set_elsewhere() -> bool:
    secrets = Path(os.environ.get(SECRETS_DIRECTORY_VARIABLE) or SECRETS_DIRECTORY_DEFAULT)
    return Path(".env").is_file() or (secrets / DIRECTORY_VARIABLE.lower()).is_file()


def _chosen(found: Sequence[ProcessHealth], name: str | None, directory: Path) -> list[ProcessHealth]:
    """The processes that are meant. Raises Failure where there are none."""
    chosen = [each for each in found if name is None or name in (each.kind, each.name, *each.services)]
    if chosen:
        return chosen
    if found:
        others = ", ".join(map(_in_words, found))
        raise Failure(f"no process '{name}' is running here, but: {others}", "give another --name, or none")
    raise Failure(
        f"no service and no worker is running here: nothing in {directory}",
        "start one (saga-service run, saga-service worker), as this user and with this SAGA_HEALTH_DIR; "
        "for the whole deployment: saga-service doctor",
    )


def _faults(process: ProcessHealth, now_s: float, ready: bool) -> Iterator[str]:
    for what, for_s in process.standing_still(now_s):
        yield f"{what} of {_in_words(process)} has stood still for {for_s:.0f} s"
    if ready and process.not_ready is not None:
        yield f"{_in_words(process)} is not ready: {process.not_ready}"


def _in_words(process: ProcessHealth) -> str:
    services = f" of {', '.join(process.services)}" if process.services else ""
    return f"{process.kind}{services} {process.name} (pid {process.pid})"
