"""Effects that happen once, with a real Postgres: deliveries at once, lost replies, undos that come first, outages."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any

import asyncpg
import pytest
from structlog.testing import capture_logs

from saga_service.base.tasks import cancel
from saga_service.core.events import Replied
from saga_service.core.vocabulary import Direction, Outcome
from saga_service.local.servers import EmbeddedServers
from saga_service.wire.commands import read_command
from saga_service.worker import (
    PostgresInbox,
    Rejected,
    Retryable,
    StepContext,
    Worker,
    WorkerCannotStart,
    WorkerOptions,
    run_workers,
)
from saga_service.worker.execution import execute
from saga_service.worker.inbox import OpenInbox
from saga_service.worker.inbox.connection import REPLY_PART, REPLY_S_MIN
from tests.end_to_end.proxy import Proxy, postgres_proxy
from tests.support.workers import command_entry, saga_id, understood

ACTION, UNDO, PROBE = Direction.ACTION, Direction.COMPENSATION, Direction.PROBE
CHARGE, REFUND, FIND = "payment.charge", "payment.refund", "payment.find_charge"
TYPES = {ACTION: CHARGE, UNDO: REFUND, PROBE: FIND}
REPLY_BYTES_MAX = 10_000

Hook = Callable[[StepContext], Awaitable[None]]


async def nothing(context: StepContext) -> None:
    """What happens inside a handler besides its effect."""


class Payment:
    """A worker in two kinds, on a ledger in the inbox's own database: each call of a handler writes a line."""

    def __init__(self, inbox: OpenInbox, dsn: str, ledger: asyncpg.Connection, *, transactional: bool) -> None:
        self.inside: Hook = nothing
        self.calls: list[tuple[str, int]] = []
        self.ledger = ledger
        self._inbox = inbox
        self.worker = Worker("payment", inbox=PostgresInbox(dsn))

        async def write(context: StepContext, connection: Any) -> dict[str, Any]:
            self.calls.append((context.direction.value, context.attempt))
            await connection.execute("insert into ledger values ($1, $2)", context.saga_id, context.direction.value)
            await self.inside(context)
            return {"by": context.attempt}

        async def in_one_commit(
            command: dict[str, Any], context: StepContext, connection: asyncpg.Connection
        ) -> dict[str, Any]:
            return await write(context, connection)

        async def remembered(command: dict[str, Any], context: StepContext) -> dict[str, Any]:
            return await write(context, ledger)

        handler = in_one_commit if transactional else remembered
        self.worker.handler(CHARGE)(handler)
        self.worker.handler(REFUND, undoes=CHARGE)(handler)
        self.worker.answer_probes(FIND, of=CHARGE)

    async def deliver(
        self,
        direction: Direction = ACTION,
        attempt: int = 1,
        *,
        number: int = 1,
        was_delivered_before: bool = False,
        **more: Any,
    ) -> Replied | None:
        """The saga's side of one delivery; None where there is no reply."""
        entry = command_entry(number, direction=direction, attempt=attempt, command_type=TYPES[direction], **more)
        received = read_command(replace(entry, was_delivered_before=was_delivered_before))
        reply = await execute(
            self.worker.handlers[received.type],
            received,
            StepContext(received, lambda _: None),
            REPLY_BYTES_MAX,
            exactly_once=self._inbox.exactly_once,
        )
        return None if reply is None else understood(reply)

    async def effects(self) -> list[str]:
        return [row[0] for row in await self.ledger.fetch("select direction from ledger where saga_id = $1", saga_id())]


@pytest.fixture
async def dsn(blank_postgres_dsn: str) -> str:
    await asyncio.gather(*(PostgresInbox(blank_postgres_dsn).create_tables() for _ in range(10)))
    return blank_postgres_dsn


@pytest.fixture
async def inbox(dsn: str) -> AsyncIterator[OpenInbox]:
    async with PostgresInbox(dsn).open() as inbox:
        yield inbox


@pytest.fixture
async def ledger(dsn: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(dsn)
    await connection.execute("create table ledger (saga_id text, direction text)")
    yield connection
    await connection.close()


@pytest.fixture
def transactional(inbox: OpenInbox, dsn: str, ledger: asyncpg.Connection) -> Payment:
    return Payment(inbox, dsn, ledger, transactional=True)


@pytest.fixture
def remembered(inbox: OpenInbox, dsn: str, ledger: asyncpg.Connection) -> Payment:
    return Payment(inbox, dsn, ledger, transactional=False)


@pytest.fixture(params=["transactional", "remembered"])
def payment(request: pytest.FixtureRequest) -> Payment:
    either: Payment = request.getfixturevalue(request.param)
    return either


def fault_code(replied: Replied | None) -> tuple[Outcome, str]:
    assert replied is not None
    assert replied.fault is not None
    return replied.outcome, replied.fault.code


def output(replied: Replied | None) -> dict[str, Any]:
    assert replied is not None
    assert replied.outcome is Outcome.SUCCEEDED
    return dict(replied.output or {})


async def test_a_redelivery_and_a_later_attempt_are_answered_with_the_result_on_record(payment: Payment) -> None:
    assert [output(await payment.deliver(attempt=attempt)) for attempt in (1, 1, 2, 1, 3)] == [{"by": 1}] * 5
    assert payment.calls == [("action", 1)]
    assert await payment.effects() == ["action"]


async def test_what_asks_for_another_try_is_not_on_record_and_is_tried_again(payment: Payment) -> None:
    async def fails_first(context: StepContext) -> None:
        if context.attempt == 1:
            raise Retryable("busy", code="busy")

    payment.inside = fails_first
    assert fault_code(await payment.deliver()) == (Outcome.FAILED, "busy")
    assert output(await payment.deliver(attempt=2)) == {"by": 2}


async def test_a_rejection_is_repeated_and_a_persons_new_attempt_is_carried_out(payment: Payment) -> None:
    async def rejects_first(context: StepContext) -> None:
        if context.attempt == 1:
            raise Rejected("no_funds", "not enough")

    payment.inside = rejects_first
    for _ in range(2):
        assert fault_code(await payment.deliver()) == (Outcome.REJECTED, "no_funds")
    assert payment.calls == [("action", 1)], "the redelivery was answered from the record"
    assert output(await payment.deliver(attempt=2)) == {"by": 2}


async def test_an_undo_of_what_never_began_is_a_no_op_and_the_late_action_is_refused(payment: Payment) -> None:
    assert output(await payment.deliver(UNDO)) == {}
    assert fault_code(await payment.deliver()) == (Outcome.REJECTED, "undone_before_done")
    assert output(await payment.deliver(UNDO, 2)) == {}
    assert (payment.calls, await payment.effects()) == ([], [])


async def test_an_undo_of_what_was_done_is_carried_out_once(payment: Payment) -> None:
    await payment.deliver()
    assert [output(await payment.deliver(UNDO, attempt)) for attempt in (1, 1, 2)] == [{"by": 1}] * 3
    assert await payment.effects() == ["action", "compensation"]


async def test_an_action_that_the_saga_knows_of_is_undone_though_the_inbox_does_not(payment: Payment) -> None:
    done_before_there_was_an_inbox = {"charge": {"payment_id": "p-1"}}
    assert output(await payment.deliver(UNDO, outputs=done_before_there_was_an_inbox)) == {"by": 1}
    assert payment.calls == [("compensation", 1)]
    assert fault_code(await payment.deliver()) == (Outcome.REJECTED, "undone_before_done")


async def test_a_probe_is_answered_with_what_is_on_record(payment: Payment) -> None:
    await payment.deliver()
    assert output(await payment.deliver(PROBE)) == {"by": 1}
    assert payment.calls == [("action", 1)]


async def test_a_probe_that_says_no_keeps_what_was_sent_before_it_from_beginning(payment: Payment) -> None:
    assert fault_code(await payment.deliver(PROBE, deadline_in_ms=60_000)) == (Outcome.REJECTED, "did_not_happen")
    assert fault_code(await payment.deliver(deadline_in_ms=50_000)) == (Outcome.FAILED, "fenced_by_probe")
    assert payment.calls == []
    assert output(await payment.deliver(attempt=2, deadline_in_ms=70_000)) == {"by": 2}


async def test_the_type_that_answers_probes_does_nothing_else(payment: Payment) -> None:
    received = read_command(command_entry(1, command_type=FIND))
    reply = await execute(
        payment.worker.handlers[FIND], received, StepContext(received, lambda _: None), REPLY_BYTES_MAX
    )
    assert reply is not None
    assert fault_code(understood(reply)) == (Outcome.REJECTED, "not_a_probe")


async def test_of_two_deliveries_at_once_one_has_the_effect_and_both_have_its_answer(transactional: Payment) -> None:
    replies = await asyncio.gather(*(transactional.deliver() for _ in range(8)))
    assert [output(reply) for reply in replies] == [{"by": 1}] * 8
    assert (transactional.calls, await transactional.effects()) == ([("action", 1)], ["action"])


async def test_what_a_handler_wrote_before_it_rejected_is_undone(transactional: Payment) -> None:
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
    await _waits_for_a_lock(transactional.ledger, 2)
    go_on.set()
    assert [output(await each) for each in (newer, older, undo)] == [{"by": 2}] * 3
    assert transactional.calls == [("action", 2)]


async def test_an_older_attempt_after_a_rejection_of_the_newer_is_passed_over(payment: Payment) -> None:
    async def rejects(context: StepContext) -> None:
        raise Rejected("no_funds", "not enough")

    payment.inside = rejects
    await payment.deliver(attempt=2)
    payment.inside = nothing
    assert await payment.deliver(attempt=1) is None
    assert payment.calls == [("action", 2)]


async def test_a_link_that_is_lost_in_the_handler_undoes_it_and_another_try_has_the_effect(
    transactional: Payment,
) -> None:
    async def loses_its_link(context: StepContext) -> None:
        transactional.inside = nothing
        await _end_other_sessions(transactional.ledger)

    transactional.inside = loses_its_link
    assert output(await transactional.deliver()) == {"by": 1}, "recording failed, so it was carried out anew"
    assert transactional.calls == [("action", 1)] * 2
    assert await transactional.effects() == ["action"]


async def test_a_transaction_that_is_forgotten_is_ended_by_the_server_and_its_lock_goes(
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


async def test_a_handler_that_is_cancelled_again_and_again_leaves_no_lock_and_no_open_transaction(
    transactional: Payment, dsn: str
) -> None:
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


async def test_an_undo_of_what_was_begun_and_never_ended_calls_its_handler(remembered: Payment) -> None:
    await _dies_after_its_effect(remembered)
    assert fault_code(await remembered.deliver(PROBE)) == (Outcome.FAILED, "in_doubt")
    assert output(await remembered.deliver(UNDO)) == {"by": 1}
    assert await remembered.effects() == ["action", "compensation"]
    assert await remembered.deliver() is None, "nobody knows whether it happened, and it must not happen now"


async def test_what_was_begun_and_never_ended_is_carried_out_again(remembered: Payment) -> None:
    await _dies_after_its_effect(remembered)
    assert output(await remembered.deliver()) == {"by": 1}
    assert await remembered.effects() == ["action", "action"], "only the idempotency key helps here"


async def test_an_older_attempt_is_fenced_once_a_newer_has_begun(remembered: Payment) -> None:
    inside, go_on = asyncio.Event(), asyncio.Event()

    async def holds(context: StepContext) -> None:
        inside.set()
        await go_on.wait()

    remembered.inside = holds
    newer = asyncio.create_task(remembered.deliver(attempt=2))
    await inside.wait()
    assert await remembered.deliver(attempt=1) is None
    go_on.set()
    assert output(await newer) == {"by": 2}
    assert remembered.calls == [("action", 2)]


async def test_an_action_that_ends_while_it_is_undone_is_undone_again(remembered: Payment) -> None:
    gates = {ACTION: (asyncio.Event(), asyncio.Event()), UNDO: (asyncio.Event(), asyncio.Event())}

    async def holds(context: StepContext) -> None:
        inside, go_on = gates[context.direction]
        inside.set()
        await go_on.wait()

    remembered.inside = holds
    action = asyncio.create_task(remembered.deliver())
    await gates[ACTION][0].wait()
    undo = asyncio.create_task(remembered.deliver(UNDO))
    await gates[UNDO][0].wait()
    gates[ACTION][1].set()
    assert output(await action) == {"by": 1}
    gates[UNDO][1].set()
    assert fault_code(await undo) == (Outcome.FAILED, "action_ended_meanwhile")
    assert output(await remembered.deliver(UNDO, 2)) == {"by": 2}
    assert remembered.calls == [("action", 1), ("compensation", 1), ("compensation", 2)]


async def test_a_rejection_beside_another_call_is_not_the_whole_truth(remembered: Payment) -> None:
    gates = [(asyncio.Event(), asyncio.Event()) for _ in range(2)]

    async def holds(context: StepContext) -> None:
        number = len(remembered.calls) - 1
        inside, go_on = gates[number]
        inside.set()
        await go_on.wait()
        if number == 0:
            raise Rejected("no_funds", "not enough")

    remembered.inside = holds
    first = asyncio.create_task(remembered.deliver())
    await gates[0][0].wait()
    second = asyncio.create_task(remembered.deliver())
    await gates[1][0].wait()
    gates[0][1].set()
    assert fault_code(await first) == (Outcome.REJECTED, "no_funds")
    assert fault_code(await remembered.deliver(PROBE)) == (Outcome.FAILED, "in_doubt")
    gates[1][1].set()
    assert output(await second) == {"by": 1}
    assert output(await remembered.deliver(PROBE)) == {"by": 1}


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


async def test_old_rows_are_removed_in_batches_and_young_ones_stay(
    payment: Payment, inbox: OpenInbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("saga_service.worker.inbox.postgres.REMOVED_AT_ONCE_MAX", 3)
    await payment.ledger.execute(
        "insert into saga_worker.inbox (saga_id, step, action_mark, action_attempt, undo_mark, undo_attempt,"
        " fenced_until_ms, created_at)"
        " select gen_random_uuid(), 's', 'done', 1, 'never', 0, 0, now() - interval '31 days'"
        " from generate_series(1, 8)"
    )
    await payment.deliver()
    assert await inbox.remove_old() == 8
    assert await payment.ledger.fetchval("select count(*) from saga_worker.inbox") == 1


async def test_a_worker_whose_inbox_has_no_table_says_what_to_run(blank_postgres_dsn: str, redis_url: str) -> None:
    worker = Worker("payment", inbox=PostgresInbox(blank_postgres_dsn))

    @worker.handler(CHARGE)
    async def charge(command: dict[str, Any]) -> None: ...

    with pytest.raises(WorkerCannotStart, match="run: saga-service worker-migrate"):
        await run_workers([worker], WorkerOptions(redis_url=redis_url), stop=asyncio.Event())


async def test_a_pool_of_the_authors_own_is_used_and_left_open(dsn: str, ledger: asyncpg.Connection) -> None:
    async with asyncpg.create_pool(dsn, min_size=1, max_size=2) as pool:
        async with PostgresInbox(pool).open() as inbox:
            payment = Payment(inbox, dsn, ledger, transactional=True)
            assert output(await payment.deliver()) == {"by": 1}
        assert await pool.fetchval("select count(*) from saga_worker.inbox") == 1


async def test_a_command_waits_while_postgres_is_away_and_is_failed_only_if_nothing_was_done() -> None:
    with EmbeddedServers() as servers:
        dsn = servers.postgres_dsn
        await PostgresInbox(dsn).create_tables()
        ledger = await asyncpg.connect(dsn)
        await ledger.execute("create table ledger (saga_id text, direction text)")
        async with PostgresInbox(dsn).open() as inbox:
            payment = Payment(inbox, dsn, ledger, transactional=True)
            await ledger.close()
            servers.postgres.kill()
            with capture_logs() as logs:
                assert fault_code(await payment.deliver(deadline_in_ms=400)) == (Outcome.FAILED, "inbox_unavailable")
            assert [line["event"] for line in logs if line["log_level"] == "warning"] == [
                "the inbox is unavailable; trying again"
            ]
            waiting = asyncio.create_task(payment.deliver(attempt=2))
            await asyncio.to_thread(servers.postgres.start)
            async with asyncio.timeout(30):
                assert output(await waiting) == {"by": 2}


class Away:
    """A worker whose Postgres can be taken from it, and that tells how long before its deadline it answered."""

    def __init__(self, payment: Payment, proxy: Proxy) -> None:
        self.payment = payment
        self.proxy = proxy

    async def answers(self, deadline_in_ms: int, **more: Any) -> tuple[Replied | None, float]:
        ends_at_s = time.monotonic() + deadline_in_ms / 1000
        replied = await self.payment.deliver(deadline_in_ms=deadline_in_ms, **more)
        return replied, ends_at_s - time.monotonic()


@pytest.fixture(params=["transactional", "remembered"])
async def away(request: pytest.FixtureRequest, dsn: str, ledger: asyncpg.Connection) -> AsyncIterator[Away]:
    async with postgres_proxy(dsn) as (proxy, through_it), PostgresInbox(through_it).open() as inbox:
        yield Away(Payment(inbox, dsn, ledger, transactional=request.param == "transactional"), proxy)
        proxy.flow()


@pytest.mark.parametrize("link", ["refused", "silent"])
@pytest.mark.parametrize("deadline_in_ms", [6_000, 500], ids=["in time", "late"])
async def test_what_was_not_done_is_said_before_the_deadline_and_not_long_before(
    away: Away, link: str, deadline_in_ms: int
) -> None:
    if link == "refused":
        await away.proxy.close()
    else:
        away.proxy.stall()
    replied, left_s = await away.answers(deadline_in_ms)
    assert fault_code(replied) == (Outcome.FAILED, "inbox_unavailable")
    assert 0 < left_s <= max(deadline_in_ms / 1000 * REPLY_PART, REPLY_S_MIN)


async def test_what_came_at_the_last_moment_is_tried_once_and_answered(away: Away) -> None:
    await away.proxy.close()
    replied, left_s = await away.answers(80)
    assert fault_code(replied) == (Outcome.FAILED, "inbox_unavailable")
    assert left_s > 0


async def test_of_what_another_worker_had_before_nobody_says_that_it_was_not_done(away: Away) -> None:
    replied, _ = await away.answers(60_000)
    assert output(replied) == {"by": 1}
    # The one that did it died before it could say so, and then its Postgres went away as well.
    await away.proxy.close()
    replied, left_s = await away.answers(500, was_delivered_before=True)
    assert replied is None
    assert left_s > 0
    await away.proxy.open()
    replied, _ = await away.answers(60_000, was_delivered_before=True)
    assert output(replied) == {"by": 1}


@pytest.mark.parametrize("away", ["remembered"], indirect=True)
async def test_what_its_handler_did_is_said_before_the_deadline_though_it_cannot_be_recorded(away: Away) -> None:
    async def loses_its_postgres(context: StepContext) -> None:
        await away.proxy.close()

    away.payment.inside = loses_its_postgres
    replied, left_s = await away.answers(1_000)
    assert output(replied) == {"by": 1}
    assert left_s > 0


async def test_a_command_for_which_no_connection_is_free_is_failed_before_its_deadline(
    dsn: str, ledger: asyncpg.Connection
) -> None:
    inside, go_on = asyncio.Event(), asyncio.Event()

    async def holds(context: StepContext) -> None:
        inside.set()
        await go_on.wait()

    async with PostgresInbox(dsn, connections_max=1).open() as inbox:
        payment = Payment(inbox, dsn, ledger, transactional=True)
        payment.inside = holds
        holding = asyncio.create_task(payment.deliver())
        await inside.wait()
        replied = await payment.deliver(number=2, deadline_in_ms=400)
        assert fault_code(replied) == (Outcome.FAILED, "inbox_unavailable")
        assert replied is not None
        assert "no connection" in str(replied.fault)
        go_on.set()
        assert output(await holding) == {"by": 1}


async def _waits_for_a_lock(connection: asyncpg.Connection, sessions: int) -> None:
    async with asyncio.timeout(10):
        while True:
            waiting = await connection.fetchval(
                "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
            )
            if waiting >= sessions:
                return


async def _end_other_sessions(connection: asyncpg.Connection) -> None:
    await connection.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity"
        " where datname = current_database() and pid <> pg_backend_pid()"
    )
