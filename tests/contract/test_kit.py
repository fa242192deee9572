"""The test kit keeps the service's promises: every scenario comes out the same in memory and on real servers.

A scenario is a story told to either system. Compared are the sagas' whole states, every line of their histories with
its moment and its messages, and the reasons of the dead letters.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

import asyncpg
import pytest
from pydantic import BaseModel
from redis.asyncio import Redis

from saga_service.base.postgres import close_pool
from saga_service.core.ids import saga_id_from_key
from saga_service.definitions import Retry, Saga, Step, Trigger
from saga_service.store.pool import create_pool
from saga_service.streams.connection import connect
from tests.contract.systems import NAMES, KitSystem, Observed, ServiceSystem, System

POSTGRES_CONNECTIONS_MAX = 2
EVENTS = NAMES.events


class Order(BaseModel):
    order_id: str
    amount: int = 1


class Approval(BaseModel):
    by: str = "somebody"
    places: int = 1


ORDER = Saga(
    "order",
    input=Order,
    key="order_id",
    triggers=[Trigger(stream="shop:orders")],
    steps=[
        Step("reserve", action="stock.reserve", compensation="stock.release"),
        Step("charge", action="payment.charge", compensation="payment.refund", retry=Retry(attempts=3), timeout="30s"),
        Step("ship", action="shipping.ship", retry=Retry(attempts=1)),
    ],
)
PURCHASE = Saga(
    "purchase",
    input=Order,
    key="order_id",
    steps=[
        Step("reserve", action="stock.reserve", compensation="stock.release"),
        Step("approval", signal="approved", timeout="10m", output=Approval),
        Step("buy", action="stock.buy"),
    ],
)
TOUR = Saga(
    "tour",
    input=Order,
    key="order_id",
    steps=[
        Step("book", action="travel.book", compensation="travel.unbook"),
        Step("purchase", saga="purchase", input={"order_id": "'item of ' + input.order_id"}),
        Step("guide", action="travel.guide", retry=Retry(attempts=1)),
    ],
)
GUARDED = Saga(
    "guarded",
    input=Order,
    key="order_id",
    steps=[
        Step("reserve", action="stock.reserve", compensation="stock.release", compensation_retry=Retry(attempts=2)),
        Step(
            "probed",
            action="payment.pay",
            compensation="payment.repay",
            probe="payment.find",
            on_unknown="probe",
            timeout="5s",
        ),
        Step("pause", sleep="1h"),
        Step("audit", action="audit.write", when="input.amount > 10", heartbeat="2s", timeout="1m"),
        Step("send", action="shipping.ship", kind="pivot", retry=Retry(attempts=1), on_unknown="hold"),
    ],
)
BRANCHED = Saga(
    "branched",
    input=Order,
    key="order_id",
    deadline="1h",
    steps=[
        Step("first", action="lab.first", compensation="lab.undo_first"),
        Step("left", action="lab.left", compensation="lab.undo_left", after="first", retry=Retry(attempts=1)),
        Step("right", action="lab.right", compensation="lab.undo_right", after="first", retry=Retry(attempts=1)),
        Step("joined", action="lab.joined", compensation="lab.undo_joined", after=["left", "right"]),
        Step("last", action="lab.last", after="joined"),
    ],
)
SAGAS = [ORDER, PURCHASE, TOUR, GUARDED, BRANCHED]


def order_data(key: str, amount: int = 1) -> str:
    return f'{{"order_id":"{key}","amount":{amount}}}'


async def start(system: System, saga: str, key: str, amount: int = 1, **fields: str) -> None:
    await system.add(EVENTS, type=saga, data=order_data(key, amount), **fields)


async def operate(system: System, operation: str, saga: str, key: str, **fields: str) -> None:
    await system.add(EVENTS, type=f"saga.{operation}", saga=saga, subject=key, actor="ada", **fields)


async def approve(system: System, saga: str, key: str, **fields: str) -> None:
    await system.add(EVENTS, type="approved", saga=saga, subject=key, data='{"by":"ada"}', **fields)


Scenario = Callable[[System], Awaitable[None]]


@dataclass(frozen=True)
class Case:
    """A scenario, and what it must come to: the status of the saga with each key, and the reasons of dead letters."""

    scenario: Scenario
    statuses: dict[str, str]
    dead_letters: int = 0

    def __str__(self) -> str:
        return self.scenario.__name__.replace("_", " ")


async def everything_succeeds(system: System) -> None:
    system.on("payment.charge").succeeds({"receipt": "R-1"}).after("2s")
    await start(system, "order", "A")
    await system.run()


async def a_stream_of_another_owner_starts_a_saga(system: System) -> None:
    await system.add("shop:orders", order_id="A", amount="30")
    await system.run()


async def one_key_starts_one_saga(system: System) -> None:
    await start(system, "order", "A", id="first")
    await start(system, "order", "A", id="second")
    await system.run()
    await start(system, "order", "A", id="third")
    await system.run()


async def one_event_starts_one_saga(system: System) -> None:
    for _ in range(2):
        await system.add(EVENTS, type="order", id="e-1", data=order_data("A"))
    await system.run()


async def attempts_fail_and_are_repeated(system: System) -> None:
    system.on("payment.charge").fails("busy").fails("busy", retry_after="7s").succeeds({"receipt": "R-1"})
    await start(system, "order", "A")
    await system.run()


async def attempts_time_out_and_are_repeated(system: System) -> None:
    system.on("payment.charge").times_out().succeeds().reply_lost().succeeds({"receipt": "R-1"})
    await start(system, "order", "A")
    await system.run()


async def a_late_reply_is_used(system: System) -> None:
    system.on("payment.charge").succeeds({"receipt": "R-1"}).after("31s").fails("busy").after("5s")
    await start(system, "order", "A")
    await system.run()


async def a_step_fails_for_good(system: System) -> None:
    system.on("payment.charge").fails("busy").always()
    await start(system, "order", "A")
    await system.run()


async def a_rejection_compensates_in_reverse_order(system: System) -> None:
    system.on("shipping.ship").rejects("no_such_address", "Nowhere 1")
    await start(system, "order", "A")
    await system.run()


async def a_reply_comes_twice(system: System) -> None:
    system.on("stock.reserve").succeeds().twice()
    system.on("shipping.ship").fails().twice()
    await start(system, "order", "A")
    await system.run()


async def a_signal_by_id_comes_in_time(system: System) -> None:
    await start(system, "purchase", "A")
    await system.advance("1m")
    saga_id = saga_id_from_key("purchase", "A")
    await system.add(EVENTS, type="approved", saga_id=saga_id, id="s-1", data='{"by":"ada"}')
    await system.add(EVENTS, type="approved", saga_id=saga_id, id="s-1", data='{"by":"ada"}')
    await system.run()


async def a_signal_by_key_comes_in_time(system: System) -> None:
    await start(system, "purchase", "A")
    await system.advance("1m")
    await system.add(EVENTS, type="approved", subject="A", id="s-1", data='{"by":"ada"}')
    await system.run()


async def a_signal_comes_before_its_step(system: System) -> None:
    system.on("stock.reserve").succeeds().after("20s")
    await start(system, "purchase", "A")
    await approve(system, "purchase", "A", id="s-1")
    await system.run()


async def a_signal_by_key_comes_before_its_saga(system: System) -> None:
    await approve(system, "purchase", "A", id="s-1")
    await system.advance("3s")
    await start(system, "purchase", "A")
    await system.run()


async def a_signal_by_id_comes_before_its_saga(system: System) -> None:
    await system.add(EVENTS, type="approved", saga_id=saga_id_from_key("purchase", "A"), id="s-1", data="{}")
    await start(system, "purchase", "A")
    await system.run()


async def a_signal_does_not_fit_and_comes_again(system: System) -> None:
    await start(system, "tour", "T")
    await system.advance("1m")
    await system.add(EVENTS, type="approved", saga="purchase", subject="item of T", id="s-1", data='{"by": 5}')
    await system.advance("1m")
    fitting = '{"by": "ada", "places": 2.0}'
    await system.add(EVENTS, type="approved", saga="purchase", subject="item of T", id="s-1", data=fitting)
    await system.run()


async def a_signal_that_comes_early_does_not_fit(system: System) -> None:
    system.on("stock.reserve").succeeds().after("20s")
    await start(system, "purchase", "A")
    await system.add(EVENTS, type="approved", subject="A", id="s-1", data='{"places": "two"}')
    await approve(system, "purchase", "A", id="s-2")
    await system.run()


async def a_signal_names_the_step_that_it_answers(system: System) -> None:
    await start(system, "purchase", "A")
    await approve(system, "purchase", "A", id="s-1", step="buy")
    await approve(system, "purchase", "A", id="s-2", step="approval")
    await system.run()


async def a_signal_for_no_saga_is_refused_at_last(system: System) -> None:
    await approve(system, "purchase", "nobody", id="s-1")
    await system.add(EVENTS, type="approved", saga_id=saga_id_from_key("purchase", "no one"), id="s-2")
    await system.run()


async def a_signal_never_comes(system: System) -> None:
    await start(system, "purchase", "A")
    await system.run()


async def a_signal_comes_after_the_wait(system: System) -> None:
    await start(system, "purchase", "A")
    await system.run()
    await approve(system, "purchase", "A", id="s-1")
    await system.run()


async def a_signal_by_key_reaches_a_child(system: System) -> None:
    await start(system, "tour", "T")
    await system.advance("1m")
    await approve(system, "purchase", "item of T", id="s-1")
    await system.run()


async def a_signal_by_key_comes_before_its_child(system: System) -> None:
    system.on("travel.book").succeeds().after("10s")
    await start(system, "tour", "T")
    await approve(system, "purchase", "item of T", id="s-1")
    await system.run()


async def a_signal_by_key_reaches_an_ended_child(system: System) -> None:
    await start(system, "tour", "T")
    await system.run()
    await approve(system, "purchase", "item of T", id="s-1")
    await system.run()


async def a_child_is_compensated_with_its_parent(system: System) -> None:
    system.on("travel.guide").rejects("no_guide")
    await start(system, "tour", "T")
    await system.advance("1m")
    await approve(system, "purchase", "item of T", id="s-1")
    await system.run()


async def a_child_fails_with_its_step(system: System) -> None:
    await start(system, "tour", "T")
    await system.run()


async def a_parent_is_cancelled_while_its_child_waits(system: System) -> None:
    await start(system, "tour", "T")
    await system.advance("1m")
    await operate(system, "cancel", "tour", "T", reason="rain")
    await system.run()


async def a_child_is_cancelled_by_key(system: System) -> None:
    await start(system, "tour", "T")
    await system.advance("1m")
    await operate(system, "cancel", "purchase", "item of T")
    await system.run()


async def an_operation_comes_before_its_saga(system: System) -> None:
    system.on("stock.reserve").succeeds().after("20s")
    await operate(system, "pause", "order", "A")
    await system.advance("1s")
    await start(system, "order", "A")
    await system.run()


async def a_saga_is_paused_and_resumed(system: System) -> None:
    system.on("stock.reserve").succeeds().after("5s")
    await start(system, "order", "A")
    await operate(system, "pause", "order", "A", reason="stocktaking")
    await system.advance("1h")
    await operate(system, "resume", "order", "A")
    await system.run()


async def a_saga_is_cancelled(system: System) -> None:
    system.on("payment.charge").times_out()
    await start(system, "order", "A")
    await system.advance("1s")
    await operate(system, "cancel", "order", "A")
    await system.run()


async def a_completed_saga_is_compensated(system: System) -> None:
    await start(system, "order", "A")
    await system.run()
    await operate(system, "cancel", "order", "A")
    await operate(system, "compensate", "order", "A", reason="returned")
    await system.run()


async def a_failed_compensation_is_retried(system: System) -> None:
    system.on("payment.pay").rejects("no_funds")
    system.on("stock.release").fails("locked").times(2)
    await start(system, "guarded", "G")
    await system.run()
    await operate(system, "retry", "guarded", "G")
    await system.run()


async def a_failed_compensation_is_skipped(system: System) -> None:
    system.on("payment.pay").rejects("no_funds")
    system.on("stock.release").rejects("gone")
    await start(system, "guarded", "G")
    await system.run()
    await operate(system, "skip", "guarded", "G", step="reserve")
    await system.run()


async def a_step_in_doubt_is_resolved(system: System) -> None:
    system.on("shipping.ship").times_out()
    await start(system, "guarded", "G")
    await system.run()
    await operate(system, "resolve", "guarded", "G", step="send", resolution="succeeded", data='{"parcel":7}')
    await system.run()


async def a_probe_says_that_it_happened(system: System) -> None:
    system.on("payment.pay").succeeds({"id": 7}).reply_lost()
    system.on("payment.find").fails("busy").succeeds({"id": 7})
    await start(system, "guarded", "G")
    await system.run()


async def a_probe_says_that_it_did_not_happen(system: System) -> None:
    system.on("payment.pay").times_out().succeeds({"id": 8})
    system.on("payment.find").rejects("not_found")
    await start(system, "guarded", "G")
    await system.run()


async def heartbeats_keep_an_attempt_alive(system: System) -> None:
    system.on("audit.write").succeeds().after("50s").heartbeats("1s").times_out()
    await start(system, "guarded", "G", amount=11)
    await system.run()


async def heartbeats_stop(system: System) -> None:
    system.on("audit.write").succeeds().reply_lost().heartbeats("1s").succeeds().after("1s")
    await start(system, "guarded", "G", amount=11)
    await system.run()


async def branches_join(system: System) -> None:
    system.on("lab.left").succeeds({"by": "left"}).after("5s")
    system.on("lab.right").succeeds({"by": "right"}).after("2s")
    await start(system, "branched", "B")
    await system.run()


async def one_branch_fails_while_the_other_is_at_work(system: System) -> None:
    system.on("lab.left").succeeds().after("5s")
    system.on("lab.right").rejects("no").after("2s")
    await start(system, "branched", "B")
    await system.run()


async def the_deadline_passes(system: System) -> None:
    system.on("lab.last").fails("busy", retry_after="20m").always()
    await start(system, "branched", "B")
    await system.run()


async def entries_that_cannot_be_used(system: System) -> None:
    saga_id = saga_id_from_key("order", "A")
    await system.add(EVENTS, type="order", data="{")
    await system.add(EVENTS, type="order", data='{"amount":1}')
    await system.add(EVENTS, type="order", data=order_data("A"), subject="x" * 501)
    await system.add(EVENTS, type="unheard.of", saga_id="A")
    await system.add(EVENTS, type="unheard.of")
    await system.add(EVENTS, data="{}")
    await system.add(EVENTS, type="approved", data="{}")
    await system.add(EVENTS, type="saga.dance", saga_id=saga_id)
    await system.add(EVENTS, type="saga.resolve", saga_id=saga_id, resolution="perhaps")
    await system.add(EVENTS, type="saga.child.start", saga="order", command_id="nonsense")
    await system.add("shop:orders", amount="many")
    await system.run()


async def replies_that_cannot_be_used(system: System) -> None:
    saga_id = saga_id_from_key("order", "A")
    system.on("stock.reserve").succeeds().after("1m")
    await start(system, "order", "A")
    await system.add(NAMES.replies, command_id="nonsense", outcome="succeeded")
    await system.add(NAMES.replies, command_id=f"{saga_id}:reserve:action:1", outcome="perhaps")
    await system.add(NAMES.replies, command_id=f"{saga_id}:reserve:action:9", outcome="succeeded")
    await system.add(NAMES.replies, command_id=f"{saga_id}:elsewhere:action:1", outcome="succeeded")
    nobody = saga_id_from_key("order", "nobody")
    await system.add(NAMES.replies, command_id=f"{nobody}:reserve:action:1", outcome="succeeded")
    await system.run()


async def an_output_that_cannot_be_read(system: System) -> None:
    saga_id = saga_id_from_key("order", "A")
    system.on("stock.reserve").succeeds().after("1m")
    await start(system, "order", "A")
    await system.add(NAMES.replies, command_id=f"{saga_id}:reserve:action:1", outcome="succeeded", data="[]")
    await system.run()


async def operations_that_are_refused(system: System) -> None:
    await start(system, "order", "A")
    await system.run()
    for operation in ("resume", "pause", "retry", "skip", "cancel"):
        await operate(system, operation, "order", "A")
    await operate(system, "retry", "order", "A", step="elsewhere")
    await operate(system, "cancel", "order", "nobody")
    await system.run()


CASES = [
    Case(everything_succeeds, {"A": "completed"}),
    Case(a_stream_of_another_owner_starts_a_saga, {"A": "completed"}),
    Case(one_key_starts_one_saga, {"A": "completed"}),
    Case(one_event_starts_one_saga, {"A": "completed"}),
    Case(attempts_fail_and_are_repeated, {"A": "completed"}),
    Case(attempts_time_out_and_are_repeated, {"A": "completed"}),
    Case(a_late_reply_is_used, {"A": "completed"}),
    Case(a_step_fails_for_good, {"A": "compensated"}),
    Case(a_rejection_compensates_in_reverse_order, {"A": "compensated"}),
    Case(a_reply_comes_twice, {"A": "compensated"}),
    Case(a_signal_by_id_comes_in_time, {"A": "completed"}),
    Case(a_signal_by_key_comes_in_time, {"A": "completed"}),
    Case(a_signal_comes_before_its_step, {"A": "completed"}),
    Case(a_signal_by_key_comes_before_its_saga, {"A": "completed"}),
    Case(a_signal_by_id_comes_before_its_saga, {"A": "completed"}),
    Case(a_signal_does_not_fit_and_comes_again, {"T": "completed", "item of T": "completed"}, dead_letters=1),
    Case(a_signal_that_comes_early_does_not_fit, {"A": "completed"}, dead_letters=1),
    Case(a_signal_names_the_step_that_it_answers, {"A": "completed"}, dead_letters=1),
    Case(a_signal_for_no_saga_is_refused_at_last, {}, dead_letters=2),
    Case(a_signal_never_comes, {"A": "compensated"}),
    Case(a_signal_comes_after_the_wait, {"A": "compensated"}, dead_letters=1),
    Case(a_signal_by_key_reaches_a_child, {"T": "completed", "item of T": "completed"}),
    Case(a_signal_by_key_comes_before_its_child, {"T": "completed", "item of T": "completed"}),
    Case(a_signal_by_key_reaches_an_ended_child, {"T": "compensated", "item of T": "compensated"}, dead_letters=1),
    Case(a_child_is_compensated_with_its_parent, {"T": "compensated", "item of T": "compensated"}),
    Case(a_child_fails_with_its_step, {"T": "compensated", "item of T": "compensated"}),
    Case(a_parent_is_cancelled_while_its_child_waits, {"T": "compensated", "item of T": "compensated"}),
    Case(a_child_is_cancelled_by_key, {"T": "compensated", "item of T": "compensated"}),
    Case(an_operation_comes_before_its_saga, {"A": "paused"}),
    Case(a_saga_is_paused_and_resumed, {"A": "completed"}),
    Case(a_saga_is_cancelled, {"A": "compensated"}),
    Case(a_completed_saga_is_compensated, {"A": "compensated"}, dead_letters=1),
    Case(a_failed_compensation_is_retried, {"G": "compensated"}),
    Case(a_failed_compensation_is_skipped, {"G": "compensated"}),
    Case(a_step_in_doubt_is_resolved, {"G": "completed"}),
    Case(a_probe_says_that_it_happened, {"G": "completed"}),
    Case(a_probe_says_that_it_did_not_happen, {"G": "completed"}),
    Case(heartbeats_keep_an_attempt_alive, {"G": "completed"}),
    Case(heartbeats_stop, {"G": "completed"}),
    Case(branches_join, {"B": "completed"}),
    Case(one_branch_fails_while_the_other_is_at_work, {"B": "compensated"}),
    Case(the_deadline_passes, {"B": "compensated"}),
    Case(entries_that_cannot_be_used, {}, dead_letters=11),
    Case(replies_that_cannot_be_used, {"A": "completed"}, dead_letters=5),
    Case(an_output_that_cannot_be_read, {"A": "compensated"}, dead_letters=1),
    Case(operations_that_are_refused, {"A": "completed"}, dead_letters=7),
]


@pytest.fixture
async def pool(postgres_dsn: str) -> AsyncIterator[asyncpg.Pool]:
    pool = await create_pool(postgres_dsn, POSTGRES_CONNECTIONS_MAX)
    yield pool
    await close_pool(pool)


@pytest.fixture
async def client(redis_url: str) -> AsyncIterator[Redis]:
    client = connect(redis_url)
    yield client
    await client.aclose()


async def outcome(system: System, scenario: Scenario) -> Observed:
    await scenario(system)
    return await system.observe()


@pytest.mark.parametrize("case", CASES, ids=str)
async def test_the_kit_does_as_the_service(case: Case, pool: asyncpg.Pool, client: Redis) -> None:
    service = ServiceSystem(pool, client, SAGAS)
    await service.begin()
    real = await outcome(service, case.scenario)
    kit = await outcome(KitSystem(SAGAS), case.scenario)
    assert kit.history == real.history
    assert kit.dead_letters == real.dead_letters
    assert kit.sagas == real.sagas
    assert {state.key: state.status.value for state in real.sagas.values()} == case.statuses
    assert len(real.dead_letters) == case.dead_letters
