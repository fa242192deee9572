"""The state of the servers: read once however many ask, kept the longer the longer it takes, absent if unknown."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from saga_service.metrics import declarations
from saga_service.metrics.declarations import Metric
from saga_service.metrics.measurements import Labels, Measurements
from saga_service.metrics.state_gauges import StateGauges, StateRow
from saga_service.streams.backlog import Backlog, GroupBacklog

IN_FLIGHT: StateRow = ("saga_in_flight", ["order", "running"], 3.0)
NO_TIMER: StateRow = ("saga_next_timer_timestamp_seconds", [], None)
OF_EVENTS = GroupBacklog("saga:events", "saga-service", None, 2, 5_000, None)


class Servers:
    """What both servers say, and how often they were asked. The clock goes on by what a reading takes."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.takes_s = 0.01
        self.asked = 0
        self.streams: list[str] = []
        self.postgres_is_away = self.redis_is_away = False
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.measurements = Measurements()
        self.gauges = StateGauges(
            self.measurements, self.read_state, self.read_backlog, ["saga:replies"], lambda: self.now_s
        )

    async def read_state(self) -> list[StateRow]:
        self.asked += 1
        await self.may_answer.wait()
        self.now_s += self.takes_s
        if self.postgres_is_away:
            raise OSError("connection refused")
        return [IN_FLIGHT, NO_TIMER, ("stream", ["saga:events"], 1.0)]

    async def read_backlog(self, streams: Sequence[str]) -> Backlog:
        self.streams = list(streams)
        if self.redis_is_away:
            raise OSError("connection refused")
        return Backlog({"saga:events": 7}, [OF_EVENTS])

    def gauge(self, metric: Metric) -> list[tuple[Labels, float]]:
        return dict(self.measurements.gauges())[metric]

    def errors(self) -> dict[Labels, float]:
        return dict(self.measurements.counter(declarations.STATE_ERRORS))


async def test_the_state_is_what_both_servers_say_and_what_is_not_known_is_left_out() -> None:
    servers = Servers()
    await servers.gauges.refresh()

    assert servers.streams == ["saga:events", "saga:replies"]
    assert servers.gauge(declarations.IN_FLIGHT) == [(("order", "running"), 3.0)]
    assert servers.gauge(declarations.NEXT_TIMER) == []
    assert servers.gauge(declarations.STREAM_ENTRIES) == [(("saga:events",), 7)]
    assert servers.gauge(declarations.GROUP_LAG) == []
    assert servers.gauge(declarations.GROUP_PENDING) == [(("saga:events", "saga-service"), 2)]
    assert servers.gauge(declarations.OLDEST_UNREAD) == [(("saga:events", "saga-service"), 5.0)]
    assert servers.gauge(declarations.OLDEST_PENDING) == []
    assert servers.errors() == {("postgres",): 0, ("redis",): 0}


async def test_a_reading_is_kept_for_some_seconds() -> None:
    servers = Servers()
    for after_s, asked in ((0.0, 1), (3.5, 1), (1.0, 2)):
        servers.now_s += after_s
        await servers.gauges.refresh()
        assert servers.asked == asked


async def test_a_reading_that_takes_long_is_kept_for_twenty_times_as_long() -> None:
    servers = Servers()
    servers.takes_s = 1.5
    await servers.gauges.refresh()
    servers.now_s += 29.0
    await servers.gauges.refresh()
    assert servers.asked == 1
    servers.now_s += 1.5
    await servers.gauges.refresh()
    assert servers.asked == 2


async def test_however_many_ask_at_once_one_reading_is_under_way_and_none_is_cut_short_by_who_leaves() -> None:
    servers = Servers()
    servers.may_answer.clear()
    asking = [asyncio.create_task(servers.gauges.refresh()) for _ in range(50)]
    await asyncio.sleep(0)
    asking[0].cancel()
    servers.may_answer.set()
    ends = await asyncio.gather(*asking, return_exceptions=True)
    assert [end for end in ends[1:] if end is not None] == []
    assert servers.asked == 1
    assert servers.gauge(declarations.IN_FLIGHT) == [(("order", "running"), 3.0)]


async def test_what_a_server_that_is_away_knew_is_absent_and_that_is_counted() -> None:
    servers = Servers()
    await servers.gauges.refresh()
    servers.postgres_is_away, servers.now_s = True, servers.now_s + 10
    await servers.gauges.refresh()

    assert servers.gauge(declarations.IN_FLIGHT) == []
    assert servers.gauge(declarations.GROUP_PENDING) == [(("saga:events", "saga-service"), 2)]
    assert servers.errors() == {("postgres",): 1, ("redis",): 0}

    servers.postgres_is_away, servers.redis_is_away, servers.now_s = False, True, servers.now_s + 10
    await servers.gauges.refresh()
    assert servers.gauge(declarations.IN_FLIGHT) == [(("order", "running"), 3.0)]
    assert servers.gauge(declarations.GROUP_PENDING) == []
    assert servers.errors() == {("postgres",): 1, ("redis",): 1}
