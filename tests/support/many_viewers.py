"""Many viewers of live events, each on a connection of its own, and how long an event takes to reach each of them.

As a program it measures one HTTP process on this machine: `python -m tests.support.many_viewers --help`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import psutil

from saga_service.base.postgres import close_pool
from saga_service.core.vocabulary import Operation
from saga_service.engine.ports import Batch, Write
from saga_service.local.processes import ChildGroup
from saga_service.local.servers import EmbeddedServers
from saga_service.store.pool import create_pool
from saga_service.store.postgres_store import PostgresStore
from saga_service.store.schema.migrate import migrate
from tests.integration.cli.test_sagas import begun
from tests.support.builders import SagaInMemory
from tests.support.store_batches import ORDER
from tests.support.waiting import eventually

LISTS = (
    "",
    "?status=paused",
    "?status=running",
    "?saga=order",
    "?saga=order&status=paused",
    "?status=paused&status=running",
    "?status=running&status=stuck",
    "?saga=order&status=running",
    "?status=paused&status=stuck",
)
COUNTED_AFTER_S = 11
"""Postgres may count what a session did ten seconds later."""
_SAGA_EVENT = re.compile(rb'event: saga\ndata: {"id":"([0-9a-f-]{36})".*?"status":"(\w+)","revision":(\d+),')

Place = tuple[str, int]
"""A saga, and a revision of it."""


class ViewerConnection(asyncio.Protocol):
    """A browser's connection, without the browser: what comes is looked through for sagas."""

    def __init__(self, path: str, seen: Callable[[ViewerConnection, Place, str], None]) -> None:
        self.path = path
        self.is_ready = asyncio.Event()
        self.is_lost = False
        self._seen = seen
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.write(f"GET {self.path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())

    def data_received(self, data: bytes) -> None:
        # Chunks of HTTP end between events, and none is within the part that is looked for.
        self._rest += data
        end = 0
        for match in _SAGA_EVENT.finditer(self._rest):
            self._seen(self, (match[1].decode(), int(match[3])), match[2].decode())
            end = match.end()
        if b"event: ready" in self._rest or end:
            self.is_ready.set()
        self._rest = self._rest[max(end, len(self._rest) - 1_000) :]

    def connection_lost(self, error: Exception | None) -> None:
        self.is_lost = True


@dataclass(slots=True)
class Measured:
    """Latencies in seconds, from just before a commit until a viewer has read its event; and what should have come."""

    latencies_s: list[float] = field(default_factory=list)
    expected: int = 0
    lost: int = 0

    def percentile(self, share: float) -> float:
        ordered = sorted(self.latencies_s)
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


class ManyViewers:
    """Viewers of lists and of single sagas, and the sagas that they see change."""

    def __init__(self, address: str, store: PostgresStore, lists: int, singles: int) -> None:
        self.measured = Measured()
        parts = urlsplit(address)
        assert parts.hostname is not None
        assert parts.port is not None
        self._host, self._port = parts.hostname, parts.port
        self._store = store
        self._sagas = [begun("order", f"watched-{number}") for number in range(max(singles, 100))]
        self._paths = [f"/v1/sagas/events{LISTS[number % len(LISTS)]}" for number in range(lists)]
        self._paths += [f"/v1/sagas/{self._sagas[number].state.id}/events" for number in range(singles)]
        self._viewers: list[ViewerConnection] = []
        self._committed_s: dict[Place, float] = {}
        self._told: set[tuple[ViewerConnection, Place]] = set()

    async def open(self) -> None:
        """Store the sagas, and open all streams."""
        for first in range(0, len(self._sagas), 200):
            page = self._sagas[first : first + 200]
            history = [line for saga in page for line in saga.history]
            await self._store.commit(Batch(writes=[Write(saga.state, 0) for saga in page], history=history))
        loop = asyncio.get_running_loop()
        for path in self._paths:
            viewer = ViewerConnection(path, self._see)
            await loop.create_connection(partial(_same, viewer), self._host, self._port)
            self._viewers.append(viewer)
        async with asyncio.timeout(60):
            for viewer in self._viewers:
                await viewer.is_ready.wait()

    async def change(self, commits: int, rate_per_s: float) -> None:
        """Change one saga after the other, and wait until every viewer has seen what it should."""
        began_s = time.perf_counter()
        for number in range(commits):
            await asyncio.sleep(max(0.0, began_s + number / rate_per_s - time.perf_counter()))
            await self._commit(self._sagas[number % len(self._sagas)])
        await eventually(lambda: len(self.measured.latencies_s) >= self.measured.expected, 30.0, "all events came")
        self.measured.lost = sum(viewer.is_lost for viewer in self._viewers)

    async def _commit(self, saga: SagaInMemory) -> None:
        before = len(saga.history)
        saga.operate(Operation.RESUME if saga.status == "paused" else Operation.PAUSE)
        history = saga.history[before:]
        place = (saga.state.id, saga.state.revision)
        self.measured.expected += sum(_shows(path, saga) for path in self._paths)
        self._committed_s[place] = time.perf_counter()
        await self._store.commit(Batch(writes=[Write(saga.state, place[1] - len(history))], history=history))

    def _see(self, viewer: ViewerConnection, place: Place, status: str) -> None:
        committed_s = self._committed_s.get(place)
        if committed_s is not None and (viewer, place) not in self._told:
            self._told.add((viewer, place))
            self.measured.latencies_s.append(time.perf_counter() - committed_s)


def _same(viewer: ViewerConnection) -> ViewerConnection:
    return viewer


def _shows(path: str, saga: SagaInMemory) -> bool:
    """True where a stream at this path has to tell of the saga as it is now."""
    if not path.startswith("/v1/sagas/events"):
        return saga.state.id in path
    return "status=" not in path or f"status={saga.status}" in path


# ---------------------------------------------------------------------------------------------------- as a program


@dataclass(frozen=True, slots=True)
class ProcessUse:
    """What the HTTP process had used, and what Postgres had done, at one moment."""

    at_s: float
    cpu_s: float
    memory_mib: float
    transactions: int


async def _main(options: argparse.Namespace) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with EmbeddedServers() as servers, tempfile.TemporaryDirectory() as folder:
        await migrate(servers.postgres_dsn)
        pool = await create_pool(servers.postgres_dsn, 1)
        observer = await asyncpg.connect(servers.postgres_dsn)
        # Its transactions would be counted with those of the HTTP process.
        await observer.execute("alter system set autovacuum = off")
        await observer.execute("select pg_reload_conf()")
        environment = {
            "SAGA_POSTGRES_DSN": servers.postgres_dsn,
            "SAGA_REDIS_URL": servers.redis_url,
            "SAGA_HTTP_PORT": "0",
            "SAGA_LOG_FORMAT": "json",
        }
        with ChildGroup(environment, Path(folder)) as children:
            process = children.start("http", "http")
            address = await eventually(lambda: _address_in(Path(folder)), 30.0, "the process has an address")
            many = ManyViewers(address, PostgresStore(pool, lambda _: ORDER), options.lists, options.singles)

            async def use() -> ProcessUse:
                used = psutil.Process(process.pid)
                times = used.cpu_times()
                committed = await observer.fetchval(
                    "select xact_commit from pg_stat_database where datname = current_database()"
                )
                return ProcessUse(
                    time.perf_counter(), times.user + times.system, used.memory_info().rss / 2**20, committed
                )

            alone = await use()
            began_s = time.perf_counter()
            await many.open()
            opened_s = time.perf_counter() - began_s
            await asyncio.sleep(COUNTED_AFTER_S)
            before = await use()
            await asyncio.sleep(5)
            quiet = await use()
            await many.change(options.commits, options.rate)
            after = await use()
            await asyncio.sleep(COUNTED_AFTER_S)
            counted = await use()
        await observer.close()
        await close_pool(pool)
    _tell(options, many.measured, opened_s, alone, before, quiet, after, counted)


def _tell(
    options: argparse.Namespace,
    measured: Measured,
    opened_s: float,
    alone: ProcessUse,
    before: ProcessUse,
    quiet: ProcessUse,
    after: ProcessUse,
    counted: ProcessUse,
) -> None:
    print(f"{options.lists} viewers of lists, {options.singles} of single sagas, all connected in {opened_s:.1f} s")
    print(
        f"{options.commits} commits at {options.rate:g}/s; {measured.expected} events to viewers, {measured.lost} cut"
    )
    print(
        f"latency  p50 {measured.percentile(0.5):.3f} s, p95 {measured.percentile(0.95):.3f} s, "
        f"max {max(measured.latencies_s):.3f} s, mean {statistics.mean(measured.latencies_s):.3f} s"
    )
    viewers = options.lists + options.singles
    print(
        f"memory   {alone.memory_mib:.0f} MiB alone, {after.memory_mib:.0f} MiB with viewers: "
        f"{(after.memory_mib - alone.memory_mib) * 1024 / viewers:.0f} KiB each"
    )
    for name, start, end in (("quiet", before, quiet), ("busy", quiet, after)):
        print(f"CPU      {100 * (end.cpu_s - start.cpu_s) / (end.at_s - start.at_s):.1f} % of a core, {name}")
    transactions = counted.transactions - before.transactions - options.commits
    print(f"Postgres {transactions / (counted.at_s - before.at_s):.1f} transactions/s besides the commits")


def _address_in(folder: Path) -> str:
    lines = [line for log in folder.glob("*") for line in log.read_text(errors="replace").splitlines()]
    return next((json.loads(line)["address"] for line in lines if '"http api started"' in line), "")


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lists", type=int, default=900)
    parser.add_argument("--singles", type=int, default=100)
    parser.add_argument("--commits", type=int, default=400)
    parser.add_argument("--rate", type=float, default=20.0, help="commits a second")
    asyncio.run(_main(parser.parse_args(arguments)))


if __name__ == "__main__":
    main(sys.argv[1:])
