"""The servers beside the loops of `run` and `worker`, in the same event loop: their silence tells that it is blocked.

What they cost the loops is bounded, whoever asks: connections are few, and answers are kept for a second.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

import structlog
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from saga_service.base.lifecycle import cancel
from saga_service.http.listener import Address, address_of, listening_on, serve_until
from saga_service.http.process_watch import ProcessWatch, process_watch
from saga_service.http.server_pools import server_pools
from saga_service.http.watched_process import WatchedProcess
from saga_service.settings import Settings

log = structlog.get_logger(__name__)
CONNECTIONS_MAX = 64
"""Whoever comes while as many are open is refused at once, and the loops go on."""
POSTGRES_CONNECTIONS_MAX = 2
"""One for the state, one for readiness: the loops have connections of their own."""
ENDS_WITHIN_S = 1
"""How long a server may take beyond the answers that are under way."""


@asynccontextmanager
async def companion_servers(settings: Settings, process: WatchedProcess, *, with_api: bool) -> AsyncIterator[None]:
    """Serve the probes until the block ends, and the API until the process is told to stop.

    Raises Failure where a port is taken.
    """
    async with AsyncExitStack() as stack:
        servers = await stack.enter_async_context(server_pools(settings, POSTGRES_CONNECTIONS_MAX))
        watch = await stack.enter_async_context(process_watch(servers, process))
        serve = partial(_served, stack)
        if settings.metrics_port is not None:
            address = Address(settings.metrics_host, settings.metrics_port, "SAGA_METRICS_PORT")
            until_the_end = asyncio.Event()
            serve(probe_application(watch), address, until_the_end, 1, connections_max=CONNECTIONS_MAX)
            stack.callback(until_the_end.set)
        if with_api:
            # A process with probes alone needs no framework, which is half a second and 20 MiB.
            from saga_service.http.application import make_application
            from saga_service.http.web_server import api_address, grace_s_of

            application = make_application(settings, process, watch)
            serve(application, api_address(settings), process.stop, grace_s_of(settings))
        yield


def _served(
    stack: AsyncExitStack,
    application: ASGIApp,
    address: Address,
    stop: asyncio.Event,
    grace_s: int,
    *,
    connections_max: int | None = None,
) -> None:
    """Serve an application until `stop` is set; the stack waits for its end."""
    listening = stack.enter_context(listening_on(address))
    serving = asyncio.create_task(serve_until(stop, application, listening, grace_s, connections_max=connections_max))
    serving.add_done_callback(_tell_of_failure)
    stack.push_async_callback(_ended, serving, grace_s)
    log.info("http is served beside the loops", address=address_of(listening), setting=address.setting)


async def _ended(serving: asyncio.Task[None], within_s: int) -> None:
    await asyncio.wait([serving], timeout=within_s + ENDS_WITHIN_S)
    await cancel([serving])


def probe_application(watch: ProcessWatch) -> Starlette:
    """The application of the probes alone. Nothing in it changes anything, or tells whose sagas there are."""

    async def livez(request: Request) -> Response:
        return watch.livez(request)

    return Starlette(routes=[Route("/livez", livez), Route("/readyz", watch.readyz), Route("/metrics", watch.metrics)])


def _tell_of_failure(serving: asyncio.Task[None]) -> None:
    if not serving.cancelled() and (error := serving.exception()) is not None:
        log.error("a server beside the loops has failed; the loops go on", error=str(error), exc_info=error)
