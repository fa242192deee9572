"""The benchmark: order sagas end to end, through one service process and one worker process.

Throughput: all events are on the stream before the processes start, and the clock runs from that start, interpreters
included, until the last saga's end is committed and announced. Latency: afterwards, on the idle system, events come at
a low fixed rate whatever the answers do (open loop). Each is timed from just before its XADD until its saga's end,
which is durable by then, is read from the stream of outcomes.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import asyncpg
import psutil

from saga_service.local.processes import Child, ChildGroup
from saga_service.local.servers import EmbeddedServers
from saga_service.store.schema.migrate import migrate
from saga_service.streams.connection import RedisClient, connect
from saga_service.streams.pipeline import add, send
from saga_service.wire.entries import Message
from saga_service.wire.events import write_event
from saga_service.wire.transport import StreamNames

SAGA = "order"
WORKERS = ("inventory", "payment", "shipping")
LOAD_ENTRIES = 1_000
POLL_S = 0.005
WARM_UP_SAGAS = 20


@dataclass(frozen=True, slots=True)
class BenchOptions:
    """The size of a run. `rate_per_s` and `latency_sagas` are those of the latency part.

    `postgres_dsn` and `redis_url` name servers to use, on which the benchmark has a stream prefix of its own; without
    them embedded ones are started.
    """

    sagas: int = 10_000
    rate_per_s: float = 20.0
    latency_sagas: int = 200
    postgres_dsn: str | None = None
    redis_url: str | None = None
    timeout_s: float = 600.0


@dataclass(frozen=True, slots=True)
class BenchResult:
    """The figures of a run. `cpu_ms_per_saga` and `peak_memory_mib` are by process, without servers that were given."""

    sagas: int
    seconds: float
    sagas_per_s: float
    latency_p50_ms: float
    latency_p99_ms: float
    rate_per_s: float
    cpu_ms_per_saga: dict[str, float]
    peak_memory_mib: dict[str, float]


class BenchFailed(Exception):
    """The run did not end. The text says what was missing, with the end of each process's log."""


@dataclass(frozen=True, slots=True)
class _Servers:
    postgres_dsn: str
    redis_url: str
    pids: dict[str, int]


def run_bench(options: BenchOptions) -> BenchResult:
    """Run the benchmark. Raises BenchFailed, EmbeddedServerError, and what the clients of given servers raise."""
    with _servers(options) as servers, TemporaryDirectory(prefix="saga-bench-") as folder:
        return asyncio.run(_Bench(options, servers, Path(folder)).run())


@contextmanager
def _servers(options: BenchOptions) -> Iterator[_Servers]:
    if options.postgres_dsn and options.redis_url:
        yield _Servers(options.postgres_dsn, options.redis_url, {})
        return
    with EmbeddedServers() as embedded:
        pids = {"postgres": embedded.postgres.pid, "redis": embedded.redis.pid}
        yield _Servers(embedded.postgres_dsn, embedded.redis_url, pids)


class _Bench:
    def __init__(self, options: BenchOptions, servers: _Servers, folder: Path) -> None:
        self._options = options
        self._servers = servers
        self._names = StreamNames("saga-bench:")
        self._run = f"saga-bench-{time.time_ns()}:"
        self._folder = folder
        self._redis: RedisClient = connect(servers.redis_url, blocking_ms=1_000)

    async def run(self) -> BenchResult:
        await migrate(self._servers.postgres_dsn)
        # What a run that was cut short has left.
        await self._delete_streams()
        await self._load(self._options.sagas)
        before = {name: cpu_seconds(pid) for name, pid in self._servers.pids.items()}
        with ChildGroup(self._environment(), self._folder) as children:
            began_s = time.perf_counter()
            children.start("worker", "worker", *(f"saga_service.demo.workers:{name}" for name in WORKERS))
            children.start("service", "run")
            await self._until_ended(self._options.sagas, children)
            seconds = time.perf_counter() - began_s
            pids = {**self._servers.pids, **{child.name: child.pid for child in children.children}}
            cpu_s = {name: cpu_seconds(pid) - before.get(name, 0.0) for name, pid in pids.items()}
            await self._check_in_postgres(self._options.sagas)
            latencies_ms = await self._latencies_ms(children)
            memory = {name: _peak_with_children_mib(name, pid) for name, pid in pids.items()}
        await self._clean_up()
        return BenchResult(
            sagas=self._options.sagas,
            seconds=round(seconds, 2),
            sagas_per_s=round(self._options.sagas / seconds, 1),
            latency_p50_ms=round(percentile(latencies_ms, 0.50), 2),
            latency_p99_ms=round(percentile(latencies_ms, 0.99), 2),
            rate_per_s=self._options.rate_per_s,
            cpu_ms_per_saga={name: round(used * 1000 / self._options.sagas, 3) for name, used in cpu_s.items()},
            peak_memory_mib={name: round(mib, 1) for name, mib in memory.items()},
        )

    def _environment(self) -> dict[str, str]:
        return {
            "SAGA_POSTGRES_DSN": self._servers.postgres_dsn,
            "SAGA_REDIS_URL": self._servers.redis_url,
            "SAGA_STREAM_PREFIX": self._names.prefix,
            "SAGA_DEFINITIONS": "saga_service.demo.sagas:order",
            "SAGA_DEMO_STEP_MS": "0",
            "SAGA_LOG_FORMAT": "json",
            "SAGA_LOG_LEVEL": "warning",
            "SAGA_WORKER_CONCURRENCY": "512",
        }

    async def _load(self, sagas: int) -> None:
        for start in range(0, sagas, LOAD_ENTRIES):
            numbers = range(start, min(start + LOAD_ENTRIES, sagas))
            await send(self._redis, [add(self._event(f"load-{number}")) for number in numbers])

    def _event(self, order: str) -> Message:
        data = {
            "order_id": f"{self._run}{order}-{'x' * 60}",
            "customer": "customer-1",
            "amount": 100,
            "items": [{"sku": "abc", "quantity": 2}] * 3,
        }
        return write_event(self._names.events, SAGA, data)

    async def _until_ended(self, sagas: int, children: ChildGroup) -> None:
        deadline_s = time.perf_counter() + self._options.timeout_s
        while (ended := int(await self._redis.execute_command("XLEN", self._names.outcomes))) < sagas:
            dead = children.dead()
            if dead or time.perf_counter() > deadline_s:
                raise BenchFailed(_why(f"only {ended} of {sagas} sagas ended", dead or children.children))
            await asyncio.sleep(POLL_S)

    async def _check_in_postgres(self, sagas: int) -> None:
        connection = await asyncpg.connect(self._servers.postgres_dsn)
        try:
            completed = await connection.fetchval(
                "select count(*) from saga.sagas where status = 'completed' and starts_with(key, $1)",
                self._run,
            )
        finally:
            await connection.close()
        if completed != sagas:
            raise BenchFailed(f"postgres has {completed} completed sagas, but {sagas} were announced")

    async def _latencies_ms(self, children: ChildGroup) -> list[float]:
        """One latency for each saga, in milliseconds, without the first WARM_UP_SAGAS."""
        last = await self._redis.execute_command("XREVRANGE", self._names.outcomes, "+", "-", "COUNT", 1)
        total = self._options.latency_sagas + WARM_UP_SAGAS
        sent_s: dict[str, float] = {}
        waiting = asyncio.create_task(self._ends(last[0][0].decode(), total))
        began_s = time.perf_counter()
        for number in range(total):
            await asyncio.sleep(max(0.0, began_s + number / self._options.rate_per_s - time.perf_counter()))
            event = self._event(f"latency-{number}")
            sent_s[_key(event)] = time.perf_counter()
            await send(self._redis, [add(event)])
        try:
            ended_s = await asyncio.wait_for(waiting, 30)
        except TimeoutError:
            raise BenchFailed(_why("sagas of the latency part did not end", children.children)) from None
        keys = list(sent_s)[WARM_UP_SAGAS:]
        return [(ended_s[key] - sent_s[key]) * 1000 for key in keys]

    async def _ends(self, after: str, count: int) -> dict[str, float]:
        reader = connect(self._servers.redis_url, blocking_ms=1_000, connections_max=1)
        ended_s: dict[str, float] = {}
        try:
            while len(ended_s) < count:
                reply = await reader.execute_command("XREAD", "BLOCK", 1_000, "STREAMS", self._names.outcomes, after)
                now_s = time.perf_counter()
                for entry_id, flat in reply[0][1] if reply else ():
                    after = entry_id.decode()
                    fields = dict(zip(flat[::2], flat[1::2], strict=True))
                    ended_s[fields[b"subject"].decode()] = now_s
        finally:
            await reader.aclose()
        return ended_s

    async def _clean_up(self) -> None:
        await self._delete_streams()
        await self._redis.aclose()

    async def _delete_streams(self) -> None:
        names = self._names
        commands = [names.commands(service) for service in WORKERS]
        keys = (names.events, names.replies, names.outcomes, names.dead_letters, *commands)
        await self._redis.execute_command("DEL", *keys)


def percentile(values: Iterable[float], share: float) -> float:
    """The value that this share of the values does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def cpu_seconds(pid: int) -> float:
    """CPU seconds of a process and all its children, those that have ended included."""
    total = 0.0
    for process in _with_children(pid):
        with suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            total += times.user + times.system
            if process.pid == pid:
                total += times.children_user + times.children_system
    return total


def peak_memory_mib(pid: int) -> float:
    """The most memory that the process has ever held, in MiB. 0 where the system does not keep it."""
    status = Path(f"/proc/{pid}/status")
    with suppress(OSError):
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    return 0.0


def _with_children(pid: int) -> list[psutil.Process]:
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _key(event: Message) -> str:
    data = event.fields[event.fields.index("data") + 1]
    key = json.loads(data)["order_id"]
    assert isinstance(key, str)
    return key


def _peak_with_children_mib(name: str, pid: int) -> float:
    # Postgres' processes share most of their memory, so adding them up would count it many times.
    members = [pid] if name != "postgres" else [pid, *(child.pid for child in psutil.Process(pid).children())]
    return max(peak_memory_mib(member) for member in members)


def _why(what: str, children: list[Child]) -> str:
    return "\n".join([what, *(f"--- {child.name}:\n{child.log_tail()}" for child in children)])
