"""An ASGI application on a port, until it is told to stop."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

import uvicorn
from starlette.types import ASGIApp

from saga_service.admin.failure_kinds import Failure, FailureKind
from saga_service.http.http_connection import HttpConnection

CONNECTIONS_WAITING_MAX = 2_048
"""Connections that wait to be accepted: all viewers of a process that has died may come at once."""
UNACKNOWLEDGED_MS_MAX = 60_000
"""How long the network may take to acknowledge what was sent. It finds a peer whose machine has gone away."""

DATE_KEPT_S = 1.0
"""How long the headers have the same time, which is written to the second."""


class Address(NamedTuple):
    """An address to listen on, and the setting that its port comes from."""

    host: str
    port: int
    setting: str


class _Server(uvicorn.Server):
    """Uvicorn's server until `stop` is set. Signals are the caller's."""

    def __init__(self, config: uvicorn.Config, stop: asyncio.Event) -> None:
        super().__init__(config)
        self._stop = stop

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def main_loop(self) -> None:
        # Uvicorn looks ten times a second whether it is to stop. A process that is idle otherwise would feel it.
        while not (self._stop.is_set() or await self.on_tick(0)):
            with suppress(TimeoutError):
                async with asyncio.timeout(DATE_KEPT_S):
                    await self._stop.wait()


async def serve_until(
    stop: asyncio.Event,
    application: ASGIApp,
    listening: socket.socket,
    grace_s: int,
    *,
    connections_max: int | None = None,
) -> None:
    """Serve until `stop` is set, and then until the answers that are under way have gone out, `grace_s` at most."""
    config = uvicorn.Config(
        application,
        http=HttpConnection,
        log_config=None,
        # That it starts and stops is told in our own words.
        log_level="warning",
        access_log=False,
        server_header=False,
        # The application knows whose headers are to be believed.
        proxy_headers=False,
        backlog=CONNECTIONS_WAITING_MAX,
        limit_concurrency=connections_max,
        timeout_graceful_shutdown=grace_s,
    )
    await _Server(config, stop).serve([listening])


def _notice_dead_peers(listening: socket.socket) -> None:
    # The accepted connections have these from the one that listens.
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNACKNOWLEDGED_MS_MAX)


def address_of(listening: socket.socket) -> str:
    """The address as a URL, with the port that was had."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


@contextmanager
def listening_on(address: Address) -> Iterator[socket.socket]:
    """A socket that listens until the block ends. Raises Failure where the port cannot be had."""
    host, port, setting = address
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        _notice_dead_peers(listening)
        try:
            listening.bind((host, port))
            # Whoever reads the address in the log and asks at once waits for the answer, and is not refused.
            listening.listen(CONNECTIONS_WAITING_MAX)
        except OSError as error:
            raise Failure(
                f"port {port} of {host} cannot be had: {error.strerror}",
                f"set {setting} to another one, or to 0 for any that is free",
                kind=FailureKind.INVALID,
            ) from None
        yield listening
