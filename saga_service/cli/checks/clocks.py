"""Checks of clocks: this machine's, Postgres' and those of processes, all against Redis'."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping, Sequence

from asyncpg import Connection

from saga_service.admin.views import ProcessRow
from saga_service.base.clock import now_ms
from saga_service.cli.checks.findings import Finding, ok, problem

DIFFERENCE_MS_MAX = 2_000
NAMED_MAX = 10


async def postgres_ahead_ms(connection: Connection) -> int:
    """How far Postgres' clock is ahead of this machine's."""
    asked_s = time.monotonic()
    theirs_ms = await connection.fetchval("select (extract(epoch from clock_timestamp()) * 1000)::bigint")
    return int(theirs_ms + (time.monotonic() - asked_s) * 500) - now_ms()


async def clock_findings(
    processes: Sequence[ProcessRow], here_ms: int | None, postgres_ms: int | None
) -> AsyncIterator[Finding]:
    """One finding for all clocks, and none where no two are known.

    `here_ms` is how far this machine's clock is ahead of Redis', `postgres_ms` how far Postgres' is ahead of that.
    """
    if here_ms is None:
        # Without Redis' clock there is still one to compare with.
        if postgres_ms is not None:
            yield _finding({"Postgres": postgres_ms}, "this machine's")
        return
    ahead = {"this machine": here_ms} | ({} if postgres_ms is None else {"Postgres": here_ms + postgres_ms})
    reported = {f"{each.kind} {each.name}": each.clock_ahead_ms for each in processes if each.status == "alive"}
    yield _finding(ahead | {name: ms for name, ms in reported.items() if ms is not None}, "Redis'")


def _finding(ahead: Mapping[str, int], of: str) -> Finding:
    apart = {name: ms for name, ms in ahead.items() if abs(ms) > DIFFERENCE_MS_MAX}
    if not apart:
        return ok("clocks", f"agree within {DIFFERENCE_MS_MAX // 1000} s: {len(ahead) + 1} compared")
    more = len(apart) - NAMED_MAX
    words = [f"{name} {abs(ms) / 1000:.1f} s {'ahead' if ms > 0 else 'behind'}" for name, ms in apart.items()]
    text = ", ".join(words[:NAMED_MAX]) + (f" and {more} more" if more > 0 else "")
    return problem(
        "clocks",
        f"differ from {of}: {text}",
        "keep the clocks of all machines in step (NTP): deadlines, timers and retention go by them",
    )
