"""The deployment by HTTP: its definitions, the processes that are alive, and its streams."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel

from saga_service.admin.failure_kinds import Failure, FailureKind
from saga_service.admin.views import (
    DefinitionRow,
    ProcessRow,
    list_processes,
    registered_definition,
    registered_definitions,
)
from saga_service.http.access.callers import Viewer
from saga_service.http.api_route import ApiRoute
from saga_service.http.pooled_servers import PooledServers, ServersOfRequest
from saga_service.streams.backlog import GroupBacklog, backlog_of
from saga_service.streams.server import keys_beginning_with
from saga_service.wire.transport import StreamNames

router = APIRouter(tags=["deployment"], route_class=ApiRoute)


class Definitions(BaseModel):
    """All registered versions of all definitions."""

    items: list[DefinitionRow]


class Processes(BaseModel):
    """The services and workers that are known."""

    items: list[ProcessRow]


@dataclass(frozen=True, slots=True)
class StreamFacts:
    """One stream of the deployment, or of others that it reads."""

    stream: str
    length: int | None
    """Its entries; null where there is no such stream, or where it cannot be looked at."""
    groups: list[GroupBacklog]


class Streams(BaseModel):
    """The streams of the deployment, and how far each group has read."""

    items: list[StreamFacts]


@router.get("/definitions", summary="List the registered versions of all definitions")
async def list_definitions(caller: Viewer, servers: ServersOfRequest) -> Definitions:
    async with servers.postgres() as connection:
        return Definitions(items=await registered_definitions(connection))


@router.get("/definitions/{saga}/{version}", summary="One version of a definition")
async def get_definition(
    caller: Viewer,
    servers: ServersOfRequest,
    saga: Annotated[str, Path(max_length=200, description="The name of the definition.")],
    version: Annotated[str, Path(max_length=200, description="As `version` of a saga has it.")],
) -> DefinitionRow:
    async with servers.postgres() as connection:
        found = await registered_definition(connection, saga, version)
    if found is None:
        raise Failure(
            f"no version '{version}' of '{saga}' is registered", "see: /v1/definitions", kind=FailureKind.NOT_FOUND
        )
    return found


@router.get("/processes", summary="List the services and workers that are alive")
async def list_alive(
    caller: Viewer,
    servers: ServersOfRequest,
    with_dead: Annotated[bool, Query(description="With those that have ended within a day.")] = False,
) -> Processes:
    async with servers.postgres() as connection:
        return Processes(items=await list_processes(connection, with_dead=with_dead))


@router.get("/streams", summary="List the streams, with the lag of each group")
async def list_streams(caller: Viewer, servers: ServersOfRequest) -> Streams:
    names = StreamNames(servers.settings.stream_prefix)
    read = await _read_streams(servers)
    async with servers.redis() as client:
        commands = await keys_beginning_with(client, names.commands(""))
        own = [names.events, names.replies, names.outcomes, names.dead_letters, *sorted(commands)]
        streams = [*own, *sorted(read.difference(own))]
        backlog = await backlog_of(client, streams)
    groups: dict[str, list[GroupBacklog]] = {}
    for group in backlog.groups:
        groups.setdefault(group.stream, []).append(group)
    return Streams(items=[StreamFacts(each, backlog.entries.get(each), groups.get(each, [])) for each in streams])


async def _read_streams(servers: PooledServers) -> set[str]:
    """The streams that processes read, those of others among them; none while Postgres is away."""
    try:
        async with servers.postgres() as connection:
            alive = await list_processes(connection, with_dead=False)
    except Failure:
        return set()
    return {read["stream"] for process in alive for read in process.reads}
