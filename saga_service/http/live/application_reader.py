"""The reader of an application, from its start to its end, and the open files that its viewers need."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Annotated

import structlog
from fastapi import Depends, Request

from saga_service.base.lifecycle import cancel
from saga_service.http.live.reader import LiveReader
from saga_service.http.pooled_servers import PooledServers
from saga_service.http.watched_process import WatchedProcess
from saga_service.metrics import declarations

log = structlog.get_logger(__name__)
BESIDE_VIEWERS = 512
"""Files and connections that a process has open beside its streams."""


@asynccontextmanager
async def live_reader(servers: PooledServers, process: WatchedProcess) -> AsyncIterator[LiveReader]:
    """A reader that looks as long as the block lasts, if anybody watches or waits.

    All streams and waits end as soon as the process is told to stop: a server waits for answers that are under way, and
    a stream would never end by itself.
    """
    settings = servers.settings
    allow_open_files_for(settings.http_viewers_max)
    reader = LiveReader(
        servers.postgres_to_watch,
        period_s=settings.http_poll_ms / 1000,
        heartbeat_s=settings.http_heartbeat_ms / 1000,
        looked=partial(process.measurements.histogram(declarations.LOOK_DURATION).observe, ()),
    )

    process.measurements.gauge(declarations.VIEWERS, lambda: len(reader.viewers))
    process.measurements.gauge(declarations.WAITERS, lambda: reader.waiters)

    async def end_with_process() -> None:
        await process.stop.wait()
        reader.end()

    tasks = (
        asyncio.create_task(process.service.watched("live events", reader.run())),
        asyncio.create_task(end_with_process()),
    )
    try:
        yield reader
    finally:
        reader.end()
        await cancel(tasks)


def reader_of(request: Request) -> LiveReader:
    """The reader of the application that a request has come to."""
    reader = request.app.state.live
    assert isinstance(reader, LiveReader), "the application is started before it answers"
    return reader


LiveOfRequest = Annotated[LiveReader, Depends(reader_of)]
"""What a route takes to tell of what happens, or to wait for it."""


def allow_open_files_for(viewers: int) -> None:
    """Raise this process's own limit of open files for so many streams, as far as the system lets it.

    Each stream takes a file, and the limit that a process begins with is often 1,024. The limit is never lowered.
    """
    wanted = viewers + BESIDE_VIEWERS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if allowed > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    if allowed < wanted:
        log.warning(
            "fewer files may be open than SAGA_HTTP_VIEWERS_MAX needs; raise the hard limit (ulimit -Hn)",
            files=allowed,
            needed=wanted,
        )
