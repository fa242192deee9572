"""Calling handlers by what the inbox has on record, and recording what they do.

    transactional   one transaction: the row is taken and locked, the handler writes, the result is recorded, commit
    recorded        the row is marked, the handler is called, the result is recorded: two round trips of their own

While Postgres is away a command waits, until it is time to reply (`connection.WaitBudget`). It is answered as failed
only if it is known not to have happened: not if a commit may have gone through, nor if another worker had the command
before, which may have done it. Then there is no reply, and the saga counts a time-out.

The table is made by `inbox.sql`; its rows are taken, written and removed here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from importlib.resources import files
from typing import NamedTuple, TypeVar

import asyncpg
from asyncpg import Record
from asyncpg.pool import PoolConnectionProxy

from saga_service.base.postgres import describe, is_lost
from saga_service.core.vocabulary import Direction, Outcome
from saga_service.wire.commands import ReceivedCommand
from saga_service.wire.entries import Message
from saga_service.worker.context import StepContext
from saga_service.worker.errors import Rejected, Retryable, Said
from saga_service.worker.execution import body_of, failure, success
from saga_service.worker.handler_results import InvalidResult
from saga_service.worker.inbox.connection import (
    InboxUnavailable,
    WaitBudget,
    borrowed,
    inbox_errors,
    retried,
    transaction,
)
from saga_service.worker.inbox.deduplication import (
    NO_RECORD,
    Attempt,
    Conclusion,
    Decided,
    Decision,
    Mark,
    Row,
    Run,
    Side,
    after_rejection,
    after_success,
    decide,
    reply_to,
)
from saga_service.worker.registration import Handler

EXISTS = "select to_regclass('saga_worker.inbox') is not null"

# An existing row is written too: that locks it, waits for the lock's holder, and returns what the holder has left. A
# version of 1 means that there was no row.
TAKE = """
    insert into saga_worker.inbox as inbox
        (saga_id, step, action_mark, action_attempt, action_result, undo_mark, undo_attempt, undo_result,
         fenced_until_ms)
    values ($1::text::uuid, $2, $3, $4, $5::text::json, $6, $7, $8::text::json, $9)
    on conflict (saga_id, step) do update set version = inbox.version + 1
    returning version, action_mark, action_attempt, action_result, undo_mark, undo_attempt, undo_result,
        fenced_until_ms
"""

# The row would stay locked by a transaction whose worker is paused or whose link is gone: the server ends such a one.
TAKE_IN_TRANSACTION = f"{TAKE}, set_config('idle_in_transaction_session_timeout', $10, true)"

WRITE = """
    update saga_worker.inbox set version = version + 1,
        action_mark = $4, action_attempt = $5, action_result = $6::text::json,
        undo_mark = $7, undo_attempt = $8, undo_result = $9::text::json, fenced_until_ms = $10
    where saga_id = $1::text::uuid and step = $2 and version = $3
    returning version
"""

REMOVE_OLD = """
    with old as (
        select saga_id, step from saga_worker.inbox
        where created_at < now() - make_interval(days => $1)
        order by created_at limit $2
        for update skip locked
    ), removed as (
        delete from saga_worker.inbox using old
        where inbox.saga_id = old.saga_id and inbox.step = old.step
        returning 1
    )
    select count(*) from removed
"""

_FIRST_VERSION = 1


def creation_script() -> str:
    """Return the SQL that creates schema, table and index where they are missing, for one transaction."""
    return files(__package__ or "").joinpath("inbox.sql").read_text()


class TakenRow(NamedTuple):
    row: Row
    version: int
    is_new: bool
    """True if there was no row, and there is one now."""


async def take(connection: PoolConnectionProxy, command: ReceivedCommand, first: Row) -> TakenRow:
    """Return the step's row, which is created as `first` if there is none."""
    return _taken(await connection.fetchrow(TAKE, command.saga_id, command.step, *_columns(first)))


async def take_in_transaction(
    connection: PoolConnectionProxy, command: ReceivedCommand, first: Row, idle_timeout_ms: int
) -> TakenRow:
    """Take the step's row and lock it for the rest of the transaction, which the server ends if it is idle so long."""
    values = (command.saga_id, command.step, *_columns(first), str(idle_timeout_ms))
    return _taken(await connection.fetchrow(TAKE_IN_TRANSACTION, *values))


async def write(connection: PoolConnectionProxy, command: ReceivedCommand, row: Row, version: int) -> int | None:
    """Write the row and return its new version; None if it was taken since `version`: nothing is written then."""
    written: int | None = await connection.fetchval(WRITE, command.saga_id, command.step, version, *_columns(row))
    return written


def _taken(record: Record | None) -> TakenRow:
    assert record is not None, "it is created if it is missing"
    version, action_mark, action_attempt, action_result, undo_mark, undo_attempt, undo_result, fenced_ms = record[:8]
    action = Side(Mark(action_mark), action_attempt, action_result)
    undo = Side(Mark(undo_mark), undo_attempt, undo_result)
    return TakenRow(Row(action, undo, fenced_ms), version, version == _FIRST_VERSION)


def _columns(row: Row) -> tuple[object, ...]:
    return (*row.action, *row.undo, row.fenced_until_ms)


IDLE_TRANSACTION_GRACE_MS = 5_000
"""How long past its command's deadline a transaction may lie idle before the server ends it, and its lock with it."""

T = TypeVar("T")


class Call(NamedTuple):
    """A handler that may be called, and all that it would be called with."""

    handler: Handler
    command: ReceivedCommand
    argument: object
    context: StepContext
    reply_bytes_max: int
    attempt: Attempt
    budget: WaitBudget
    answered: Callable[[str], None]

    async def make(self, connection: PoolConnectionProxy | None = None) -> Message:
        """Call the handler and return the reply with its result. Raises what it raises, and InvalidResult."""
        result = await self.handler.call(self.argument, self.context, connection)
        return success(self.command, result, self.reply_bytes_max)

    async def retried(self, work: Callable[[], Awaitable[T]], *, may_be_done: bool = False) -> T | None:
        return await retried(work, self.budget, self.context.logger, may_be_done=may_be_done)

    def reply(self, decision: Decision, row: Row) -> Message | None:
        """Return the inbox's own reply, None where there is to be none."""
        self.context.logger.info("the inbox decides", decision=decision.value)
        self.answered(decision.name.lower())
        return reply_to(self.command, decision, row)

    def rejection(self, error: Rejected) -> str:
        """Return the rejection as it is recorded."""
        return body_of(failure(self.command, Outcome.REJECTED, error.code, error.message))


class Begun(NamedTuple):
    """A decision, with the row as it was left and the version to write it by."""

    decision: Decision
    row: Row
    version: int
    run: Run


Conclude = Callable[[Row, bool], Conclusion]
"""Concludes a call by the row as it is now; True if it was not touched since the handler was called."""


class PostgresExactlyOnce:
    """Fulfils `execution.ExactlyOnce` with a pool of connections to the handlers' own database.

    `answered` is told the decision whenever the inbox answers in a handler's place.
    """

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        self.answered: Callable[[str], None] = lambda _: None

    async def carry_out(
        self, handler: Handler, command: ReceivedCommand, argument: object, context: StepContext, reply_bytes_max: int
    ) -> Message | None:
        budget = WaitBudget(lambda: context.remaining_seconds)
        absence_is_proof = handler.absence_is_proof(command)
        attempt = Attempt(command.direction, command.attempt, command.deadline_ms, absence_is_proof)
        call = Call(handler, command, argument, context, reply_bytes_max, attempt, budget, self.answered)
        if command.direction is Direction.PROBE:
            return await self._answer_probe(call)
        if handler.takes_connection:
            return await self._carry_out_transactional(call)
        return await self._carry_out_recorded(call)

    async def _carry_out_transactional(self, call: Call) -> Message | None:
        try:
            return await call.retried(lambda: self._in_one_commit(call), may_be_done=call.command.was_delivered_before)
        except Rejected as error:
            # What the handler wrote is rolled back with the transaction, so its rejection needs one of its own.
            rejection = call.rejection(error)
            conclusion = await call.retried(lambda: self._record_rejection(call, rejection))
            if conclusion is None or conclusion.decision is None:
                raise
            return call.reply(conclusion.decision, conclusion.row)

    async def _in_one_commit(self, call: Call) -> Message | None:
        async with borrowed(self._pool, call.budget) as connection, transaction(connection):
            begun = await self._begin_locked(connection, call)
            if begun.decision is not Decision.RUN:
                return call.reply(begun.decision, begun.row)
            reply = await _made(call, connection)
            conclusion = after_success(begun.row, begun.run, body_of(reply))
            with inbox_errors(connection):
                await write(connection, call.command, conclusion.row, begun.version)
        return reply

    async def _record_rejection(self, call: Call, rejection: str) -> Conclusion:
        async with borrowed(self._pool, call.budget) as connection, transaction(connection):
            begun = await self._begin_locked(connection, call)
            if begun.decision is not Decision.RUN:
                return Conclusion(begun.decision, begun.row)
            conclusion = after_rejection(begun.row, begun.run, rejection)
            with inbox_errors(connection):
                await write(connection, call.command, conclusion.row, begun.version)
        return conclusion

    async def _begin_locked(self, connection: PoolConnectionProxy, call: Call) -> Begun:
        first = decide(NO_RECORD, call.attempt)
        idle_timeout_ms = round(call.context.remaining_seconds * 1000) + IDLE_TRANSACTION_GRACE_MS
        with inbox_errors(connection):
            taken = await take_in_transaction(connection, call.command, first.row, idle_timeout_ms)
            begun = _begun(call, taken, first)
            # Where the handler is called now, mark and result are written together.
            if begun.decision is not Decision.RUN and not taken.is_new and begun.row != taken.row:
                await write(connection, call.command, begun.row, begun.version)
        return begun

    async def _carry_out_recorded(self, call: Call) -> Message | None:
        begun = await call.retried(lambda: self._begin(call), may_be_done=call.command.was_delivered_before)
        if begun is None:
            return None
        if begun.decision is not Decision.RUN:
            return call.reply(begun.decision, begun.row)
        try:
            reply = await call.make()
        except Rejected as error:
            rejection = call.rejection(error)
            conclusion = await self._record_end_if_possible(
                call, begun, lambda row, is_alone: after_rejection(row, begun.run, rejection, is_alone=is_alone)
            )
            if conclusion is None or conclusion.decision is None:
                raise
        else:
            result = body_of(reply)
            conclusion = await self._record_end_if_possible(
                call, begun, lambda row, _: after_success(row, begun.run, result)
            )
            if conclusion is None or conclusion.decision is None:
                return reply
        return call.reply(conclusion.decision, conclusion.row)

    async def _begin(self, call: Call) -> Begun:
        first = decide(NO_RECORD, call.attempt)
        async with borrowed(self._pool, call.budget) as connection:
            with inbox_errors(connection):
                while True:
                    taken = await take(connection, call.command, first.row)
                    begun = _begun(call, taken, first)
                    if taken.is_new or begun.row == taken.row:
                        return begun
                    version = await write(connection, call.command, begun.row, begun.version)
                    if version is not None:
                        return begun._replace(version=version)

    async def _record_end_if_possible(self, call: Call, begun: Begun, conclude: Conclude) -> Conclusion | None:
        """Record how the handler ended. None where Postgres is not back in time: its own reply is sent all the same."""
        try:
            return await call.retried(lambda: self._record_end(call, begun, conclude))
        except Retryable as error:
            call.context.logger.warning(
                "a handler's end could not be recorded; a redelivery would call it again", error=str(error)
            )
            return None

    async def _record_end(self, call: Call, begun: Begun, conclude: Conclude) -> Conclusion:
        row, version = begun.row, begun.version
        async with borrowed(self._pool, call.budget) as connection:
            with inbox_errors(connection):
                while True:
                    conclusion = conclude(row, version == begun.version)
                    if await write(connection, call.command, conclusion.row, version) is not None:
                        return conclusion
                    # Another command took the row, or this very write went through before its link was lost.
                    row, version, _ = await take(connection, call.command, begun.row)

    async def _answer_probe(self, call: Call) -> Message | None:
        if call.handler.answers_probes:
            begun = await call.retried(lambda: self._begin(call))
            return None if begun is None else call.reply(begun.decision, begun.row)
        if not call.handler.takes_connection:
            return await call.make()
        return await call.retried(lambda: self._in_a_transaction(call))

    async def _in_a_transaction(self, call: Call) -> Message:
        async with borrowed(self._pool, call.budget) as connection, transaction(connection):
            return await call.make(connection)


async def _made(call: Call, connection: PoolConnectionProxy) -> Message:
    """Call a transactional handler. Raises InboxUnavailable where the link was lost meanwhile.

    The transaction is rolled back then, so nothing happened, and the handler may be called again.
    """
    try:
        return await call.make(connection)
    except (Said, InvalidResult):
        raise
    except Exception as error:
        if not is_lost(connection):
            raise
        raise InboxUnavailable(f"the link was lost in the middle of a transaction: {describe(error)}") from error


def _begun(call: Call, taken: TakenRow, first: Decided) -> Begun:
    before = NO_RECORD if taken.is_new else taken.row
    decision, row = first if taken.is_new else decide(before, call.attempt)
    return Begun(decision, row, taken.version, Run(call.attempt, before))
