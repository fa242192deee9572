"""Workers on a real server: every command is carried out, answered, then acknowledged, whatever happens meanwhile."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError
from structlog.testing import capture_logs

from saga_service.base.lifecycle import cancel
from saga_service.core.vocabulary import Outcome
from saga_service.local.servers.redis import EmbeddedRedis
from saga_service.streams.pipeline import add, send
from saga_service.wire.dead_letters import read_dead_letter
from saga_service.worker import StepContext, Worker, WorkerCannotStart, WorkerOptions, loop_watch, run_workers
from tests.support.waiting import eventually
from tests.support.workers import GROUP, NAMES, STREAM, entries_in, message, replies_in, saga_id

LONG_MS = 60_000
STREAM_OF_SHIPPING = NAMES.commands("shipping")


class Payment:
    """A worker that counts, and holds back the answers of those sagas that it is told to."""

    def __init__(self, concurrency: int = 64) -> None:
        self.carried_out: list[str] = []
        self.held_back: set[str] = set()
        self.let_go = asyncio.Event()
        self.worker = Worker("payment", concurrency=concurrency)

        @self.worker.handler("payment.charge")
        async def charge(data: dict[str, Any], context: StepContext) -> dict[str, Any]:
            self.carried_out.append(context.saga_id)
            if context.saga_id in self.held_back:
                await context.progress()
                await self.let_go.wait()
            return {"charged": data["amount"]}

    def hold_back(self, *numbers: int) -> None:
        self.held_back.update(saga_id(number) for number in numbers)

    def has_begun(self, *numbers: int) -> Callable[[], bool]:
        return lambda: {saga_id(number) for number in numbers} <= set(self.carried_out)

    @asynccontextmanager
    async def running(self, options: WorkerOptions) -> AsyncIterator[asyncio.Event]:
        """At work in a task; what comes at the end is a stop in good order, if there was none before."""
        stop = asyncio.Event()
        task = asyncio.create_task(run_workers([self.worker], options, stop=stop))
        try:
            yield stop
        finally:
            self.let_go.set()
            stop.set()
            async with asyncio.timeout(20):
                await task


def options_for(redis_url: str, **more: Any) -> WorkerOptions:
    return replace(
        WorkerOptions(redis_url=redis_url, read_block_ms=500, reclaim_period_ms=50, reclaim_idle_ms=LONG_MS), **more
    )


@pytest.fixture
def options(any_redis_url: str) -> WorkerOptions:
    return options_for(any_redis_url)


@pytest.fixture
def payment() -> Payment:
    return Payment()


async def order(client: Redis, *numbers: int, **more: Any) -> None:
    await send(client, [add(message(number, **more)) for number in numbers])


async def pending(client: Redis) -> int:
    return int((await client.execute_command("XPENDING", STREAM, GROUP))[0])


async def consumers(client: Redis) -> list[str]:
    rows = await client.execute_command("XINFO", "CONSUMERS", STREAM, GROUP)
    return [dict(zip(row[::2], row[1::2], strict=True))[b"name"].decode() for row in rows]


def answered(client: Redis, *numbers: int) -> Callable[[], Any]:
    """Whether every one of them has an answer, and nothing is left to acknowledge."""

    async def all_of_them() -> bool:
        replied = {reply.saga_id for reply in await replies_in(client) if reply.outcome is Outcome.SUCCEEDED}
        assert replied >= {saga_id(number) for number in numbers}, f"{len(replied)} of {len(numbers)}"
        left = await pending(client)
        assert left == 0, f"{left} pending"
        return True

    return all_of_them


async def test_commands_are_carried_out_answered_and_acknowledged(
    client: Redis, options: WorkerOptions, payment: Payment
) -> None:
    numbers = range(300)
    await order(client, *numbers)
    async with payment.running(options):
        await eventually(answered(client, *numbers))
        await order(client, 1_000)
        await eventually(answered(client, 1_000))
    assert sorted(payment.carried_out) == sorted(saga_id(number) for number in (*numbers, 1_000))
    assert all(reply.output == {"charged": 5} for reply in await replies_in(client))


async def test_commands_sent_before_the_first_worker_ran_are_carried_out(
    client: Redis, options: WorkerOptions, payment: Payment
) -> None:
    await order(client, 1)
    async with payment.running(options):
        await eventually(answered(client, 1))


async def test_no_more_run_at_once_than_the_worker_or_the_options_say(client: Redis, options: WorkerOptions) -> None:
    payment = Payment(concurrency=2)
    payment.hold_back(*range(6))
    await order(client, *range(6))
    async with payment.running(options):
        await eventually(payment.has_begun(0, 1))
        assert await pending(client) == 2, "the others are left for workers that have room"
        payment.let_go.set()
        await eventually(answered(client, *range(6)))
    second = Payment(concurrency=2)
    second.hold_back(*range(6, 12))
    await order(client, *range(6, 12))
    async with second.running(replace(options, consumer_name="second", concurrency=3)):
        await eventually(second.has_begun(6, 7, 8))
        assert await pending(client) == 3


async def test_workers_of_a_service_share_its_commands(client: Redis, options: WorkerOptions) -> None:
    first, second = Payment(concurrency=5), Payment(concurrency=5)
    numbers = range(400)
    async with first.running(options), second.running(replace(options, consumer_name="second")):
        await order(client, *numbers)
        await eventually(answered(client, *numbers))
    assert sorted(first.carried_out + second.carried_out) == sorted(saga_id(number) for number in numbers)
    assert first.carried_out
    assert second.carried_out


async def test_workers_of_several_services_run_in_one_process(client: Redis, options: WorkerOptions) -> None:
    payment, shipping = Payment(), Worker("shipping")

    @shipping.handler("shipping.ship")
    async def ship(data: dict[str, Any]) -> None: ...

    stop = asyncio.Event()
    running = asyncio.create_task(run_workers([payment.worker, shipping], options, stop=stop))
    await order(client, 1)
    await order(client, 2, command_type="shipping.ship")
    await eventually(answered(client, 1, 2))
    stop.set()
    await running


async def test_a_sign_of_life_comes_while_the_handler_is_at_work(
    client: Redis, options: WorkerOptions, payment: Payment
) -> None:
    payment.hold_back(1)
    await order(client, 1)
    async with payment.running(options):
        (reply,) = await eventually(lambda: replies_in(client))
        assert reply.outcome is Outcome.PROGRESS


async def test_a_malformed_entry_becomes_a_dead_letter_and_the_next_is_carried_out(
    client: Redis, options: WorkerOptions, payment: Payment
) -> None:
    poison = (await client.execute_command("XADD", STREAM, "*", b"id", b"\xff\x00")).decode()
    await order(client, 1)
    async with payment.running(options):
        await eventually(answered(client, 1))
    (entry,) = await entries_in(client, NAMES.dead_letters)
    letter = read_dead_letter(entry)
    assert (letter.stream, letter.entry_id) == (STREAM, poison)
    assert letter.reason == "field 'id' is not valid UTF-8: invalid start byte at byte 0"


async def test_a_command_that_comes_twice_while_it_runs_is_carried_out_once(
    client: Redis, options: WorkerOptions, payment: Payment
) -> None:
    payment.hold_back(1)
    await order(client, 1, 1, 1)
    await order(client, 2)
    async with payment.running(options):
        await eventually(payment.has_begun(1, 2))
        payment.let_go.set()
        await eventually(answered(client, 1, 2))
    assert payment.carried_out.count(saga_id(1)) == 1


async def test_what_a_dead_worker_left_is_taken_over(client: Redis, options: WorkerOptions, payment: Payment) -> None:
    numbers = range(200)
    await order(client, *numbers)
    await client.execute_command("XGROUP", "CREATE", STREAM, GROUP, "0")
    await client.execute_command("XREADGROUP", "GROUP", GROUP, "dead", "COUNT", 1_000, "STREAMS", STREAM, ">")
    async with payment.running(replace(options, reclaim_idle_ms=50)):
        await eventually(answered(client, *numbers))


async def test_what_runs_longer_than_others_wait_is_not_taken_over(client: Redis, any_redis_url: str) -> None:
    reclaim_idle_ms = 150
    options = options_for(any_redis_url, reclaim_idle_ms=reclaim_idle_ms, reclaim_period_ms=20)
    first, second = Payment(), Payment()
    first.hold_back(1)
    await order(client, 1)
    async with first.running(options):
        await eventually(first.has_begun(1))
        began_s = time.monotonic()
        async with second.running(replace(options, consumer_name="second")):
            await eventually(lambda: time.monotonic() - began_s > 6 * reclaim_idle_ms / 1000)
            await order(client, 2)
            await eventually(lambda: saga_id(2) in first.carried_out + second.carried_out)
            assert saga_id(1) not in second.carried_out
            first.let_go.set()
            await eventually(answered(client, 1, 2))
    assert first.carried_out.count(saga_id(1)) == 1


async def test_a_stream_that_is_flushed_away_is_read_on(
    client: Redis, options: WorkerOptions, payment: Payment
) -> None:
    async with payment.running(options):
        await order(client, 1)
        await eventually(answered(client, 1))
        await client.execute_command("FLUSHDB")
        await order(client, 2)
        await eventually(answered(client, 2))


async def test_connections_that_are_cut_lose_nothing(client: Redis, options: WorkerOptions, random_seed: int) -> None:
    chance = random.Random(random_seed)
    payment = Payment(concurrency=20)
    numbers = range(2_000)
    async with payment.running(options):
        for start in range(0, len(numbers), 100):
            await order(client, *numbers[start : start + 100])
            if chance.random() < 0.4:
                await client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        await eventually(answered(client, *numbers), within_s=30)


async def test_replies_that_redis_has_no_room_for_are_kept_and_stay_pending(
    own_redis: EmbeddedRedis, own_client: Redis, payment: Payment
) -> None:
    numbers = range(10)
    payment.hold_back(*numbers)
    await order(own_client, *numbers)
    async with payment.running(options_for(own_redis.url, reclaim_idle_ms=150)):
        await eventually(payment.has_begun(*numbers))
        progress = await eventually(lambda: own_client.execute_command("XLEN", NAMES.replies))
        await own_client.execute_command("CONFIG", "SET", "maxmemory", 1)
        payment.let_go.set()
        began_s = time.monotonic()
        await eventually(lambda: time.monotonic() - began_s > 0.5, what="some tries are over")
        assert await own_client.execute_command("XLEN", NAMES.replies) == progress
        assert await pending(own_client) == len(numbers)
        await own_client.execute_command("CONFIG", "SET", "maxmemory", 0)
        await eventually(answered(own_client, *numbers))
    assert len(payment.carried_out) == len(numbers), "and none was carried out twice for it"


async def test_a_redis_that_is_killed_and_comes_back_is_waited_for(
    own_redis: EmbeddedRedis, own_client: Redis, payment: Payment
) -> None:
    payment.hold_back(1)
    await order(own_client, 1)
    async with payment.running(options_for(own_redis.url)):
        await eventually(payment.has_begun(1))
        own_redis.kill()
        payment.let_go.set()
        own_redis.start()
        await eventually(lambda: _is_there(own_client), what="the test's own connection is back")
        await order(own_client, 2)
        await eventually(answered(own_client, 1, 2))


async def test_a_redis_that_is_not_there_yet_is_waited_for(
    own_redis: EmbeddedRedis, own_client: Redis, payment: Payment
) -> None:
    own_redis.stop()
    async with payment.running(options_for(own_redis.url)):
        own_redis.start()
        await eventually(lambda: _is_there(own_client), what="the test's own connection is back")
        await order(own_client, 1)
        await eventually(answered(own_client, 1))


async def test_a_stop_while_redis_is_not_there_yet_just_ends(own_redis: EmbeddedRedis, payment: Payment) -> None:
    own_redis.stop()
    async with asyncio.timeout(10), payment.running(options_for(own_redis.url)):
        pass


async def _is_there(client: Redis) -> bool:
    try:
        return bool(await client.execute_command("PING"))
    except (RedisError, OSError) as error:
        raise AssertionError(error) from None


async def test_a_key_that_is_no_stream_keeps_the_worker_from_starting(
    client: Redis, options: WorkerOptions, payment: Payment
) -> None:
    await client.execute_command("SET", STREAM, "something else")
    with pytest.raises(
        WorkerCannotStart, match=f"worker 'payment' cannot read the stream '{STREAM}' in group 'payment'"
    ):
        await run_workers([payment.worker], options, stop=asyncio.Event())


async def test_a_stop_lets_what_runs_finish_and_leaves_nothing_behind(
    client: Redis, options: WorkerOptions, payment: Payment
) -> None:
    payment.hold_back(1)
    await order(client, 1)
    async with payment.running(options) as stop:
        await eventually(payment.has_begun(1))
        stop.set()
        payment.let_go.set()
    await answered(client, 1)()
    assert await consumers(client) == []


async def test_commands_that_come_during_a_shutdown_are_there_for_others(
    client: Redis, options: WorkerOptions, payment: Payment
) -> None:
    payment.hold_back(1)
    await order(client, 1)
    async with payment.running(options) as stop:
        await eventually(payment.has_begun(1))
        stop.set()
        await order(client, *range(2, 50))
    assert payment.carried_out == [saga_id(1)]
    successor = Payment()
    async with successor.running(replace(options, consumer_name="successor")):
        await eventually(answered(client, *range(1, 50)), within_s=LONG_MS / 1000 / 10)


async def test_what_does_not_finish_in_time_is_taken_over_at_once(
    client: Redis, options: WorkerOptions, payment: Payment
) -> None:
    payment.hold_back(1)
    await order(client, 1)
    stop = asyncio.Event()
    running = asyncio.create_task(run_workers([payment.worker], replace(options, shutdown_grace_ms=0), stop=stop))
    await eventually(payment.has_begun(1))
    stop.set()
    await running
    assert await pending(client) == 1
    successor = Payment()
    async with successor.running(replace(options, consumer_name="successor")):
        await eventually(answered(client, 1), within_s=LONG_MS / 1000 / 10)


async def test_what_a_read_that_was_cut_short_had_been_given_is_handed_back_too(
    client: Redis, options: WorkerOptions, payment: Payment
) -> None:
    async with payment.running(options):
        await order(client, 1)
        await eventually(answered(client, 1))
        # In one step, as if the worker itself had read and the reply had been lost.
        read = ("XREADGROUP", "GROUP", GROUP, options.consumer_name, "COUNT", 10, "STREAMS", STREAM, ">")
        await send(client, [("MULTI",), add(message(2)), read, ("EXEC",)])
    assert payment.carried_out == [saga_id(1)]
    successor = Payment()
    async with successor.running(replace(options, consumer_name="successor")):
        await eventually(answered(client, 1, 2), within_s=LONG_MS / 1000 / 10)


async def test_a_second_stop_ends_at_once_and_others_take_over_after_a_while(
    client: Redis, options: WorkerOptions, payment: Payment
) -> None:
    payment.hold_back(1)
    await order(client, 1)
    stop = asyncio.Event()
    running = asyncio.create_task(run_workers([payment.worker], replace(options, shutdown_grace_ms=LONG_MS), stop=stop))
    await eventually(payment.has_begun(1))
    stop.set()
    async with asyncio.timeout(5):
        await cancel([running])
    assert running.cancelled()
    assert await pending(client) == 1
    successor = Payment()
    async with successor.running(replace(options, consumer_name="successor", reclaim_idle_ms=50)):
        await eventually(answered(client, 1))


async def test_queued_commands_are_renewed_and_handed_back_at_a_shutdown(client: Redis, any_redis_url: str) -> None:
    begun: list[int] = []
    let_go, stop = asyncio.Event(), asyncio.Event()
    worker = Worker("payment", concurrency=4)

    @worker.handler("payment.charge", concurrency=1)
    async def charge(data: dict[str, Any]) -> None:
        begun.append(data["number"])
        await let_go.wait()

    @worker.handler("payment.refund")
    async def refund(data: dict[str, Any]) -> None: ...

    options = options_for(any_redis_url, reclaim_idle_ms=300)
    running = asyncio.create_task(run_workers([worker], options, stop=stop))
    for number in range(10):
        await order(client, number, data={"number": number})
    await order(client, 100, command_type="payment.refund")
    await eventually(partial(_has_replied, client, 100))
    other_stop = asyncio.Event()
    # What waits is renewed, or the other one would take it over.
    other = asyncio.create_task(run_workers([worker], replace(options, consumer_name="other"), stop=other_stop))
    await eventually(lambda: _consumers_are(client, 2))
    await asyncio.sleep(1)  # the length of three idle times: that nothing happens can only be waited for
    assert begun == [0]
    stop.set()
    let_go.set()
    await running
    await eventually(answered(client, *range(10)))
    assert sorted(begun) == list(range(10))
    other_stop.set()
    await other


async def test_a_handler_that_blocks_the_event_loop_is_told(
    client: Redis, options: WorkerOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop_watch, "BLOCKED_S", 0.1)
    monkeypatch.setattr(loop_watch, "MARK_EVERY_S", 0.02)
    payment, worker = Payment(), Worker("payment")

    @worker.handler("payment.charge")
    async def charge(data: dict[str, Any]) -> None:
        time.sleep(0.5)  # noqa: ASYNC251  # that is the point

    payment.worker = worker
    await order(client, 1)
    with capture_logs() as logs:
        async with payment.running(options):
            await eventually(answered(client, 1))
            await eventually(lambda: [line for line in logs if "blocked the event loop" in line["event"]])


async def _has_replied(client: Redis, number: int) -> bool:
    return saga_id(number) in {reply.saga_id for reply in await replies_in(client)}


async def _consumers_are(client: Redis, count: int) -> bool:
    return len(await consumers(client)) == count
