"""The deployment by HTTP: its definitions, the processes that are alive, and its streams."""

from __future__ import annotations

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
from saga_service.http.pooled_servers import ServersOfRequest
from saga_service.streams.server import GroupFacts, groups_of, keys_beginning_with
from saga_service.wire.transport import StreamNames

router = APIRouter(tags=["deployment"], route_class=ApiRoute)


class Definitions(BaseModel):
    """All registered versions of all definitions."""

    items: list[DefinitionRow]


class Processes(BaseModel):
    """The services and workers that are known."""

    items: list[ProcessRow]


class StreamFacts(BaseModel):
    """One stream of the deployment."""

    stream: str
    length: int
    groups: list[GroupFacts]


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
    async with servers.redis() as client:
        commands = await keys_beginning_with(client, names.commands(""))
        streams = [names.events, names.replies, names.outcomes, names.dead_letters, *sorted(commands)]
        return Streams(
            items=[
                StreamFacts(
                    stream=stream,
                    length=await client.execute_command("XLEN", stream),
                    groups=await groups_of(client, stream),
                )
                for stream in streams
            ]
        )
