"""Deliveries at once, lost links, paused workers: the row's lock and the marks decide."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg
import pytest

from saga_service.base.lifecycle import cancel
from saga_service.core.vocabulary import Outcome
from saga_service.worker import (
    PostgresInbox,
    Rejected,
    StepContext,
    Worker,
)
from tests.support.inbox import ACTION, CHARGE, PROBE, UNDO, Payment, fault_code, nothing, output
from tests.support.locks import waits_for_locks


async def test_deliveries_at_once_have_one_effect_and_one_answer(transactional: Payment) -> None:
    replies = await asyncio.gather(*(transactional.deliver() for _ in range(8)))
    assert [output(reply) for reply in replies] == [{"by": 1}] * 8
    assert (transactional.calls, await transactional.effects()) == ([("action", 1)], ["action"])


async def test_what_a_handler_wrote_before_it_rejected_is_rolled_back(transactional: Payment) -> None:
    async def rejects(context: StepContext) -> None:
        raise Rejected("no_funds", "not enough")

    transactional.inside = rejects
    await transactional.deliver()
    assert await transactional.effects() == []


async def test_an_older_attempt_waits_for_the_newer_and_does_nothing_after_it(transactional: Payment) -> None:
    inside, go_on = asyncio.Event(), asyncio.Event()

    async def holds(context: StepContext) -> None:
        inside.set()
        await go_on.wait()

    transactional.inside = holds
    newer = asyncio.create_task(transactional.deliver(attempt=2))
    await inside.wait()
    older = asyncio.create_task(transactional.deliver(attempt=1))
    undo = asyncio.create_task(transactional.deliver(PROBE))
    await waits_for_locks(transactional.ledger, 2)
    go_on.set()
    assert [output(await each) for each in (newer, older, undo)] == [{"by": 2}] * 3
    assert transactional.calls == [("action", 2)]


async def test_an_older_attempt_is_skipped_after_the_newer_was_rejected(payment: Payment) -> None:
    async def rejects(context: StepContext) -> None:
        raise Rejected("no_funds", "not enough")

    payment.inside = rejects
    await payment.deliver(attempt=2)
    payment.inside = nothing
    assert await payment.deliver(attempt=1) is None
    assert payment.calls == [("action", 2)]


async def test_a_link_lost_in_the_handler_rolls_back_and_a_retry_has_the_effect(
    transactional: Payment,
) -> None:
    async def loses_its_link(context: StepContext) -> None:
        transactional.inside = nothing
        await _end_other_sessions(transactional.ledger)

    transactional.inside = loses_its_link
    assert output(await transactional.deliver()) == {"by": 1}, "recording failed, so it was carried out anew"
    assert transactional.calls == [("action", 1)] * 2
    assert await transactional.effects() == ["action"]


async def test_an_idle_transaction_is_timed_out_by_the_server_with_its_lock(
    transactional: Payment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("saga_service.worker.inbox.exactly_once.IDLE_TRANSACTION_GRACE_MS", 200)
    forgotten, never = asyncio.Event(), asyncio.Event()

    async def forgets(context: StepContext) -> None:
        forgotten.set()
        await never.wait()

    transactional.inside = forgets
    paused = asyncio.create_task(transactional.deliver(deadline_in_ms=100))
    await forgotten.wait()
    transactional.inside = nothing
    async with asyncio.timeout(10):
        assert output(await transactional.deliver(attempt=2)) == {"by": 2}
    never.set()
    replied = await paused
    assert replied is None or replied.outcome is not Outcome.SUCCEEDED or output(replied) == {"by": 2}
    assert await transactional.effects() == ["action"]


async def test_a_cancelled_handler_leaves_no_lock_and_no_open_transaction(transactional: Payment, dsn: str) -> None:
    inside = asyncio.Event()

    async def hangs(context: StepContext) -> None:
        inside.set()
        await asyncio.Event().wait()

    transactional.inside = hangs

    async def deliver() -> None:
        await transactional.deliver()

    cancelled = asyncio.create_task(deliver())
    await inside.wait()
    cancelled.cancel()
    # As the worker does with one that does not heed it.
    await cancel([cancelled])
    transactional.inside = nothing
    async with asyncio.timeout(10):
        assert output(await transactional.deliver()) == {"by": 1}
        assert output(await transactional.deliver()) == {"by": 1}
    assert await transactional.effects() == ["action"]
    assert (
        await transactional.ledger.fetchval(
            "select count(*) from pg_stat_activity where datname = current_database() and state like 'idle in%'"
        )
        == 0
    )


async def test_a_handler_that_leaves_its_transaction_broken_fails(transactional: Payment, dsn: str) -> None:
    worker = Worker("payment", inbox=PostgresInbox(dsn))

    @worker.handler(CHARGE)
    async def charge(command: dict[str, Any], connection: asyncpg.Connection) -> None:
        try:
            await connection.execute("select 1 / 0")
        except asyncpg.DivisionByZeroError:
            return

    transactional.worker = worker
    assert fault_code(await transactional.deliver()) == (Outcome.FAILED, "InFailedSQLTransactionError")


async def test_an_undo_of_what_was_begun_and_never_ended_calls_its_handler(recorded: Payment) -> None:
    await _dies_after_its_effect(recorded)
    assert fault_code(await recorded.deliver(PROBE)) == (Outcome.FAILED, "in_doubt")
    assert output(await recorded.deliver(UNDO)) == {"by": 1}
    assert await recorded.effects() == ["action", "compensation"]
    assert await recorded.deliver() is None, "nobody knows whether it happened, and it must not happen now"


async def test_what_was_begun_and_never_ended_is_carried_out_again(recorded: Payment) -> None:
    await _dies_after_its_effect(recorded)
    assert output(await recorded.deliver()) == {"by": 1}
    assert await recorded.effects() == ["action", "action"], "only the idempotency key helps here"


async def test_an_older_attempt_is_fenced_once_a_newer_has_begun(recorded: Payment) -> None:
    inside, go_on = asyncio.Event(), asyncio.Event()

    async def holds(context: StepContext) -> None:
        inside.set()
        await go_on.wait()

    recorded.inside = holds
    newer = asyncio.create_task(recorded.deliver(attempt=2))
    await inside.wait()
    assert await recorded.deliver(attempt=1) is None
    go_on.set()
    assert output(await newer) == {"by": 2}
    assert recorded.calls == [("action", 2)]


async def test_an_action_that_ends_while_it_is_undone_is_undone_again(recorded: Payment) -> None:
    gates = {ACTION: (asyncio.Event(), asyncio.Event()), UNDO: (asyncio.Event(), asyncio.Event())}

    async def holds(context: StepContext) -> None:
        inside, go_on = gates[context.direction]
        inside.set()
        await go_on.wait()

    recorded.inside = holds
    action = asyncio.create_task(recorded.deliver())
    await gates[ACTION][0].wait()
    undo = asyncio.create_task(recorded.deliver(UNDO))
    await gates[UNDO][0].wait()
    gates[ACTION][1].set()
    assert output(await action) == {"by": 1}
    gates[UNDO][1].set()
    assert fault_code(await undo) == (Outcome.FAILED, "action_ended_meanwhile")
    assert output(await recorded.deliver(UNDO, 2)) == {"by": 2}
    assert recorded.calls == [("action", 1), ("compensation", 1), ("compensation", 2)]


async def test_a_rejection_beside_another_call_is_not_recorded(recorded: Payment) -> None:
    gates = [(asyncio.Event(), asyncio.Event()) for _ in range(2)]

    async def holds(context: StepContext) -> None:
        number = len(recorded.calls) - 1
        inside, go_on = gates[number]
        inside.set()
        await go_on.wait()
        if number == 0:
            raise Rejected("no_funds", "not enough")

    recorded.inside = holds
    first = asyncio.create_task(recorded.deliver())
    await gates[0][0].wait()
    second = asyncio.create_task(recorded.deliver())
    await gates[1][0].wait()
    gates[0][1].set()
    assert fault_code(await first) == (Outcome.REJECTED, "no_funds")
    assert fault_code(await recorded.deliver(PROBE)) == (Outcome.FAILED, "in_doubt")
    gates[1][1].set()
    assert output(await second) == {"by": 1}
    assert output(await recorded.deliver(PROBE)) == {"by": 1}


async def _dies_after_its_effect(payment: Payment) -> None:
    inside = asyncio.Event()

    async def never_ends(context: StepContext) -> None:
        inside.set()
        await asyncio.Event().wait()

    payment.inside = never_ends
    dying = asyncio.create_task(payment.deliver())
    await inside.wait()
    dying.cancel()
    await asyncio.wait([dying])
    payment.inside = nothing


async def _end_other_sessions(connection: asyncpg.Connection) -> None:
    await connection.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity"
        " where datname = current_database() and pid <> pg_backend_pid()"
    )
