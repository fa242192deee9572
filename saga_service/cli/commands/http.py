"""`http`: the HTTP API as a process of its own."""

from __future__ import annotations

from saga_service.base.lifecycle import stop_on_signals
from saga_service.cli.access.effective_settings import read_settings
from saga_service.cli.invocation import run_fast
from saga_service.http.web_server import serve
from saga_service.settings import Settings
from saga_service.telemetry import configure_logging


def http_command() -> None:
    settings = read_settings()
    configure_logging(settings.log_format, settings.log_level)
    run_fast(_serve(settings))


async def _serve(settings: Settings) -> None:
    async with stop_on_signals() as stop:
        await serve(settings, stop)
