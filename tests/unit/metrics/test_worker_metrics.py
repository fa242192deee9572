"""What a worker's commands count for: by what became of them, as its handlers run."""

from __future__ import annotations

import asyncio
from typing import Any

import structlog

from saga_service.base.clock import now_ms
from saga_service.base.lifecycle import cancel
from saga_service.core.state import Fault
from saga_service.core.vocabulary import Outcome
from saga_service.metrics import declarations
from saga_service.metrics.declarations import Metric
from saga_service.metrics.measurements import Labels, Measurements
from saga_service.metrics.worker_metrics import WorkerMetrics, worker_metrics
from saga_service.wire.replies import outcome_of, write_failure, write_progress, write_success
from saga_service.wire.transport import TransportUnavailable
from saga_service.worker import Rejected, Worker
from saga_service.worker.lease import LeaseRenewal, PendingEntries
from saga_service.worker.replies import Replies
from tests.support.fakes import backoffs
from tests.support.workers import NAMES, RedisInMemory, acknowledgement, command, command_entry, dispatcher_of

__all__ = ["backoffs"]
AWAY = TransportUnavailable("redis is away")
payment = Worker("payment")


@payment.handler("payment.charge")
async def charge(data: dict[str, Any]) -> dict[str, Any]:
    if data.get("too_much"):
        raise Rejected("too_much", "more than there is")
    return {}


def counted(measurements: Measurements, metric: Metric) -> dict[Labels, float]:
    return dict(measurements.counter(metric))


async def test_commands_count_by_handler_and_by_what_was_replied() -> None:
    measurements, redis = Measurements(), RedisInMemory()
    metrics = WorkerMetrics(measurements, "payment")
    replies = Replies(redis.send, acknowledgement, NAMES, lambda _: None, structlog.get_logger())
    dispatcher = dispatcher_of(payment.handlers, replies, redis, concurrency=4, observer=metrics)
    sending = asyncio.create_task(replies.run())
    added_ms = now_ms() - 2_000
    dispatcher.accept([
        command_entry(1, f"{added_ms}-0"),
        command_entry(2, f"{added_ms}-1"),
        command_entry(3, f"{added_ms}-2", data={"too_much": True}),
    ])  # fmt: skip
    async with asyncio.timeout(10):
        await dispatcher.drain(10)
        await replies.flushed()
    await cancel([sending])

    assert counted(measurements, declarations.COMMANDS) == {
        ("payment", "payment.charge", "succeeded"): 2,
        ("payment", "payment.charge", "rejected"): 1,
    }
    durations = measurements.histogram(declarations.HANDLER_DURATION).series["payment", "payment.charge"]
    waits = measurements.histogram(declarations.COMMAND_WAIT).series["payment",]
    assert (sum(durations.counts), sum(waits.counts)) == (3, 3)
    assert 6.0 <= waits.sum < 60.0


async def test_a_command_without_a_reply_counts_as_one() -> None:
    measurements = Measurements()
    WorkerMetrics(measurements, "payment").ended(command(), None, 1.0)
    assert counted(measurements, declarations.COMMANDS) == {("payment", "payment.charge", "none"): 1}


async def test_replies_that_are_sent_again_count(backoffs: list[float]) -> None:
    measurements, redis = Measurements(), RedisInMemory()
    metrics = WorkerMetrics(measurements, "payment")
    redis.faults.then(AWAY, AWAY)
    replies = Replies(
        redis.send, acknowledgement, NAMES, lambda _: None, structlog.get_logger(), metrics.replies_retried
    )
    sending = asyncio.create_task(replies.run())
    asked = command()
    replies.send(write_success(asked.reply_to, asked.id, asked.saga_id, {}), command_entry())
    async with asyncio.timeout(10):
        await replies.flushed()
    await cancel([sending])
    assert counted(measurements, declarations.REPLIES_RETRIED) == {("payment",): 2}


async def test_commands_that_another_worker_has_taken_over_count() -> None:
    measurements, pending = Measurements(), PendingEntries()
    pending.add(["1-0", "2-0", "3-0"])

    async def renew_two_of_three(_: object) -> int:
        return 2

    metrics = WorkerMetrics(measurements, "payment")
    await LeaseRenewal(pending, renew_two_of_three, 0, structlog.get_logger(), metrics.leases_lost).renew_due()
    assert counted(measurements, declarations.LEASES_LOST) == {("payment",): 1}


def test_the_load_of_each_worker_is_told_beside_the_others() -> None:
    measurements, observer_of = Measurements(), worker_metrics(Measurements())
    assert worker_metrics(None) is None
    assert observer_of is not None
    for service, slots in (("payment", 4), ("stock", 8)):
        WorkerMetrics(measurements, service).look_at(lambda: 1, slots, lambda: 0)
    gauges = dict(measurements.gauges())
    assert gauges[declarations.SLOTS] == [(("payment",), 4), (("stock",), 8)]
    assert gauges[declarations.IN_HAND] == [(("payment",), 1), (("stock",), 1)]


def test_the_outcome_of_a_reply_is_where_it_is_looked_for() -> None:
    asked = command()
    place = (asked.reply_to, asked.id, asked.saga_id)
    assert outcome_of(write_success(*place, {"outcome": "failed"})) == "succeeded"
    assert outcome_of(write_progress(*place)) == "progress"
    for outcome in (Outcome.FAILED, Outcome.REJECTED, Outcome.UNKNOWN):
        assert outcome_of(write_failure(*place, outcome, Fault("outcome", "succeeded"))) == outcome.value
