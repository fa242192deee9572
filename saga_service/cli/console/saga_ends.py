"""One line for each saga that ends, or gets stuck, as it happens."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from threading import Event, Thread

import asyncpg

from saga_service.admin.encryption import cipher_of, decrypted_saga
from saga_service.admin.failure_kinds import Failure
from saga_service.admin.text import harmless
from saga_service.admin.views import SagaRow, sagas_at_rest_since
from saga_service.cli.access.postgres import open_postgres
from saga_service.cli.console.output import duration
from saga_service.cli.console.timeline import why
from saga_service.settings import Settings

POLL_S = 0.5
OVERLAP = timedelta(seconds=10)
"""Two commits may become visible in another order than that of their moments."""
_STYLES = {"completed": "green", "compensated": "yellow", "stuck": "red"}


@contextmanager
def told_ends(settings: Settings) -> Iterator[None]:
    """Print the line of each saga that comes to rest while the context lasts, from a thread of its own."""
    stop = Event()
    thread = Thread(target=lambda: asyncio.run(_tell(settings, stop)), daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


async def _tell(settings: Settings, stop: Event) -> None:
    told: dict[tuple[str, int], datetime] = {}
    since = datetime.now(UTC)
    while not stop.is_set():
        # Until the service has made the views, and where a restart cut the link, this is tried again.
        with suppress(Failure, asyncpg.PostgresError):
            async with open_postgres(settings) as connection:
                while not stop.is_set():
                    since = await _tell_new(connection, settings, since, told)
                    await _pause(stop)
        await _pause(stop)


async def _pause(stop: Event) -> None:
    await asyncio.to_thread(stop.wait, POLL_S)


async def _tell_new(
    connection: asyncpg.Connection, settings: Settings, since: datetime, told: dict[tuple[str, int], datetime]
) -> datetime:
    """Print what has come to rest and is not told yet. Returns the moment to ask from the next time."""
    cipher = cipher_of(settings)
    latest = since
    for row in await sagas_at_rest_since(connection, since):
        key = (row.id, row.revision)
        if key not in told:
            told[key] = row.updated_at
            _print(line_of_end(decrypted_saga(row, cipher)), row.status)
        latest = max(latest, row.updated_at)
    asked_from = max(since, latest - OVERLAP)
    for key in [key for key, at in told.items() if at < asked_from]:
        del told[key]
    return asked_from


def _print(line: str, status: str) -> None:
    import typer

    typer.secho(line, err=True, fg=_STYLES.get(status))


def line_of_end(saga: SagaRow) -> str:
    """The line for one saga: its status, definition, key, id, how long it took, and the error if there was one."""
    named = f"{saga.saga} {saga.key}" if saga.key else saga.saga
    reason = why(saga)
    took = duration(saga.updated_at - saga.created_at)
    return harmless(f"{saga.status}: {named} ({saga.id}) in {took}" + (f": {reason}" if reason else ""))
