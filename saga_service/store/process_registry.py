"""The processes that are alive, or were within a day, in Postgres."""

from __future__ import annotations

from collections.abc import Sequence

import asyncpg
import orjson

from saga_service.base.postgres import STATEMENT_TIMEOUT_S
from saga_service.store import queries
from saga_service.store.pool import borrowed
from saga_service.wire.process_report import ProcessReport


class PostgresProcesses:
    """Fulfils `runtime.process_registry.ProcessRows`."""

    def __init__(self, pool: asyncpg.Pool, *, acquire_timeout_s: float = STATEMENT_TIMEOUT_S) -> None:
        self._pool = pool
        self._acquire_timeout_s = acquire_timeout_s

    async def record(self, reports: Sequence[tuple[ProcessReport, int]]) -> None:
        """Keep each report, with its age in milliseconds, unless one that is as new is there; forget dead processes.

        Raises StoreUnavailable.
        """
        given = [report for report, _ in reports]
        async with borrowed(self._pool, self._acquire_timeout_s) as connection:
            await connection.execute(
                queries.RECORD_PROCESSES,
                [report.kind for report in given],
                [report.name for report in given],
                [report.host for report in given],
                [report.pid for report in given],
                [report.version for report in given],
                [report.started_at_ms for report in given],
                [_json(report.reads) for report in given],
                [_json(report.services) for report in given],
                [_json(report.definitions) for report in given],
                [age_ms for _, age_ms in reports],
                [report.slots for report in given],
                [report.in_flight for report in given],
                [report.handled_per_s for report in given],
                [report.clock_ahead_ms for report in given],
                [report.has_stopped for report in given],
            )


def _json(value: object) -> str:
    return orjson.dumps(value).decode()
