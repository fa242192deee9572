"""What a process tells of itself by HTTP: its probes and its metrics, once for all servers of the process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from saga_service.http.metrics_page import MetricsPage, metrics_page
from saga_service.http.probes import Finding, Probes, checks_of, told
from saga_service.http.server_pools import ServerPools
from saga_service.http.watched_process import WatchedProcess
from saga_service.wire.transport import StreamNames


@dataclass(frozen=True, slots=True)
class ProcessWatch:
    """The answers to `/livez`, `/readyz` and `/metrics`."""

    probes: Probes
    page: MetricsPage

    def livez(self, request: Request, *, with_reasons: bool = True) -> Response:
        """200 while every loop goes on, else 503."""
        return _answer(self.probes.live(), request, with_reasons=with_reasons)

    async def readyz(self, request: Request, *, with_reasons: bool = True) -> Response:
        """200 while the process can do its work, else 503."""
        return _answer(await self.probes.ready(), request, with_reasons=with_reasons)

    async def metrics(self, request: Request) -> Response:
        """The metrics, in the format that the request accepts."""
        content, media_type = await self.page.page(request.headers.get("accept", ""))
        return Response(content, headers={"content-type": media_type})


def _answer(findings: list[Finding], request: Request, *, with_reasons: bool) -> Response:
    is_fine = all(each.problem is None for each in findings)
    text = told(findings, verbose="verbose" in request.query_params, with_reasons=with_reasons)
    return PlainTextResponse(text, status_code=HTTPStatus.OK if is_fine else HTTPStatus.SERVICE_UNAVAILABLE)


@asynccontextmanager
async def process_watch(servers: ServerPools, process: WatchedProcess) -> AsyncIterator[ProcessWatch]:
    """The watch over a process that asks these servers, until the block ends."""
    names = StreamNames(servers.settings.stream_prefix)
    streams = (names.events, names.replies, names.outcomes, names.dead_letters)
    checks = checks_of(servers, needs_postgres=process.needs_postgres)
    probes = Probes((process.service, process.workers), process.standstill_s, process.stop, checks)
    async with metrics_page(process.measurements, servers if process.needs_postgres else None, streams) as page:
        yield ProcessWatch(probes, page)
