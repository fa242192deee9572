"""The deployment in force: the definitions that services run, and the handlers of workers that are alive."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from saga_service.admin.failure_kinds import Failure
from saga_service.admin.server_access import Servers
from saga_service.admin.text import quoted
from saga_service.admin.views import (
    ProcessRow,
    definitions_of_open_sagas,
    deployed_documents,
    list_processes,
)
from saga_service.admin.worker_handlers import descriptions_of
from saga_service.base.similar_names import closest_or_all
from saga_service.definitions import DefinedSaga, readable_saga_spec
from saga_service.wire.worker_description import WorkerDescription


class InForce(NamedTuple):
    """The sagas and the workers of a deployment, and a line for each that this release cannot read."""

    specs: list[DefinedSaga]
    workers: list[WorkerDescription]
    unread: list[str]


async def what_is_in_force(servers: Servers) -> InForce:
    """Read the deployed version of every definition, the versions that open sagas go by, and all workers alive.

    Raises Failure where Postgres cannot be used, or nothing has ever been deployed.
    """
    async with servers.postgres() as connection:
        deployed = await deployed_documents(connection)
        of_open = await definitions_of_open_sagas(connection)
        processes = await list_processes(connection)
    if not deployed:
        raise Failure(
            "no service has registered a definition in Postgres",
            "start one, or name definitions and workers: saga-service check -d SOURCE -w MODULE:WORKER",
        )
    places = {(document["saga"], document["version"]): (document, "deployed") for document in deployed}
    for row in of_open:
        older = f"version {row.version}, by which sagas are open"
        places.setdefault((row.saga, row.version), (row.document, older))
    unread: list[str] = []
    specs: list[DefinedSaga] = []
    for (saga, version), (document, place) in places.items():
        spec = readable_saga_spec(document)
        if spec is None:
            unread.append(f"version {version} of '{saga}' is of a release that this one cannot read")
        else:
            specs.append(replace(spec, place=place))
    workers: list[WorkerDescription] = []
    for process in processes:
        if process.kind == "worker":
            described, not_described = descriptions_of(process)
            workers += described
            unread += not_described
    return InForce(specs, workers, unread)


def not_deployed(rows: Sequence[ProcessRow], saga: str) -> str | None:
    """A remark where no service that is alive has the saga; None where one has it, or where nothing is known of any.

    `rows` are those of a day, with the services that have ended.
    """
    services = [row for row in rows if row.kind == "service"]
    alive = [row for row in services if row.status == "alive"]
    if not services or any(saga in row.definitions for row in alive):
        return None
    if not alive:
        return "no service is alive that could start it; start one: saga-service run"
    names = sorted({name for row in alive for name in row.definitions})
    return f"no service that is alive has the saga {quoted(saga)}{closest_or_all(saga, names)}"
