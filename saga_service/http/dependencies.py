"""What routes take from the application that they belong to."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from saga_service.http.pooled_servers import PooledServers


def servers_of(request: Request) -> PooledServers:
    servers = request.app.state.servers
    assert isinstance(servers, PooledServers), "the application is started before it answers"
    return servers


ServersOfRequest = Annotated[PooledServers, Depends(servers_of)]
