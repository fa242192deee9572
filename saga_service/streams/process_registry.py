"""The registry of workers that are alive, in Redis: a report of each under a key that expires, and an index of names.

The index is a sorted set by the moment of the last report, by Redis' clock, so that nobody has to look through keys of
others. A process that dies says nothing more: its report goes by itself, and its name an hour later.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import Any

import structlog

from saga_service.base.clock import now_ms
from saga_service.streams.connection import RedisClient
from saga_service.streams.errors import translated
from saga_service.streams.pipeline import Reply, send
from saga_service.wire.process_report import (
    ProcessKind,
    ProcessReport,
    UnreadableReport,
    read_process_report,
    write_process_report,
)
from saga_service.wire.transport import StreamNames, StreamRefused, TransportError

log = structlog.get_logger(__name__)
REPORT_EXPIRES_MS = 60_000
"""Longer than several reports take, so that one that is late costs nothing."""
NAME_KEPT_MS = 3_600_000
PROCESSES_MAX = 2_000


@dataclass(frozen=True, slots=True)
class ReceivedReport:
    """A report, and how long ago it was made, by Redis' clock."""

    report: ProcessReport
    age_ms: int


def own_report(kind: ProcessKind, name: str, *, reads: Iterable[tuple[str, str]], **more: Any) -> ProcessReport:
    """A report of this process, which starts now. `reads` are streams with their groups; Any: other fields of it."""
    return ProcessReport(
        kind=kind,
        name=name,
        host=socket.gethostname(),
        pid=os.getpid(),
        version=version("saga-service"),
        started_at_ms=now_ms(),
        reads=[{"stream": stream, "group": group} for stream, group in reads],
        **more,
    )


class ProcessRegistry:
    """All methods raise TransportError."""

    def __init__(self, client: RedisClient, names: StreamNames) -> None:
        self._client = client
        self._names = names

    async def report(self, report: ProcessReport) -> None:
        """Put a report in the place of the one before it, with this machine's clock compared to Redis'."""
        clock_ahead_ms = await self.clock_ahead_ms()
        at_ms = now_ms() - (clock_ahead_ms or 0)
        written = write_process_report(replace(report, clock_ahead_ms=clock_ahead_ms))
        index = self._names.processes
        replies = await send(
            self._client,
            [
                ("SET", self._names.process(report.name), written, "PX", REPORT_EXPIRES_MS),
                ("ZADD", index, at_ms, report.name),
                ("ZREMRANGEBYSCORE", index, "-inf", at_ms - NAME_KEPT_MS),
            ],
        )
        _raise_first(replies)

    async def names(self) -> set[str]:
        """The names of those that have reported within the last minute, whether or not their reports can be read."""
        _, reported = await self._reported()
        return set(reported)

    async def reports(self) -> list[ReceivedReport]:
        """The reports of the last minute. One that cannot be read is left out."""
        now, reported = await self._reported()
        replies = await send(self._client, [("GET", self._names.process(name)) for name in reported])
        _raise_first(replies)
        return [
            ReceivedReport(report, max(0, now - at_ms))
            for (name, at_ms), written in zip(reported.items(), replies, strict=True)
            if (report := _readable(name, written)) is not None
        ]

    async def _reported(self) -> tuple[int, dict[str, int]]:
        """Redis' time in milliseconds, and by name the moment of the last report, for those of the last minute."""
        with translated():
            seconds, microseconds = await self._client.execute_command("TIME")
        now = int(seconds) * 1000 + int(microseconds) // 1000
        since_ms = now - REPORT_EXPIRES_MS
        with translated():
            flat = await self._client.execute_command(
                "ZRANGEBYSCORE", self._names.processes, since_ms, "+inf", "WITHSCORES", "LIMIT", 0, PROCESSES_MAX
            )
        names = (name.decode(errors="replace") for name in flat[::2])
        return now, dict(zip(names, (int(float(at_ms)) for at_ms in flat[1::2]), strict=True))

    async def clock_ahead_ms(self) -> int | None:
        """How far this machine's clock is ahead of Redis'; None where we may not ask for the time."""
        asked_s = time.monotonic()
        try:
            with translated():
                seconds, microseconds = await self._client.execute_command("TIME")
        except StreamRefused:
            return None
        half_way_ms = (time.monotonic() - asked_s) * 500
        return round(now_ms() - half_way_ms - (int(seconds) * 1000 + int(microseconds) / 1000))


def _raise_first(replies: list[Reply]) -> None:
    for reply in replies:
        if isinstance(reply, TransportError):
            raise reply


def _readable(name: str, written: Reply) -> ProcessReport | None:
    if not isinstance(written, bytes):
        # It has expired since.
        return None
    try:
        report = read_process_report(written)
        if (report.kind, report.name) != ("worker", name):
            raise UnreadableReport(f"under this name a worker '{name}' reports, and not {report.kind} '{report.name}'")
    except UnreadableReport as error:
        log.debug("the report of a process cannot be read", process=name, error=str(error))
        return None
    return report
