"""A command that this process cannot carry out waits for one that can, within its own time-out."""

from __future__ import annotations

import asyncio
from typing import Any

import structlog
from structlog.testing import capture_logs

from saga_service.wire.commands import read_command
from saga_service.wire.entries import Entry, Message
from saga_service.wire.transport import TransportUnavailable
from saga_service.worker.execution import unknown_command
from saga_service.worker.handover import ANSWERED_BEFORE_S, PAUSE_S_MAX, PAUSE_S_MIN, Handover
from tests.support.waiting import eventually
from tests.support.workers import RedisInMemory, command_entry, understood

START_MS = 1_700_000_000_000


class Waiting:
    """A handover in a time of its own."""

    def __init__(self) -> None:
        self.redis = RedisInMemory()
        self.now_ms = START_MS
        self.slept: list[float] = []
        self.sent: list[Message] = []
        self.gone: list[str] = []
        self.handover = Handover(
            self.redis.pass_on,
            lambda message, _: self.sent.append(message),
            self.gone.append,
            lambda: self.now_ms,
            structlog.get_logger(),
            self.sleep,
        )

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now_ms += round(seconds * 1000)
        await asyncio.sleep(0)

    async def take(self, left_s: float, **more: Any) -> Entry:
        entry = command_entry(1)
        entry = Entry(
            entry.stream,
            entry.id,
            {**entry.fields, b"deadline": str(self.now_ms + round(left_s * 1000)).encode()},
            **more,
        )
        command = read_command(entry)
        self.handover.take(command, entry, unknown_command(command, []), "no handler")
        await eventually(lambda: not len(self.handover))
        return entry


async def test_a_command_is_passed_on_as_it_is_after_a_part_of_its_time() -> None:
    waiting = Waiting()
    entry = await waiting.take(61)
    assert (waiting.redis.passed_on, waiting.slept) == ([entry], [6.0])
    assert (waiting.sent, waiting.gone) == ([], [entry.id])


async def test_shortly_before_its_deadline_it_is_answered() -> None:
    waiting = Waiting()
    await waiting.take(ANSWERED_BEFORE_S)
    assert (waiting.redis.passed_on, waiting.slept) == ([], [])
    replied = understood(waiting.sent[0])
    assert replied.fault is not None
    assert replied.fault.code == "unknown_command"


async def test_a_stream_with_old_workers_alone_is_no_hot_loop() -> None:
    waiting = Waiting()
    until_ms = START_MS + 60_000
    while not waiting.sent:
        await waiting.take((until_ms - waiting.now_ms) / 1000)
    assert len(waiting.redis.passed_on) < 60
    assert all(PAUSE_S_MIN <= pause <= PAUSE_S_MAX for pause in waiting.slept)
    assert until_ms - 2_000 < waiting.now_ms < until_ms, "it was answered in time"


async def test_a_week_is_waited_in_pauses_of_half_a_minute() -> None:
    waiting = Waiting()
    await waiting.take(7 * 24 * 3600)
    assert waiting.slept == [PAUSE_S_MAX]


async def test_a_command_type_is_warned_about_once() -> None:
    waiting = Waiting()
    with capture_logs() as logs:
        await waiting.take(61)
        await waiting.take(61)
    assert [(line["log_level"], line["type"]) for line in logs] == [("warning", "payment.charge")]


async def test_while_redis_is_away_it_is_tried_again() -> None:
    waiting = Waiting()
    waiting.redis.faults.then(TransportUnavailable("gone"))
    await waiting.take(61)
    assert (len(waiting.slept), len(waiting.redis.passed_on)) == (2, 1)


async def test_a_stop_waits_for_nothing() -> None:
    waiting = Waiting()
    entry = command_entry(1)
    command = read_command(entry)
    waiting.handover._sleep = lambda _: asyncio.Event().wait()  # type: ignore[assignment, return-value]  # for ever
    waiting.handover.take(command, entry, unknown_command(command, []), "no handler")
    await asyncio.sleep(0)
    waiting.handover.stop()
    await eventually(lambda: not len(waiting.handover))
    assert (waiting.redis.passed_on, waiting.sent) == ([], [])
