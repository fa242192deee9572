"""The handlers of workers that are alive, as those tell them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence

from saga_service.admin.views import ProcessRow
from saga_service.base.similar_names import closest
from saga_service.core.ids import service_of
from saga_service.wire.worker_description import (
    UnreadableDescription,
    WorkerDescription,
    worker_description_from_json,
)


def descriptions_of(row: ProcessRow) -> tuple[list[WorkerDescription], list[str]]:
    """The services that a process carries out commands of, and a line for each that this release cannot read.

    A worker in another language may name its service alone, without handlers.
    """
    found: list[WorkerDescription] = []
    unread: list[str] = []
    for written in row.services:
        try:
            found.append(worker_description_from_json({"handlers": [], **written}))
        except UnreadableDescription as error:
            unread.append(f"{row.kind} '{row.name}': {error}")
    return found, unread


def services_of(rows: Sequence[ProcessRow]) -> dict[str, list[WorkerDescription]]:
    """The descriptions that workers which are alive give of each of their services, by service."""
    found = defaultdict(list)
    for row in rows:
        if row.kind == "worker" and row.status == "alive":
            # A stranger's report may say too little; that it is alive is known all the same.
            described, _ = descriptions_of(row)
            for description in described:
                found[description.service].append(description)
    return dict(found)


def lacking_workers(rows: Sequence[ProcessRow], commands: Iterable[str]) -> dict[str, str]:
    """A remark on each of these commands that no worker known to be alive carries out.

    Only services know of workers, so without one that is alive there are none.
    """
    if not any(row.kind == "service" and row.status == "alive" for row in rows):
        return {}
    described = services_of(rows)
    remarks: dict[str, str] = {}
    for command in commands:
        workers = described.get(service_of(command), [])
        types = {handler.type for worker in workers for handler in worker.handlers}
        # A worker that names its services alone may carry out anything of them.
        if command not in types and all(worker.handlers for worker in workers):
            near = closest(command, sorted(types))
            remarks[command] = f"no worker that is known to be alive carries out {command}{near}"
    return remarks


def services_named_alone(workers: Collection[WorkerDescription]) -> list[str]:
    """The services of which no worker has named a handler: nothing more is known than that somebody is there."""
    with_handlers = {worker.service for worker in workers if worker.handlers}
    return list(dict.fromkeys(worker.service for worker in workers if worker.service not in with_handlers))
