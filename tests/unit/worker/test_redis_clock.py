"""Deadlines are judged by Redis' clock, and a machine whose own clock differs is told so."""

from __future__ import annotations

import asyncio

import pytest
import structlog
from structlog.testing import capture_logs

from saga_service.base.clock import now_ms
from saga_service.base.lifecycle import cancel
from saga_service.wire.transport import TransportUnavailable
from saga_service.worker import StepContext, Worker
from saga_service.worker import redis_clock as module
from saga_service.worker.redis_clock import RedisClock
from saga_service.worker.replies import Replies
from tests.support.workers import NAMES, RedisInMemory, acknowledgement, command_entry, dispatcher_of


def is_about(moment_ms: int, expected_ms: int) -> bool:
    return abs(moment_ms - expected_ms) < 5_000


async def test_before_redis_was_asked_the_machine_s_clock_counts() -> None:
    assert is_about(RedisClock(RedisInMemory().send).now_ms(), now_ms())


@pytest.mark.parametrize("ahead_ms", [-30_000, 30_000])
async def test_the_time_is_redis_time_and_a_difference_is_told_once(ahead_ms: int) -> None:
    redis = RedisInMemory()
    redis.ahead_ms = ahead_ms
    clock = RedisClock(redis.send)
    with capture_logs() as logs:
        assert await clock.compare(structlog.get_logger())
    assert is_about(clock.now_ms(), now_ms() + ahead_ms)
    assert [line["log_level"] for line in logs] == ["warning"]
    assert is_about(logs[0]["ahead_ms"], -ahead_ms)
    assert ("behind" if ahead_ms > 0 else "ahead of") in logs[0]["event"]


async def test_clocks_in_step_are_no_news() -> None:
    with capture_logs() as logs:
        assert await RedisClock(RedisInMemory().send).compare(structlog.get_logger())
    assert logs == []


async def test_a_correction_of_the_machine_s_clock_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = RedisClock(RedisInMemory().send)
    await clock.compare(structlog.get_logger())
    before_ms = clock.now_ms()
    monkeypatch.setattr("saga_service.base.clock.now_ms", lambda: before_ms + 3_600_000)
    assert is_about(clock.now_ms(), before_ms)


async def test_while_redis_is_away_the_time_goes_on_as_it_was_read() -> None:
    redis = RedisInMemory()
    redis.ahead_ms = 30_000
    clock = RedisClock(redis.send)
    await clock.read()
    redis.faults.lasting = TransportUnavailable("gone")
    assert not await clock.compare(structlog.get_logger())
    assert is_about(clock.now_ms(), now_ms() + 30_000)


async def test_an_answer_that_took_long_is_not_exact_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ROUND_TRIP_MS_MAX", -1)
    redis = RedisInMemory()
    redis.ahead_ms = 30_000
    clock = RedisClock(redis.send)
    assert not await clock.compare(structlog.get_logger())
    assert is_about(clock.now_ms(), now_ms())


async def test_a_worker_ahead_of_the_clock_carries_out_what_is_in_time_by_redis_clock() -> None:
    redis, worker = RedisInMemory(), Worker("payment")
    redis.ahead_ms = -30_000

    @worker.handler("payment.charge")
    async def charge(data: dict[str, object], context: StepContext) -> dict[str, object]:
        return {"has_time_left": context.remaining_seconds > 10}

    clock = RedisClock(redis.send)
    await clock.read()
    replies = Replies(redis.send, acknowledgement, NAMES, lambda _: None, structlog.get_logger())
    dispatcher = dispatcher_of(worker.handlers, replies, redis, now_ms=clock.now_ms)
    running = asyncio.create_task(replies.run())
    dispatcher.accept([command_entry(1, deadline_in_ms=-10_000)])
    await dispatcher.drain(10)
    await replies.flushed()
    await cancel([running])
    assert [reply.output for reply in redis.replies] == [{"has_time_left": True}]
