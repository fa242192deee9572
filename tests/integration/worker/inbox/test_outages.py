"""While Postgres is away a command waits, and is answered in time by what is known of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest
from structlog.testing import capture_logs

from saga_service.core.events import Replied
from saga_service.core.vocabulary import Outcome
from saga_service.local.servers import EmbeddedServers
from saga_service.worker import PostgresInbox, Rejected, StepContext
from saga_service.worker.inbox.connection import REPLY_PART, REPLY_S_MIN, InboxUnavailable
from saga_service.worker.inbox.postgres import APPLICATION_NAME, InboxNotCreated
from tests.end_to_end.proxy import Proxy, postgres_proxy
from tests.support.inbox import Payment, fault_code, output


async def test_a_command_waits_for_postgres_and_fails_only_if_nothing_was_done() -> None:
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


@pytest.mark.parametrize("transactional", [True, False], ids=["transactional", "recorded"])
async def test_sessions_made_while_the_server_was_read_only_are_given_up(
    dsn: str, ledger: asyncpg.Connection, *, transactional: bool
) -> None:
    database = urlsplit(dsn).path[1:]
    await ledger.execute(f'alter database "{database}" set default_transaction_read_only = on')
    async with asyncpg.create_pool(dsn, min_size=4, max_size=4) as pool, PostgresInbox(pool).open() as inbox:
        await ledger.execute(f'alter database "{database}" reset default_transaction_read_only')
        payment = Payment(inbox, dsn, ledger, transactional=transactional)
        assert output(await payment.deliver(deadline_in_ms=10_000)) == {"by": 1}


class Away:
    """A worker whose Postgres can be taken from it, and that tells how long before its deadline it answered."""

    def __init__(self, payment: Payment, proxy: Proxy) -> None:
        self.payment = payment
        self.proxy = proxy

    async def answers(self, deadline_in_ms: int, **more: Any) -> tuple[Replied | None, float]:
        ends_at_s = time.monotonic() + deadline_in_ms / 1000
        replied = await self.payment.deliver(deadline_in_ms=deadline_in_ms, **more)
        return replied, ends_at_s - time.monotonic()


@pytest.fixture(params=["transactional", "recorded"])
async def away(request: pytest.FixtureRequest, dsn: str, ledger: asyncpg.Connection) -> AsyncIterator[Away]:
    async with postgres_proxy(dsn) as (proxy, through_it), PostgresInbox(through_it).open() as inbox:
        yield Away(Payment(inbox, dsn, ledger, transactional=request.param == "transactional"), proxy)
        proxy.flow()


@pytest.mark.parametrize("link", ["refused", "silent"])
@pytest.mark.parametrize("deadline_in_ms", [6_000, 500], ids=["in time", "late"])
async def test_a_command_that_was_not_done_fails_just_before_its_deadline(
    away: Away, link: str, deadline_in_ms: int
) -> None:
    if link == "refused":
        await away.proxy.close()
    else:
        away.proxy.stall()
    replied, left_s = await away.answers(deadline_in_ms)
    assert fault_code(replied) == (Outcome.FAILED, "inbox_unavailable")
    assert 0 < left_s <= max(deadline_in_ms / 1000 * REPLY_PART, REPLY_S_MIN)


async def test_a_command_that_comes_at_the_last_moment_is_tried_once(away: Away) -> None:
    await away.proxy.close()
    replied, left_s = await away.answers(80)
    assert fault_code(replied) == (Outcome.FAILED, "inbox_unavailable")
    assert left_s > 0


async def test_a_command_that_another_worker_had_before_is_not_failed(away: Away) -> None:
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


@pytest.mark.parametrize("away", ["recorded"], indirect=True)
async def test_a_result_that_cannot_be_recorded_is_sent_before_the_deadline(away: Away) -> None:
    async def loses_its_postgres(context: StepContext) -> None:
        await away.proxy.close()

    away.payment.inside = loses_its_postgres
    replied, left_s = await away.answers(1_000)
    assert output(replied) == {"by": 1}
    assert left_s > 0


async def test_a_command_without_a_free_connection_fails_before_its_deadline(
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


async def lose_the_link(ledger: asyncpg.Connection) -> None:
    await ledger.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity"
        " where datname = current_database() and pid <> pg_backend_pid() and application_name = $1",
        APPLICATION_NAME,
    )
    await asyncio.sleep(0.05)


async def test_a_link_that_is_lost_inside_a_transactional_handler_costs_no_attempt(
    dsn: str, ledger: asyncpg.Connection
) -> None:
    async with PostgresInbox(dsn).open() as inbox:
        payment = Payment(inbox, dsn, ledger, transactional=True)

        async def lose_the_link_once(_: StepContext) -> None:
            if len(payment.calls) == 1:
                await lose_the_link(ledger)
                raise RuntimeError("what the handler makes of it")

        payment.inside = lose_the_link_once
        with capture_logs() as logs:
            assert output(await payment.deliver(deadline_in_ms=20_000)) == {"by": 1}
    assert len(payment.calls) == 2, "it was called again within the attempt"
    assert await payment.effects() == ["action"], "and had its effect once"
    assert [(line["log_level"], "exc_info" in line) for line in logs] == [("warning", False)]
    assert "the link was lost in the middle of a transaction" in logs[0]["error"]


async def test_what_a_handler_says_itself_counts_though_its_link_was_lost(dsn: str, ledger: asyncpg.Connection) -> None:
    async with PostgresInbox(dsn).open() as inbox:
        payment = Payment(inbox, dsn, ledger, transactional=True)

        async def lose_the_link_and_reject(_: StepContext) -> None:
            await lose_the_link(ledger)
            raise Rejected("no_funds")

        payment.inside = lose_the_link_and_reject
        assert fault_code(await payment.deliver(deadline_in_ms=20_000)) == (Outcome.REJECTED, "no_funds")
    assert len(payment.calls) == 1


async def test_what_a_transactional_handler_raises_on_a_link_that_is_there_costs_the_attempt(
    dsn: str, ledger: asyncpg.Connection
) -> None:
    async with PostgresInbox(dsn).open() as inbox:
        payment = Payment(inbox, dsn, ledger, transactional=True)

        async def fail_once(_: StepContext) -> None:
            if len(payment.calls) == 1:
                raise LookupError("the handler's own fault")

        payment.inside = fail_once
        assert fault_code(await payment.deliver(deadline_in_ms=20_000)) == (Outcome.FAILED, "LookupError")
    assert len(payment.calls) == 1
    assert await payment.effects() == []


async def test_an_inbox_that_no_waiting_mends_is_refused_at_the_start(dsn: str) -> None:
    database = urlsplit(dsn).path[1:]
    async with PostgresInbox(dsn.replace(database, "not_there")).open() as inbox:
        with pytest.raises(InboxNotCreated, match=r"^the inbox's database cannot be used: database .* does not exist$"):
            await inbox.check()


async def test_an_inbox_that_is_away_at_the_start_is_waited_for() -> None:
    async with PostgresInbox("postgresql://127.0.0.1:1/nowhere").open() as inbox:
        with pytest.raises(InboxUnavailable, match="Connect call failed"):
            await inbox.check()
