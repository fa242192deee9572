"""The HTTP server: the application on a port, until it is told to stop."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import structlog
import uvicorn

from saga_service.admin.failure_kinds import Failure, FailureKind
from saga_service.http.access.loopback_guard import is_loopback
from saga_service.http.application import make_application
from saga_service.settings import Settings

log = structlog.get_logger(__name__)

CONNECTIONS_WAITING_MAX = 256


class _Server(uvicorn.Server):
    """Uvicorn's server. Signals are the caller's."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve(settings: Settings, stop: asyncio.Event) -> None:
    """Serve until `stop` is set, and then until the answers that are under way have gone out, a few seconds at most.

    Raises Failure where the port cannot be had, or the host is not loopback and nobody needs rights.
    """
    if not settings.has_rights and not is_loopback(settings.http_host):
        raise Failure(
            f"SAGA_HTTP_HOST is {settings.http_host}, and whoever reaches that could steer every saga",
            "set SAGA_HTTP_TOKENS or SAGA_HTTP_TOKENS_FILE (saga-service tokens make), or leave it at 127.0.0.1",
            kind=FailureKind.INVALID,
        )
    listening = _listening(settings)
    server = _Server(
        uvicorn.Config(
            make_application(settings),
            log_config=None,
            access_log=False,
            server_header=False,
            backlog=CONNECTIONS_WAITING_MAX,
            timeout_graceful_shutdown=max(1, settings.shutdown_grace_ms // 1000),
        )
    )
    host, port = listening.getsockname()[:2]
    with listening:
        serving = asyncio.create_task(server.serve([listening]))
        log.info("http api started", address=f"http://{host}:{port}{settings.http_root_path}")
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait([serving, stopping], return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        server.should_exit = True
        await serving
    log.info("http api has stopped")


def _listening(settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.http_host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((settings.http_host, settings.http_port))
        # Whoever reads the address in the log and asks at once waits for the answer, and is not refused.
        listening.listen(CONNECTIONS_WAITING_MAX)
    except OSError as error:
        listening.close()
        raise Failure(
            f"port {settings.http_port} of {settings.http_host} cannot be had: {error.strerror}",
            "set SAGA_HTTP_PORT to another one, or to 0 for any that is free",
            kind=FailureKind.INVALID,
        ) from None
    return listening
