"""A worker with an inbox on a real Postgres, and the saga's side of what is delivered to it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import asyncpg
import orjson

from saga_service.core.events import Replied
from saga_service.core.vocabulary import Direction, Outcome
from saga_service.wire.commands import read_command
from saga_service.wire.entries import Message
from saga_service.worker import PostgresInbox, StepContext, Worker
from saga_service.worker.execution import execute
from saga_service.worker.inbox.postgres import OpenInbox
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

        async def recorded(command: dict[str, Any], context: StepContext) -> dict[str, Any]:
            return await write(context, ledger)

        handler = in_one_commit if transactional else recorded
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
        return None if reply is None else _with_result(understood(reply), reply)

    def observe(self, answered: Callable[[str], None]) -> None:
        """Have every answer of the inbox in a handler's place told."""
        self._inbox.exactly_once.answered = answered

    async def effects(self) -> list[str]:
        return [row[0] for row in await self.ledger.fetch("select direction from ledger where saga_id = $1", saga_id())]


def _with_result(replied: Replied, reply: Message) -> Replied:
    """The reply with the handler's result, which the service does not read of an undo."""
    if replied.outcome is not Outcome.SUCCEEDED:
        return replied
    fields = dict(zip(reply.fields[::2], reply.fields[1::2], strict=True))
    return replied._replace(output=orjson.loads(fields["data"]))


def fault_code(replied: Replied | None) -> tuple[Outcome, str]:
    assert replied is not None
    assert replied.fault is not None
    return replied.outcome, replied.fault.code


def output(replied: Replied | None) -> dict[str, Any]:
    assert replied is not None
    assert replied.outcome is Outcome.SUCCEEDED
    return dict(replied.output or {})
