"""The test kit: real handlers in virtual time."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from datetime import UTC, datetime
from itertools import count
from typing import Any

import asyncpg
import pytest
from pydantic import BaseModel

from saga_service.core.vocabulary import Direction, OnUnknown
from saga_service.testing import NeverEnds, SimulatedSaga, Simulation
from saga_service.worker import PostgresInbox, Rejected, Retryable, StepContext, Worker
from tests.support.builders import ONCE, RETRY, definition, step

MINUTE_MS = 60_000


class Bill(BaseModel):
    amount: int


class Receipt(BaseModel):
    number: str
    attempt: int


def simulated_charge(worker: Worker, **more: Any) -> Simulation:
    charge = step("charge", retry=more.pop("retry", RETRY), timeout_ms=MINUTE_MS)
    return Simulation(definition("reserve", charge), [worker], **more)


def test_a_handler_gets_what_a_worker_gets() -> None:
    worker, seen = Worker("service"), []

    @worker.handler("service.reserve")
    async def reserve(bill: Bill) -> dict[str, int]:
        return {"shelf": bill.amount + 1}

    @worker.handler("service.charge")
    async def charge(bill: Bill, context: StepContext) -> Receipt:
        seen.append((bill, context.outputs, context.direction, context.idempotency_key, context.deadline))
        return Receipt(number="R-1", attempt=context.attempt)

    sim = simulated_charge(worker, now=datetime(2030, 1, 1, tzinfo=UTC))
    saga = sim.start("order", {"amount": 6})
    sim.run()
    assert seen == [
        (
            Bill(amount=6),
            {"reserve": {"shelf": 7}},
            Direction.ACTION,
            f"{saga.id}:charge:action",
            datetime(2030, 1, 1, 0, 1, tzinfo=UTC),
        )
    ]
    assert saga.output("charge") == {"number": "R-1", "attempt": 1}


def test_what_handlers_raise_is_what_the_saga_hears() -> None:
    worker = Worker("service")

    @worker.handler("service.reserve")
    async def reserve(bill: Bill) -> None: ...

    @worker.handler("service.undo-reserve")
    async def release(bill: Bill) -> None: ...

    @worker.handler("service.charge")
    async def charge(bill: Bill, context: StepContext) -> None:
        if context.attempt == 1:
            raise Retryable("busy", delay=7)
        raise Rejected("no_funds", "there is no money")

    sim = simulated_charge(worker)
    saga = sim.start("order", {"amount": 6})
    sim.run()
    assert saga.sent == ["0s reserve", "0s charge", "7s charge (attempt 2)", "7s undo of reserve"]
    assert (saga.status, saga.error) == ("compensated", "no_funds")


def test_a_command_without_a_handler_is_answered_as_a_worker_would() -> None:
    worker = Worker("service")

    @worker.handler("service.reserve")
    async def reserve(bill: Bill) -> None: ...

    sim = simulated_charge(worker, retry=ONCE)
    saga = sim.start("order", {"amount": 6})
    sim.until(saga, lambda: saga.error is not None)
    assert saga.error == "unknown_command"


def test_commands_of_a_service_without_a_worker_succeed() -> None:
    sim = Simulation(definition("reserve"), [Worker("other")])
    saga = sim.start("order")
    sim.run()
    assert (saga.status, saga.output("reserve")) == ("completed", {})


def test_a_script_comes_before_the_handler() -> None:
    worker, carried_out = Worker("service"), []

    @worker.handler("service.charge")
    async def charge(bill: Bill, context: StepContext) -> None:
        carried_out.append(context.attempt)

    sim = simulated_charge(worker, jitter=False)
    sim.on("service.reserve").succeeds()
    sim.on("service.charge").times_out().handled().reply_lost()
    saga = sim.start("order", {"amount": 6})
    sim.run()
    # The first was lost on its way, the reply to the second on its way back.
    assert carried_out == [2, 3]
    assert saga.sent[1:] == ["0s charge", "1m 0.2s charge (attempt 2)", "2m 0.6s charge (attempt 3)"]


def test_a_command_delivered_twice_is_carried_out_twice_with_one_key() -> None:
    worker, keys = Worker("service"), []

    @worker.handler("service.charge")
    async def charge(bill: Bill, context: StepContext) -> None:
        keys.append(context.idempotency_key)

    sim = simulated_charge(worker)
    sim.on("service.reserve").succeeds()
    sim.on("service.charge").handled().twice()
    saga = sim.start("order", {"amount": 6})
    sim.run()
    assert keys == [f"{saga.id}:charge:action"] * 2
    assert saga.status == "completed"


def test_a_handlers_sleep_takes_no_time_and_counts() -> None:
    worker, remaining = Worker("service"), []

    @worker.handler("service.reserve")
    async def reserve(bill: Bill) -> None:
        await asyncio.sleep(12.5)

    @worker.handler("service.charge")
    async def charge(bill: Bill, context: StepContext) -> None:
        for _ in range(2):
            await asyncio.gather(asyncio.sleep(10), asyncio.sleep(20))
            remaining.append(context.remaining_seconds)

    began = time.monotonic()
    sim = simulated_charge(worker)
    saga = sim.start("order", {"amount": 6})
    sim.run()
    assert saga.sent == ["0s reserve", "12.5s charge"]
    assert saga.ended_after == "52.5s"
    assert remaining == [40, 20]
    assert time.monotonic() - began < 10


def test_a_handler_is_cancelled_after_its_deadline_and_gives_no_answer() -> None:
    worker, ended = Worker("service"), []

    @worker.handler("service.charge")
    async def charge(bill: Bill) -> None:
        try:
            await asyncio.sleep(3_600)
        finally:
            ended.append("cancelled")

    sim = simulated_charge(worker, retry=ONCE)
    sim.on("service.reserve").succeeds()
    sim.on("service.undo-charge").succeeds()
    sim.on("service.undo-reserve").succeeds()
    saga = sim.start("order", {"amount": 6})
    sim.run()
    assert ended == ["cancelled"]
    assert saga.sent == ["0s reserve", "0s charge", "1m undo of charge", "1m undo of reserve"]
    assert saga.error == "timeout"


def test_what_a_cancelled_handler_still_returns_is_heard() -> None:
    worker = Worker("service")

    @worker.handler("service.charge")
    async def charge(bill: Bill) -> dict[str, str]:
        try:
            await asyncio.sleep(3_600)
        except asyncio.CancelledError:
            return {"number": "R-1"}
        return {}

    sim = simulated_charge(worker)
    sim.on("service.reserve").succeeds()
    saga = sim.start("order", {"amount": 6})
    sim.until(saga, lambda: saga.output("charge") is not None)
    # Between the deadline and the next attempt's answer there is the second of grace.
    assert sim.elapsed == "1m 1s"
    assert saga.output("charge") == {"number": "R-1"}


def test_a_handler_that_does_not_heed_its_cancellation_gives_no_answer() -> None:
    worker = Worker("service")

    @worker.handler("service.charge")
    async def charge(bill: Bill) -> None:
        for _ in range(2):
            try:
                await asyncio.sleep(3_600)
            except asyncio.CancelledError:
                continue

    sim = simulated_charge(worker, retry=ONCE)
    for other in ("reserve", "undo-reserve", "undo-charge"):
        sim.on(f"service.{other}").succeeds()
    saga = sim.start("order", {"amount": 6})
    sim.run()
    assert (saga.status, saga.error) == ("compensated", "timeout")


def test_a_handlers_signs_of_life_arrive_when_it_gives_them() -> None:
    worker = Worker("service")

    @worker.handler("service.charge")
    async def charge(bill: Bill, context: StepContext) -> None:
        for _ in range(5):
            await context.progress()
            await asyncio.sleep(4)

    sim = Simulation(definition(step("charge", retry=ONCE, heartbeat_ms=5_000)), [worker])
    saga = sim.start("order", {"amount": 6})
    sim.run()
    progressed = [entry for entry in saga.history if entry.event == "action_progressed"]
    assert [entry.at_ms - saga.state.created_at_ms for entry in progressed] == [0, 4_000, 8_000, 12_000, 16_000]
    assert (saga.status, saga.ended_after) == ("completed", "20s")


def test_no_virtual_time_passes_while_a_thread_is_at_work() -> None:
    worker = Worker("service")

    @worker.handler("service.charge")
    async def charge(bill: Bill) -> dict[str, int]:
        async with asyncio.timeout(5):
            return {"sum": await asyncio.to_thread(sum, range(2_000_000))}

    sim = Simulation(definition("charge"), [worker])
    saga = sim.start("order", {"amount": 6})
    sim.run()
    assert saga.output("charge") == {"sum": 1_999_999_000_000}
    assert saga.ended_after == "0s"


def test_sockets_are_really_waited_for() -> None:
    worker = Worker("service")

    @worker.handler("service.charge")
    async def charge(bill: Bill) -> dict[str, str]:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(await reader.readline())
            writer.close()
            await writer.wait_closed()

        async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
            host, port = server.sockets[0].getsockname()
            reader, writer = await asyncio.open_connection(host, port)
            writer.write(b"hello\n")
            said = await reader.readline()
            writer.close()
            await writer.wait_closed()
            return {"said": said.decode()}

    sim = Simulation(definition("charge"), [worker])
    saga = sim.start("order", {"amount": 6})
    sim.run()
    assert saga.output("charge") == {"said": "hello\n"}
    assert saga.ended_after == "0s"


def test_a_handler_that_never_waits_is_told() -> None:
    worker = Worker("service")

    @worker.handler("service.charge")
    async def charge(bill: Bill) -> None:
        for turn in count():
            await asyncio.sleep(turn * 0)

    sim = Simulation(definition("charge"), [worker])
    sim.start("order", {"amount": 6})
    with pytest.raises(NeverEnds, match="and no time passed"):
        sim.run()


async def test_a_simulation_runs_within_an_async_test() -> None:
    worker = Worker("service")

    @worker.handler("service.charge")
    async def charge(bill: Bill) -> None:
        await asyncio.sleep(29)

    sim = Simulation(definition("charge"), [worker])
    saga = sim.start("order", {"amount": 6})
    sim.run()
    assert (saga.status, saga.ended_after) == ("completed", "29s")


def worker_with_inbox() -> Worker:
    # Nothing is opened: the simulation keeps the inbox in memory.
    return Worker("service", inbox=PostgresInbox("postgresql://nowhere/"))


def test_with_an_inbox_a_repeat_is_answered_and_not_carried_out_again() -> None:
    worker, carried_out = worker_with_inbox(), []

    @worker.handler("service.charge")
    async def charge(bill: Bill, context: StepContext) -> dict[str, int]:
        carried_out.append(context.attempt)
        return {"by_attempt": context.attempt}

    sim = Simulation(definition("charge"), [worker], jitter=False)
    sim.on("service.charge").handled().reply_lost()
    saga = sim.start("order", {"amount": 6})
    sim.run()
    assert carried_out == [1]
    assert saga.attempts("charge") == 2
    assert saga.output("charge") == {"by_attempt": 1}


def test_with_an_inbox_what_never_happened_is_undone_without_the_handler() -> None:
    worker, undone = worker_with_inbox(), []

    @worker.handler("service.charge")
    async def charge(bill: Bill) -> None: ...

    @worker.handler("service.undo-charge", undoes="service.charge")
    async def refund(bill: Bill, context: StepContext) -> None:
        undone.append(context.attempt)

    def run(*, reply_is_lost: bool) -> SimulatedSaga:
        sim = Simulation(definition(step("charge", retry=ONCE)), [worker])
        if reply_is_lost:
            sim.on("service.charge").handled().reply_lost()
        else:
            sim.on("service.charge").times_out()
        saga = sim.start("order", {"amount": 6})
        sim.run()
        return saga

    assert (run(reply_is_lost=False).undone, undone) == (["charge"], [])
    assert (run(reply_is_lost=True).undone, undone) == (["charge"], [1])


def test_an_inbox_answers_probes() -> None:
    worker, carried_out = worker_with_inbox(), []

    @worker.handler("service.charge")
    async def charge(bill: Bill, context: StepContext) -> None:
        carried_out.append(context.attempt)

    worker.answer_probes("service.was-charged", of="service.charge")
    asked = replace(step("charge"), on_unknown=OnUnknown.PROBE, probe="service.was-charged")
    sim = Simulation(definition(asked), [worker], jitter=False)
    sim.on("service.charge").times_out().handled().reply_lost()
    saga = sim.start("order", {"amount": 6})
    sim.run()
    assert saga.sent == [
        "0s charge",
        "30s probe of charge",
        "30.2s charge (attempt 2)",
        "1m 0.2s probe of charge (attempt 2)",
    ]
    assert (saga.status, carried_out) == ("completed", [2])


def test_with_an_inbox_a_probe_may_have_a_handler_of_its_own() -> None:
    worker = worker_with_inbox()

    @worker.handler("service.was-charged")
    async def was_charged(bill: Bill) -> dict[str, str]:
        return {"found": "R-1"}

    asked = replace(step("charge"), on_unknown=OnUnknown.PROBE, probe="service.was-charged")
    sim = Simulation(definition(asked), [worker])
    sim.on("service.charge").times_out()
    saga = sim.start("order", {"amount": 6})
    sim.run()
    assert (saga.status, saga.output("charge")) == ("completed", {"found": "R-1"})


def test_a_transactional_handler_is_given_the_stand_in_connection() -> None:
    worker = worker_with_inbox()
    written: list[tuple[int, object]] = []

    @worker.handler("service.charge")
    async def charge(bill: Bill, context: StepContext, connection: asyncpg.Connection) -> None:
        written.append((context.attempt, connection))
        if context.attempt == 1:
            raise Retryable("the row is locked")

    sim = Simulation(definition("charge"), [worker], connection="a stand-in")
    saga = sim.start("order", {"amount": 6})
    sim.run()
    assert written == [(1, "a stand-in"), (2, "a stand-in")]
    assert saga.status == "completed"
    without = Simulation(definition("charge"), [worker])
    without.start("order", {"amount": 6})
    with pytest.raises(ValueError, match="takes a connection, and here is no server"):
        without.run()


def test_a_rejection_is_on_record_and_repeated() -> None:
    worker, calls = worker_with_inbox(), []

    @worker.handler("service.charge")
    async def charge(bill: Bill, context: StepContext) -> None:
        calls.append(context.attempt)
        raise Rejected("no_funds", "there is no money")

    sim = Simulation(definition("charge"), [worker])
    sim.on("service.charge").handled().twice()
    saga = sim.start("order", {"amount": 6})
    sim.run()
    assert (calls, saga.error, saga.status) == ([1], "no_funds", "compensated")


def test_a_handlers_own_heartbeat_keeps_its_attempt_alive() -> None:
    worker = Worker("service")

    @worker.handler("service.charge", heartbeat=2.0)
    async def charge(bill: Bill) -> None:
        await asyncio.sleep(20)

    sim = Simulation(definition(replace(step("charge", retry=ONCE), heartbeat_ms=5_000)), [worker])
    saga = sim.start("order", {"amount": 6})
    sim.run()
    assert (saga.status, saga.ended_after) == ("completed", "20s")


def test_two_workers_for_one_service_are_refused() -> None:
    with pytest.raises(ValueError, match="more than one worker for the service 'service'"):
        Simulation(definition("charge"), [Worker("service"), Worker("service")])
