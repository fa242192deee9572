"""The HTTP API on its port, until it is told to stop."""

from __future__ import annotations

import asyncio

import structlog

from saga_service.admin.failure_kinds import Failure, FailureKind
from saga_service.base.health_file import Identity, kept_health_file
from saga_service.http.access.loopback_guard import is_loopback
from saga_service.http.application import make_application
from saga_service.http.listener import Address, address_of, listening_on, serve_until
from saga_service.http.watched_process import WatchedProcess
from saga_service.settings import Settings

log = structlog.get_logger(__name__)


async def serve(settings: Settings, stop: asyncio.Event) -> None:
    """Serve the API until `stop` is set, and then until the answers that are under way have gone out, a few seconds at
    most.

    Raises Failure where the port cannot be had, or the host is not loopback and nobody needs rights.
    """
    with listening_on(api_address(settings)) as listening:
        log.info("http api started", address=f"{address_of(listening)}{settings.http_root_path}")
        process = WatchedProcess(stop)
        identity = Identity("http", settings.consumer_name, (), process.standstill_s)
        application = make_application(settings, process)
        async with kept_health_file(settings.health_dir, identity, process.service):
            await serve_until(stop, application, listening, grace_s_of(settings))
    log.info("http api has stopped")


def api_address(settings: Settings) -> Address:
    """The address of the API. Raises Failure where others would reach it and nobody needs rights."""
    if not settings.has_rights and not is_loopback(settings.http_host):
        raise Failure(
            f"SAGA_HTTP_HOST is {settings.http_host}, and whoever reaches that could steer every saga",
            "set SAGA_HTTP_TOKENS_FILE (saga-service tokens make) or SAGA_HTTP_OIDC_ISSUER, or leave it at 127.0.0.1",
            kind=FailureKind.INVALID,
        )
    return Address(settings.http_host, settings.http_port, "SAGA_HTTP_PORT")


def grace_s_of(settings: Settings) -> int:
    """How long answers that are under way may take at a stop."""
    return max(1, settings.shutdown_grace_ms // 1000)
