"""HTTP beside the loops of `run` and `worker`, in their process: the probes with the metrics, and the API.

Nothing that the extra `http` brings is imported here, so a process without these settings does without the extra.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

from saga_service.admin.failure_kinds import Failure, FailureKind
from saga_service.http.watched_process import WatchedProcess
from saga_service.metrics.measurements import Measurements
from saga_service.settings import Settings


@asynccontextmanager
async def http_beside(
    settings: Settings, process: WatchedProcess, *, may_have_api: bool = False
) -> AsyncIterator[Measurements | None]:
    """Serve what the settings ask for, until the block ends. The API ends sooner, once the process is told to stop.

    Yields the measurements to add to; None where nobody could read them. Raises Failure where a port is taken, or where
    the extra is not installed.
    """
    wanted = list(_wanted(settings, may_have_api=may_have_api))
    if not wanted:
        yield None
        return
    try:
        from saga_service.http.companion_servers import companion_servers
    except ModuleNotFoundError as error:
        raise Failure(
            f"{wanted[0]} needs the package '{error.name}', which is not installed",
            "pip install 'saga-service[http]'",
            kind=FailureKind.INVALID,
        ) from None
    async with companion_servers(settings, process, with_api=may_have_api and settings.http_enabled):
        yield process.measurements


def _wanted(settings: Settings, *, may_have_api: bool) -> Iterator[str]:
    if settings.metrics_port is not None:
        yield "SAGA_METRICS_PORT"
    if may_have_api and settings.http_enabled:
        yield "SAGA_HTTP_ENABLED"
