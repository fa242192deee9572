"""A worker whose effects are lines of a ledger in Postgres: written in the commit that records their commands.

Some fail after they have written, for what they wrote must go with them; the input's plan says how the saga is to end.
"""

from __future__ import annotations

import asyncio
import os
from typing import Any

import asyncpg

from saga_service.worker import PostgresInbox, Rejected, Retryable, StepContext, Worker

ledger = Worker("ledger", inbox=PostgresInbox(os.environ.get("SAGA_TEST_LEDGER", "postgresql://localhost/ledger")))

CREATE = "create table ledger (saga_id uuid, step text, direction text, attempt int, amount int)"


CHARGE_TAKES_S = 1.0
"""Time enough for a test to take the service away meanwhile."""


async def book(command: dict[str, Any], context: StepContext, connection: asyncpg.Connection) -> dict[str, Any]:
    """Any: the input is the test's own."""
    await _write_line(context, connection)
    if context.step == "third" and context.direction == "action" and command["plan"]["ends_as"] == ["compensated"]:
        raise Rejected("planned", "as planned")
    if context.attempt == 1 and context.saga_id[0] in "0123":
        raise Retryable("the first try fails with its line written")
    return {"attempt": context.attempt}


async def charge(command: dict[str, Any], context: StepContext, connection: asyncpg.Connection) -> dict[str, Any]:
    await asyncio.sleep(CHARGE_TAKES_S)
    await _write_line(context, connection)
    return {"attempt": context.attempt}


async def _write_line(context: StepContext, connection: asyncpg.Connection) -> None:
    await connection.execute(
        "insert into ledger values ($1, $2, $3, $4, $5)",
        context.saga_id,
        context.step,
        context.direction.value,
        context.attempt,
        1 if context.direction == "action" else -1,
    )


for step in ("first", "second", "third"):
    ledger.handler(f"ledger.{step}")(book)
    ledger.handler(f"ledger.undo_{step}", undoes=f"ledger.{step}")(book)
ledger.handler("ledger.charge")(charge)
ledger.handler("ledger.undo_charge", undoes="ledger.charge")(charge)
ledger.answer_probes("ledger.find_charge", of="ledger.charge")
