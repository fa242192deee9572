"""The whole system as it is deployed: services and workers as processes of their own, on the servers of a test.

A test speaks to it as the outside does: XADD by a plain client, SQL on the views, signals to processes.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import asyncpg
import orjson
import redis

from saga_service.local.processes import Child
from saga_service.wire.transport import StreamNames
from tests.end_to_end.effects import FILE_VARIABLE, Effect, read_effects
from tests.support.paths import ROOT
from tests.support.waiting import eventually

START_S_MAX = 30.0
COMMAND_S_MAX = 60.0

SHORT_TIMINGS = {
    "SAGA_READ_BLOCK_MS": "100",
    "SAGA_RECLAIM_IDLE_MS": "500",
    "SAGA_RECLAIM_PERIOD_MS": "100",
    "SAGA_TIMERS_POLL_MS": "100",
    "SAGA_TIMERS_LEASE_MS": "500",
    "SAGA_OUTBOX_LEASE_MS": "500",
    "SAGA_OUTBOX_POLL_MS": "100",
    "SAGA_DEFERRAL_MAX_MS": "1000",
    "SAGA_TRIM_PERIOD_MS": "200",
    "SAGA_SHUTDOWN_GRACE_MS": "5000",
    "SAGA_STARTUP_WAIT_S": "30",
    "SAGA_POSTGRES_POOL_SIZE": "4",
}
WORKERS = tuple(
    f"tests.end_to_end.workers:{service}" for service in ("travel", "rental", "fleet", "planning", "mapping", "lab")
)
DEFINITIONS = ("tests.end_to_end.sagas", "tests.end_to_end.semantics", "saga_service.demo.sagas:mission_start")
_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Finished:
    """A command that has run to its end."""

    exit_code: int
    out: str
    err: str


class System:
    """`settings` go to every process; names of the streams have a prefix of the system's own."""

    def __init__(self, postgres_dsn: str, redis_url: str, folder: Path, **settings: str) -> None:
        self.names = StreamNames(f"e2e-{os.getpid()}-{next(_numbers)}:")
        # Any: the client's own types cover all its modes of answering at once.
        self.redis: Any = redis.Redis.from_url(redis_url)
        self.children: list[Child] = []
        self._dsn = postgres_dsn
        self._folder = folder
        self._effects = folder / "effects.jsonl"
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("SAGA_")}
        self.environment = {
            **inherited,
            "PYTHONPATH": str(ROOT),
            FILE_VARIABLE: str(self._effects),
            "SAGA_POSTGRES_DSN": postgres_dsn,
            "SAGA_REDIS_URL": redis_url,
            "SAGA_STREAM_PREFIX": self.names.prefix,
            "SAGA_DEFINITIONS": ",".join(DEFINITIONS),
            "SAGA_LOG_FORMAT": "json",
            "SAGA_HEALTH_DIR": str(folder / "health"),
            **SHORT_TIMINGS,
            **settings,
        }

    # -------------------------------------------------------------------------------------------------- processes

    def begin(self, name: str, *arguments: str, **settings: str) -> Child:
        """Start `saga-service ARGUMENTS`, and wait for nothing."""
        log = self._folder / f"{name}-{len(self.children) + 1}.log"
        child = Child(log.stem, list(arguments), {**self.environment, **settings}, log, self._folder).start()
        self.children.append(child)
        return child

    def begin_service(self, **settings: str) -> Child:
        return self.begin("service", "run", **settings)

    def begin_worker(self, **settings: str) -> Child:
        return self.begin("worker", "worker", *WORKERS, **settings)

    async def start_in_one(self, **settings: str) -> Child:
        """Start one service with all workers inside it."""
        service = self.begin_service(SAGA_WORKERS=",".join(WORKERS), **settings)
        await self.ready(service)
        return service

    async def start(self, *, services: int = 1, workers: int = 1, **settings: str) -> list[Child]:
        """Start so many of each and wait until they work: the services first."""
        started = [self.begin_service(**settings) for _ in range(services)]
        started += [self.begin_worker(**settings) for _ in range(workers)]
        for child in started:
            await self.ready(child)
        return started

    async def ready(self, child: Child) -> None:
        def works() -> bool:
            assert child.is_running(), f"{child.name} ended:\n{self.log_of(child)}"
            return any(event in ("saga_service runs", "worker started") for event in self.events_of(child))

        await eventually(works, START_S_MAX, f"{child.name} works")

    async def ended(self, child: Child, within_s: float = 15.0) -> int:
        """Wait for a process to end by itself; its exit code."""
        await eventually(lambda: not child.is_running(), within_s, f"{child.name} ends")
        assert child.exit_code is not None
        return child.exit_code

    def log_of(self, child: Child) -> str:
        return (self._folder / f"{child.name}.log").read_text(errors="replace")

    def lines_of(self, child: Child) -> list[dict[str, Any]]:
        """Its log so far. Any: what a line holds."""
        return [_log_line(line) for line in self.log_of(child).splitlines(keepends=True) if line.endswith("\n")]

    def events_of(self, child: Child) -> list[str]:
        return [line["event"] for line in self.lines_of(child)]

    async def command(self, *arguments: str, **settings: str) -> Finished:
        """Run `saga-service ARGUMENTS` to its end."""

        def run() -> Finished:
            done = subprocess.run(
                [sys.executable, "-m", "saga_service", *arguments],
                env={**self.environment, **settings},
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=COMMAND_S_MAX,
                text=True,
            )
            return Finished(done.returncode, done.stdout, done.stderr)

        return await asyncio.to_thread(run)

    def end(self) -> None:
        """Kill what still runs: how processes stop in good order is a test's own subject."""
        self.redis.close()
        for child in self.children:
            child.kill()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    # ---------------------------------------------------------------------------------------------------- streams

    def add(self, stream: str, fields: Mapping[Any, Any]) -> str:
        """XADD, as any client does it; the entry's id. Any: text, bytes or numbers, as the client takes them."""
        return _text(self.redis.xadd(stream, dict(fields)))

    def start_saga(self, saga: str, key: str, *, plan: Mapping[str, list[str]] | None = None, **fields: str) -> str:
        """XADD of the event that starts a saga of `sagas`; the entry's id."""
        return self.start_sagas(saga, {key: plan or {}}, **fields)[0]

    def start_sagas(self, saga: str, plans: Mapping[str, Mapping[str, list[str]]], **fields: str) -> list[str]:
        """One saga for each key, with its plan."""
        with self.redis.pipeline(transaction=False) as pipeline:
            for key, plan in plans.items():
                data = orjson.dumps({"trip": key, "plan": plan})
                pipeline.xadd(self.names.events, {"type": saga, "data": data, **fields})
            return [_text(entry_id) for entry_id in pipeline.execute()]

    def entries(self, stream: str) -> list[tuple[str, dict[str, str]]]:
        """All that is on a stream of text."""
        return [
            (_text(entry_id), {_text(name): _text(value) for name, value in fields.items()})
            for entry_id, fields in self.redis.xrange(stream)
        ]

    def streams(self, *foreign: str) -> list[str]:
        """Every stream of this system that is there now, and those of the others named."""
        own = [_text(name) for name in self.redis.scan_iter(match=f"{self.names.prefix}*", count=1_000, _type="stream")]
        return [*sorted(own), *foreign]

    def groups(self, stream: str) -> dict[str, dict[str, Any]]:
        """Facts of each group on a stream. Any: numbers and texts."""
        return {_text(group["name"]): group for group in self.redis.xinfo_groups(stream)}

    # --------------------------------------------------------------------------------------------------- postgres

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[asyncpg.Connection]:
        """One of its own, so that no outage of a moment ago is in it."""
        connection = await asyncpg.connect(self._dsn)
        try:
            for kind in ("json", "jsonb"):
                await connection.set_type_codec(kind, schema="pg_catalog", encoder=_to_json, decoder=orjson.loads)
            yield connection
        finally:
            await connection.close()

    async def fetch(self, query: str, *values: object) -> list[asyncpg.Record]:
        async with self.connection() as connection:
            return list(await connection.fetch(query, *values))

    async def value(self, query: str, *values: object) -> Any:
        """Any: whatever is asked for."""
        rows = await self.fetch(query, *values)
        return rows[0][0] if rows else None

    async def saga(self, key: str) -> asyncpg.Record | None:
        """A row of `saga.sagas`."""
        rows = await self.fetch("select * from saga.sagas where key = $1", key)
        assert len(rows) <= 1, f"one saga has the key {key}"
        return rows[0] if rows else None

    async def until(self, key: str, *statuses: str, within_s: float = 20.0) -> asyncpg.Record:
        """Wait until the saga with this key has one of these statuses."""

        async def has_come() -> asyncpg.Record:
            found = await self.saga(key)
            assert found is not None, f"no saga has the key {key}"
            assert found["status"] in statuses, f"{found['status']}, revision {found['revision']}"
            return found

        return await eventually(has_come, within_s, f"{key} is {' or '.join(statuses)}")

    async def until_history(self, key: str, event: str, within_s: float = 20.0) -> asyncpg.Record:
        """Wait for the first line of a saga's history that tells of this event."""

        async def line() -> asyncpg.Record:
            rows = await self.fetch(
                "select h.* from saga.history h join saga.sagas s on s.id = h.saga_id"
                " where s.key = $1 and h.event = $2 order by h.revision limit 1",
                key,
                event,
            )
            assert rows, "not there"
            return rows[0]

        return await eventually(line, within_s, f"{event} of {key}")

    async def history(self, key: str) -> list[str]:
        """A saga's history in short, a line for each transition."""
        rows = await self.fetch(
            "select h.* from saga.history h join saga.sagas s on s.id = h.saga_id where s.key = $1 order by h.revision",
            key,
        )
        return [_in_short(row) for row in rows]

    async def until_ended(self, sagas: int, within_s: float = 60.0) -> None:
        """Wait until so many sagas have come to their end or are stuck, and none is under way."""

        async def all_ended() -> bool:
            rows = await self.fetch("select status, count(*) from saga.sagas group by status")
            found = {row[0]: row[1] for row in rows}
            ended = sum(found.get(status, 0) for status in ("completed", "compensated", "stuck"))
            assert ended == sum(found.values()) == sagas, f"{found}, of {sagas}"
            return True

        await eventually(all_ended, within_s, "all sagas end")

    async def until_taken_in(self, sagas: int, within_s: float = 30.0) -> None:
        async def all_in() -> bool:
            there = await self.value("select count(*) from saga.sagas")
            assert there == sagas, f"{there} of {sagas}"
            return True

        await eventually(all_in, within_s, "all sagas are taken in")

    async def until_seen(self, stream: str, within_s: float = 10.0) -> None:
        """Wait until a replica has looked at the stream and found entries on it."""

        async def is_seen() -> bool:
            return bool(await self.value("select last_id > 0 from saga_private.streams where stream = $1", stream))

        await eventually(is_seen, within_s, f"{stream} is looked at")

    async def dead_letter(self, stream: str, entry_id: str, within_s: float = 15.0) -> asyncpg.Record:
        """Wait for the dead letter of this entry."""

        async def letter() -> asyncpg.Record:
            rows = await self.fetch(
                "select * from saga.dead_letters where stream = $1 and entry_id = $2", stream, entry_id
            )
            assert rows, "not there"
            return rows[0]

        return await eventually(letter, within_s, f"the dead letter of {stream} {entry_id}")

    # ---------------------------------------------------------------------------------------------------- effects

    def effects(self) -> list[Effect]:
        return read_effects(self._effects)


def effects_in_short(effects: Iterable[Effect]) -> list[str]:
    """`flight 1 failed`, `undo flight 1 succeeded`, in the order in which they came about."""
    return [
        f"{_DIRECTIONS[effect.direction]}{effect.step} {effect.attempt} {effect.outcome}"
        for effect in sorted(effects, key=lambda effect: effect.at_ns)
    ]


_DIRECTIONS = {"action": "", "compensation": "undo ", "probe": "find "}


def _in_short(line: asyncpg.Record) -> str:
    about = "" if line["step"] is None else f" {line['step']} {line['attempt']}"
    sent = "".join(f" -> {command}" for command in line["sent"])
    return f"{line['event']}{about}: {line['status']}{sent}"


def _log_line(line: str) -> dict[str, Any]:
    """Any: what a line holds. One that is not JSON was written by nobody who should write there."""
    try:
        parsed: dict[str, Any] = orjson.loads(line)
    except orjson.JSONDecodeError:
        return {"level": "critical", "event": line}
    return parsed


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _to_json(value: object) -> str:
    return orjson.dumps(value).decode()
