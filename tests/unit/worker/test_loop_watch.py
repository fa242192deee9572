"""A handler that blocks the event loop is told by name, with how long and where."""

from __future__ import annotations

import asyncio
import queue
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs

from saga_service.base.lifecycle import cancel
from saga_service.worker import Worker
from saga_service.worker import loop_watch as module
from saga_service.worker.loop_watch import LoopWatch
from saga_service.worker.replies import Replies
from tests.support.workers import NAMES, RedisInMemory, acknowledgement, command_entry, dispatcher_of


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BLOCKED_S", 0.1)
    monkeypatch.setattr(module, "MARK_EVERY_S", 0.02)


def compute(blocked_s: float) -> None:
    until_s = time.monotonic() + blocked_s
    while time.monotonic() < until_s:
        pass


def wait_for_a_library(blocked_s: float) -> None:
    with suppress(queue.Empty):
        queue.Queue[None]().get(timeout=blocked_s)


async def lines_of(blocked_s: float, block: Callable[[float], None] = compute) -> list[dict[str, Any]]:
    redis, worker = RedisInMemory(), Worker("payment")

    @worker.handler("payment.charge")
    async def charge(data: dict[str, Any]) -> None:
        block(blocked_s)

    replies = Replies(redis.send, acknowledgement, NAMES, lambda _: None, structlog.get_logger())
    dispatcher = dispatcher_of(worker.handlers, replies, redis)
    blocked_again = asyncio.Event()
    watch = LoopWatch(dispatcher.handler_of, structlog.get_logger())
    with capture_logs() as logs:
        running = [asyncio.create_task(watch.run()), asyncio.create_task(replies.run())]
        await asyncio.sleep(0)
        dispatcher.accept([command_entry(1)])
        # The handler is over before the watch has its turn, and is still known then.
        asyncio.get_running_loop().call_later(0.1, blocked_again.set)
        await blocked_again.wait()
        await dispatcher.drain(10)
        await cancel(running)
    return [dict(line) for line in logs if "blocked the event loop" in line["event"]]


@pytest.mark.parametrize("block", [compute, wait_for_a_library])
async def test_a_handler_that_blocks_the_loop_is_told_by_name_and_line(block: Callable[[float], None]) -> None:
    (line,) = await lines_of(0.5, block)
    assert line["log_level"] == "warning"
    assert "charge' of 'payment.charge' blocked the event loop for" in line["event"]
    assert line["at"].startswith(__file__)


async def test_a_short_computation_is_no_news() -> None:
    assert await lines_of(0.01) == []
