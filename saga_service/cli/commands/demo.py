"""`demo`: three missions on real servers and real processes, printed as they happen.

One completes, one fails at its last step and is undone in reverse order, and one outlives the process that drove it.
Nothing is acted: each claim is checked in Postgres, and the exit code says whether all came true.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import asyncpg
import typer

from saga_service.admin.failure_kinds import Failure
from saga_service.admin.views import HistoryRow, history_of
from saga_service.cli.access.effective_settings import read_own_settings
from saga_service.cli.console.lines_to_paste import print_lines_to_paste, starts_of_demo
from saga_service.cli.console.local import (
    ADDRESSES,
    DEMO_DEFINITIONS,
    DEMO_WORKERS,
    embedded_servers,
    fail_if_dead,
    settings_for,
    stay_until_signal,
)
from saga_service.cli.console.local_api import local_api
from saga_service.cli.console.output import duration, print_heading, print_line
from saga_service.cli.console.tables import aligned
from saga_service.cli.console.timeline import timeline
from saga_service.core.ids import saga_id_from_entry
from saga_service.local.dev_record import recorded
from saga_service.local.processes import Child, ChildGroup
from saga_service.local.servers import EmbeddedServers
from saga_service.streams.connection import RedisClient, connect

STREAM = "saga_requests"
SAGA = "mission-start"
END_S_MAX = 60.0
POLL_S = 0.05
ENDS = ("completed", "compensated", "stuck")
STEP_MS = "150"
CANYON_MS = "3000"


def demo_command(
    keep: Annotated[bool, typer.Option("--keep", help="Stay up afterwards, with lines to paste.")] = False,
) -> None:
    began_s = time.monotonic()
    print_heading("Starting Postgres and a Redis-compatible server out of Python wheels")
    with embedded_servers(None) as servers, TemporaryDirectory(prefix="saga-demo-") as folder:
        settings = {
            **settings_for(servers),
            "SAGA_DEFINITIONS": DEMO_DEFINITIONS,
            "SAGA_DEMO_STEP_MS": STEP_MS,
            "SAGA_DEMO_CANYON_MS": CANYON_MS,
        }
        with ChildGroup(settings, Path(folder)) as children:
            asyncio.run(_Demo(servers, children).run())
            print_line()
            print_heading(f"All of it came true, in {time.monotonic() - began_s:.1f} s")
            if keep:
                _stay(servers, settings, children, Path(folder))


def _stay(servers: EmbeddedServers, settings: dict[str, str], children: ChildGroup, folder: Path) -> None:
    """Stay up, with the HTTP API beside, until a signal ends it. Raises Failure where a process has ended by itself."""
    with local_api(settings, read_own_settings(), folder) as api:
        print_lines_to_paste(servers, starts_of_demo(), api=api)
        with recorded(Path.cwd(), {name: settings[name] for name in ADDRESSES}, "demo"):
            stay_until_signal(lambda: fail_if_dead(children))


class _Demo:
    def __init__(self, servers: EmbeddedServers, children: ChildGroup) -> None:
        self._servers = servers
        self._children = children

    async def run(self) -> None:
        """Run the three missions. Raises Failure where something that is claimed did not come true."""
        redis = connect(self._servers.redis_url)
        service = self._children.start("service", "run")
        self._children.start("workers", "worker", *DEMO_WORKERS)
        postgres = await self._until_migrated()
        try:
            await self._one_that_completes(redis, postgres)
            await self._one_that_is_undone(redis, postgres)
            await self._one_that_outlives_its_process(redis, postgres, service)
        finally:
            await postgres.close()
            await redis.aclose()

    async def _one_that_completes(self, redis: RedisClient, postgres: asyncpg.Connection) -> None:
        print_mission("A mission that completes", "robot_count 2 area ZoneA")
        saga_id = await self._start(redis, area="ZoneA")
        self._claim(await self._follow(postgres, saga_id) == "completed", "the mission completes")

    async def _one_that_is_undone(self, redis: RedisClient, postgres: asyncpg.Connection) -> None:
        print_mission("A mission whose last step fails: what was done is undone, the latest first",
                      "robot_count 2 area Crater")  # fmt: skip
        saga_id = await self._start(redis, area="Crater")
        self._claim(await self._follow(postgres, saga_id) == "compensated", "the mission is compensated")
        undone = await postgres.fetch(
            "select step from saga.history where saga_id = $1 and event = 'compensation_succeeded' order by revision",
            saga_id,
        )
        order = [row["step"] for row in undone]
        self._claim(order == ["perform_exploration", "allocate_resources"], f"undone in reverse order: {order}")

    async def _one_that_outlives_its_process(
        self, redis: RedisClient, postgres: asyncpg.Connection, service: Child
    ) -> None:
        print_mission("A mission whose process is killed half-way", "robot_count 2 area Canyon")
        saga_id = await self._start(redis, area="Canyon")
        await self._follow(postgres, saga_id, until=_exploring)
        self._children.kill(service)
        print_line(f"        *** kill -9 {service.pid}: the service is dead, the robots are still out")
        successor = self._children.start("service-2", "run")
        print_line(f"        *** a new service, process {successor.pid}, knows nothing but what Postgres has")
        status = await self._follow(postgres, saga_id, printed=await _revision(postgres, saga_id))
        self._claim(status == "completed", "the mission goes on in the new process and completes")
        revisions = await postgres.fetchval(
            "select array_agg(revision order by revision) from saga.history where saga_id = $1", saga_id
        )
        whole = revisions == list(range(1, len(revisions) + 1))
        self._claim(whole, f"its history has no gap and no repeat: {len(revisions)} transitions")

    async def _start(self, redis: RedisClient, *, area: str) -> str:
        """Start a saga by XADD, as any producer would. Its id follows from the entry's."""
        entry_id = await redis.execute_command("XADD", STREAM, "*", "robot_count", "2", "area", area)
        return saga_id_from_entry(SAGA, STREAM, entry_id.decode())

    async def _follow(
        self,
        postgres: asyncpg.Connection,
        saga_id: str,
        *,
        until: Callable[[list[HistoryRow]], bool] | None = None,
        printed: int = 0,
    ) -> str:
        """Print the timeline as it grows, until the saga's end or until `until` holds; return the status then."""
        deadline_s = time.monotonic() + END_S_MAX
        while time.monotonic() < deadline_s:
            history = await history_of(postgres, saga_id)
            lines = aligned(timeline(history)) if history else []
            for line in lines[printed:]:
                print_line(f"  {line}")
            printed = max(printed, len(lines))
            if history and history[-1].status in ENDS:
                print_line(f"  {history[-1].status} after {duration(history[-1].at - history[0].at)}")
                return history[-1].status
            if until and until(history):
                return "not ended"
            self._claim(not self._children.dead(), "all processes are running")
            await asyncio.sleep(POLL_S)
        return "not ended"

    async def _until_migrated(self) -> asyncpg.Connection:
        postgres = await asyncpg.connect(self._servers.postgres_dsn)
        deadline_s = time.monotonic() + END_S_MAX
        while await postgres.fetchval("select to_regclass('saga.history')") is None:
            self._claim(not self._children.dead(), "the service starts")
            self._claim(time.monotonic() < deadline_s, "the service migrates the database")
            await asyncio.sleep(POLL_S)
        return postgres

    def _claim(self, is_true: bool, claim: str) -> None:
        if not is_true:
            logs = "\n".join(f"--- {child.name}:\n{child.log_tail()}" for child in self._children.children)
            raise Failure(f"the demo failed; this did not come true: {claim}\n{logs}")


def print_mission(what: str, fields: str) -> None:
    print_line()
    print_heading(what)
    print_line(f"  XADD {STREAM} * {fields}")


def _exploring(history: list[HistoryRow]) -> bool:
    return any(command.startswith("perform_exploration:action") for entry in history for command in entry.sent)


async def _revision(postgres: asyncpg.Connection, saga_id: str) -> int:
    revision = await postgres.fetchval("select revision from saga.sagas where id = $1", saga_id)
    assert isinstance(revision, int), "the saga was seen already"
    return revision
