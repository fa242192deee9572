"""What `/livez` and `/readyz` say: the checks of one process by their names, and in words what is wrong.

`/livez` asks no server: an outage of one would restart every container, and a restart heals none. An answer, of
whatever kind, says that the event loop goes on. `/readyz` asks the servers, once a second at most, however many ask it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from saga_service.admin.failure_kinds import Failure
from saga_service.admin.readiness import SchemaNotShown, check_postgres, check_redis
from saga_service.admin.server_access import Servers
from saga_service.base.liveness import Liveness

KEPT_S = 1.0
ANSWER_S_MAX = 2.5
"""How long a server may take. Probes of Kubernetes give up sooner by default, and count that as a failure too."""

Check = Callable[[], Awaitable[None]]
"""Raises Failure where something is wrong."""


class Finding(NamedTuple):
    """A check, and what is wrong by it in words; None where nothing is."""

    check: str
    problem: str | None = None


class Probes:
    """The checks of one process.

    A loop may be at work for `standstill_s` without a move. `stop` is set once the process shuts down. It is ready
    where none of the checks of `servers` fails.
    """

    def __init__(
        self, livenesses: Sequence[Liveness], standstill_s: float, stop: asyncio.Event, servers: Mapping[str, Check]
    ) -> None:
        self._livenesses = livenesses
        self._standstill_s = standstill_s
        self._stop = stop
        self._servers = servers
        self._asking: asyncio.Task[list[Finding]] | None = None
        self._kept_until_s = 0.0

    def live(self) -> list[Finding]:
        """How the loops are."""
        standing = list(self._standing_still(time.monotonic()))
        return [Finding("event loop"), Finding("loops", "; ".join(standing) or None)]

    async def ready(self) -> list[Finding]:
        """Whether the process can do its work now."""
        if self._stop.is_set():
            return [Finding("shutdown", "the process is shutting down")]
        awaited = "; ".join(text for each in self._livenesses for text in each.awaited.values())
        return [Finding("shutdown"), Finding("start", awaited or None), *await self._ask_once()]

    def _standing_still(self, now_s: float) -> Iterator[str]:
        for loop in [loop for liveness in self._livenesses for loop in liveness.loops]:
            since_s = loop.at_work_since_s
            if since_s is not None and now_s - since_s > self._standstill_s:
                yield f"the loop '{loop.name}' has stood still for {now_s - since_s:.0f} s"

    async def _ask_once(self) -> list[Finding]:
        is_over = self._asking is None or (self._asking.done() and time.monotonic() >= self._kept_until_s)
        if self._asking is None or is_over:
            self._asking = asyncio.create_task(self._ask())
        return await asyncio.shield(self._asking)

    async def _ask(self) -> list[Finding]:
        findings = await asyncio.gather(*(_finding(name, check) for name, check in self._servers.items()))
        self._kept_until_s = time.monotonic() + KEPT_S
        return list(findings)


async def _finding(name: str, check: Check) -> Finding:
    try:
        async with asyncio.timeout(ANSWER_S_MAX):
            await check()
    except SchemaNotShown:
        # Postgres answers, and a role that may only read needs no more.
        return Finding(name)
    except Failure as failure:
        return Finding(name, str(failure))
    except TimeoutError:
        return Finding(name, f"no answer within {ANSWER_S_MAX:g} s")
    return Finding(name)


def checks_of(servers: Servers, *, needs_postgres: bool) -> dict[str, Check]:
    """The servers that a process needs, by name."""
    redis: dict[str, Check] = {"redis": partial(check_redis, servers)}
    return redis | ({"postgres": partial(check_postgres, servers)} if needs_postgres else {})


def told(findings: Sequence[Finding], *, verbose: bool, with_reasons: bool) -> str:
    """The findings as lines: all of them, or only those that are wrong. `ok` where there is nothing to tell."""
    lines = [
        f"[+] {each.check}"
        if each.problem is None
        else f"[-] {each.check}{f': {each.problem}' if with_reasons else ''}"
        for each in findings
        if verbose or each.problem is not None
    ]
    is_fine = all(each.problem is None for each in findings)
    return "\n".join([*lines, "ok" if is_fine else "failed", ""])
