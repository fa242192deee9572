"""Probes: what stands still, what is awaited, which server is away, and what of it is told."""

from __future__ import annotations

import asyncio

from saga_service.admin.failure_kinds import Failure
from saga_service.admin.readiness import SchemaNotShown
from saga_service.base.liveness import Liveness, LoopLiveness
from saga_service.http.probes import Finding, Probes, told


class Server:
    """A server that is asked by a check."""

    def __init__(self) -> None:
        self.asked = 0
        self.problem: Failure | None = None
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def check(self) -> None:
        self.asked += 1
        await self.may_answer.wait()
        if self.problem is not None:
            raise self.problem


def probes(*livenesses: Liveness, stop: asyncio.Event | None = None, **servers: Server) -> Probes:
    return Probes(livenesses, 60.0, stop or asyncio.Event(), {name: each.check for name, each in servers.items()})


async def test_a_loop_that_is_at_work_for_too_long_is_named_whosever_it_is() -> None:
    service, workers = Liveness(), Liveness()
    service.loops.append(LoopLiveness("timers"))
    workers.loops.append(LoopLiveness("replies of payment"))
    watched = probes(service, workers)
    assert [each.problem for each in watched.live()] == [None, None]

    workers.loops[0].moved_at_s -= 100
    [_, loops] = watched.live()
    assert loops.problem == "the loop 'replies of payment' has stood still for 100 s"

    workers.loops[0].waits = 1
    assert [each.problem for each in watched.live()] == [None, None], "a loop that waits may do so for ever"


async def test_liveness_asks_no_server() -> None:
    redis = Server()
    probes(Liveness(), redis=redis).live()
    assert redis.asked == 0


async def test_a_process_that_has_not_started_yet_or_shuts_down_is_not_ready() -> None:
    liveness, stop = Liveness(), asyncio.Event()
    watched = probes(liveness, stop=stop)
    liveness.awaited["servers"] = "it waits for Postgres"
    assert Finding("start", "it waits for Postgres") in await watched.ready()
    liveness.awaited.clear()
    assert [each.problem for each in await watched.ready()] == [None, None]
    stop.set()
    assert await watched.ready() == [Finding("shutdown", "the process is shutting down")]


async def test_a_server_that_is_away_is_told_in_words_beside_those_that_answer() -> None:
    redis, postgres = Server(), Server()
    postgres.problem = Failure("Postgres at db cannot be reached", "check that the server runs")
    found = await probes(redis=redis, postgres=postgres).ready()
    assert found[-2:] == [
        Finding("redis"),
        Finding("postgres", "Postgres at db cannot be reached; check that the server runs"),
    ]


async def test_a_role_that_may_only_read_is_ready() -> None:
    postgres = Server()
    postgres.problem = SchemaNotShown("the role may not look at the schema's version")
    assert (await probes(postgres=postgres).ready())[-1] == Finding("postgres")


async def test_however_many_ask_a_server_is_asked_once() -> None:
    redis = Server()
    redis.may_answer.clear()
    watched = probes(redis=redis)
    asking = [asyncio.create_task(watched.ready()) for _ in range(20)]
    await asyncio.sleep(0)
    redis.may_answer.set()
    await asyncio.gather(*asking)
    await watched.ready()
    assert redis.asked == 1


def test_what_is_wrong_is_told_and_the_rest_for_whoever_wants_all_of_it() -> None:
    found = [Finding("redis"), Finding("postgres", "it is away")]
    assert told(found, verbose=False, with_reasons=True) == "[-] postgres: it is away\nfailed\n"
    assert told(found, verbose=True, with_reasons=True) == "[+] redis\n[-] postgres: it is away\nfailed\n"
    assert told(found, verbose=True, with_reasons=False) == "[+] redis\n[-] postgres\nfailed\n"
    assert told(found[:1], verbose=False, with_reasons=True) == "ok\n"
