"""Calling handlers by what the inbox says, and keeping it in step with what they do.

    transactional   one transaction: the row is taken and locked, the handler writes, the result is recorded, commit
    remembered      the row is marked, the handler is called, the result is recorded: two round trips of their own

While Postgres is away a command waits, until it is time to answer (`patience`). It is answered as failed only if it is
known not to have happened: not if a commit may have gone through, nor if another worker had the command before, which
may have done it. Then there is no answer, and the saga counts a time-out.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import NamedTuple, TypeVar

import asyncpg
from asyncpg.pool import PoolConnectionProxy
from asyncpg.transaction import Transaction

from saga_service.base.backoff import Backoff
from saga_service.core.vocabulary import Direction, Outcome
from saga_service.wire.commands import OUTPUTS_FIELD, ReceivedCommand
from saga_service.wire.entries import Message
from saga_service.worker.context import StepContext
from saga_service.worker.errors import Rejected, Retryable
from saga_service.worker.execution import body_of, failure, success
from saga_service.worker.inbox.connection import LINK_ERRORS, InboxUnavailable, Patience, inbox_errors, is_gone
from saga_service.worker.inbox.decisions import (
    NOTHING,
    Asked,
    Concluded,
    Judged,
    Row,
    Run,
    Verdict,
    judge,
    rejected,
    succeeded,
)
from saga_service.worker.inbox.recorded_replies import reply_to
from saga_service.worker.inbox.table import Taken, take, take_in_transaction, write
from saga_service.worker.registration import Handler

FORGOTTEN_AFTER_MS = 5_000
"""How long past its command's deadline a transaction may lie idle before the server ends it, and its lock with it."""
RELEASE_S_MAX = 5.0
"""Without one of its own, a connection's release is bounded by what its taking was, which may be next to nothing."""
NO_CONNECTION = "no connection in time: Postgres does not answer, or all connections_max are in use"

T = TypeVar("T")


class Call(NamedTuple):
    """A handler that may be called, and everything that it would be called with."""

    handler: Handler
    command: ReceivedCommand
    argument: object
    context: StepContext
    reply_bytes_max: int
    asked: Asked
    patience: Patience

    async def make(self, connection: PoolConnectionProxy | None = None) -> Message:
        """The reply to what the handler returns. Raises what it raises, and InvalidResult."""
        result = await self.handler.call(self.argument, self.context, connection)
        return success(self.command, result, self.reply_bytes_max)


class Begun(NamedTuple):
    verdict: Verdict
    row: Row
    version: int
    run: Run


Decide = Callable[[Row, bool], Concluded]
"""By the row as it is now, and by whether nobody looked at it since the handler was called."""


class CommitInDoubt(InboxUnavailable):
    """The link was lost with the commit on its way."""


class OnceByPostgres:
    """What `execution.Once` asks for, on a pool of connections to the handlers' own database."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def carry_out(
        self, handler: Handler, command: ReceivedCommand, argument: object, context: StepContext, reply_bytes_max: int
    ) -> Message | None:
        patience = Patience(lambda: context.remaining_seconds)
        call = Call(handler, command, argument, context, reply_bytes_max, _asked(handler, command), patience)
        if command.direction is Direction.PROBE:
            return await self._answer_probe(call)
        if handler.takes_connection:
            return await self._transactional(call)
        return await self._remembered(call)

    # -------------------------------------------------------------------------------------------------- in one commit

    async def _transactional(self, call: Call) -> Message | None:
        try:
            return await self._patiently(call, lambda: self._in_one_commit(call), call.command.was_delivered_before)
        except Rejected as error:
            # What the handler wrote is undone with the transaction, so its rejection needs one of its own.
            rejection = failure(call.command, Outcome.REJECTED, error.code, error.message)
            concluded = await self._patiently(call, lambda: self._record_rejection(call, body_of(rejection)))
            if concluded is None or concluded.verdict is None:
                raise
            return self._answer(call, concluded.verdict, concluded.row)

    async def _in_one_commit(self, call: Call) -> Message | None:
        async with self._connection(call) as connection, _transaction(connection):
            begun = await self._begin_locked(connection, call)
            if begun.verdict is not Verdict.RUN:
                return self._answer(call, begun.verdict, begun.row)
            reply = await call.make(connection)
            concluded = succeeded(begun.row, begun.run, body_of(reply))
            with inbox_errors(connection):
                await write(connection, call.command, concluded.row, begun.version)
        return reply

    async def _record_rejection(self, call: Call, error: str) -> Concluded:
        async with self._connection(call) as connection, _transaction(connection):
            begun = await self._begin_locked(connection, call)
            if begun.verdict is not Verdict.RUN:
                return Concluded(begun.verdict, begun.row)
            concluded = rejected(begun.row, begun.run, error)
            with inbox_errors(connection):
                await write(connection, call.command, concluded.row, begun.version)
        return concluded

    async def _begin_locked(self, connection: PoolConnectionProxy, call: Call) -> Begun:
        first = judge(NOTHING, call.asked)
        forgotten_after_ms = round(call.context.remaining_seconds * 1000) + FORGOTTEN_AFTER_MS
        with inbox_errors(connection):
            taken = await take_in_transaction(connection, call.command, first.row, forgotten_after_ms)
            begun = _begun(call, taken, first)
            # Of a handler that is called now, mark and result are written together.
            if begun.verdict is not Verdict.RUN and not taken.is_new and begun.row != taken.row:
                await write(connection, call.command, begun.row, begun.version)
        return begun

    # ----------------------------------------------------------------------------------------------------- remembered

    async def _remembered(self, call: Call) -> Message | None:
        begun = await self._patiently(call, lambda: self._begin(call), call.command.was_delivered_before)
        if begun is None or begun.verdict is not Verdict.RUN:
            return None if begun is None else self._answer(call, begun.verdict, begun.row)
        try:
            reply = await call.make()
        except Rejected as error:
            rejection = body_of(failure(call.command, Outcome.REJECTED, error.code, error.message))
            concluded = await self._conclude_if_possible(
                call, begun, lambda row, is_alone: rejected(row, begun.run, rejection, is_alone=is_alone)
            )
            if concluded is None or concluded.verdict is None:
                raise
        else:
            result = body_of(reply)
            concluded = await self._conclude_if_possible(call, begun, lambda row, _: succeeded(row, begun.run, result))
            if concluded is None or concluded.verdict is None:
                return reply
        return self._answer(call, concluded.verdict, concluded.row)

    async def _begin(self, call: Call) -> Begun:
        first = judge(NOTHING, call.asked)
        async with self._connection(call) as connection:
            with inbox_errors(connection):
                while True:
                    taken = await take(connection, call.command, first.row)
                    begun = _begun(call, taken, first)
                    if taken.is_new or begun.row == taken.row:
                        return begun
                    version = await write(connection, call.command, begun.row, begun.version)
                    if version is not None:
                        return begun._replace(version=version)

    async def _conclude_if_possible(self, call: Call, begun: Begun, decide: Decide) -> Concluded | None:
        """None where Postgres did not come back in time. The handler has had its say all the same, and it is sent."""
        try:
            return await self._patiently(call, lambda: self._conclude(call, begun, decide))
        except Retryable as error:
            call.context.logger.warning(
                "a handler has ended and that could not be recorded; a redelivery would call it again", error=str(error)
            )
            return None

    async def _conclude(self, call: Call, begun: Begun, decide: Decide) -> Concluded:
        row, version = begun.row, begun.version
        async with self._connection(call) as connection:
            with inbox_errors(connection):
                while True:
                    concluded = decide(row, version == begun.version)
                    if await write(connection, call.command, concluded.row, version) is not None:
                        return concluded
                    # Somebody else looked, or this very write went through before its link was lost.
                    row, version, _ = await take(connection, call.command, begun.row)

    # --------------------------------------------------------------------------------------------------------- probes

    async def _answer_probe(self, call: Call) -> Message | None:
        if call.handler.answers_probes:
            begun = await self._patiently(call, lambda: self._begin(call))
            return None if begun is None else self._answer(call, begun.verdict, begun.row)
        if not call.handler.takes_connection:
            return await call.make()
        return await self._patiently(call, lambda: self._in_a_transaction(call))

    async def _in_a_transaction(self, call: Call) -> Message:
        async with self._connection(call) as connection, _transaction(connection):
            return await call.make(connection)

    # --------------------------------------------------------------------------------------------------------- common

    def _answer(self, call: Call, verdict: Verdict, row: Row) -> Message | None:
        call.context.logger.info("the inbox decides", verdict=verdict.value)
        return reply_to(call.command, verdict, row)

    async def _patiently(self, call: Call, work: Callable[[], Awaitable[T]], may_be_done: bool = False) -> T | None:
        """The work's result; None where it may have been done and there is no time left to find out.

        Raises Retryable where there is no time left and nothing was done.
        """
        backoff = Backoff()
        while True:
            try:
                return await work()
            except InboxUnavailable as error:
                may_be_done = may_be_done or isinstance(error, CommitInDoubt)
                if backoff.attempts == 0:
                    call.context.logger.warning("the inbox is not to be had; trying again", error=str(error))
                left_s = call.patience.left_s
                if left_s > 0:
                    await asyncio.sleep(min(backoff.next_s(), left_s))
                elif may_be_done:
                    call.context.logger.error("nobody knows whether this was committed; no reply is sent")
                    return None
                else:
                    raise Retryable(f"the inbox is not to be had: {error}", code="inbox_unavailable") from error

    @asynccontextmanager
    async def _connection(self, call: Call) -> AsyncIterator[PoolConnectionProxy]:
        # Only this wait is bounded. One for a row that is locked is not: whoever has the lock may well do what is asked
        # for here, and to say that it failed would be a lie.
        with inbox_errors():
            try:
                connection = await self._pool.acquire(timeout=call.patience.for_a_connection_s)
            except TimeoutError as error:
                raise TimeoutError(NO_CONNECTION) from error
        try:
            yield connection
        finally:
            # One whose link is lost is let go of all the same. What was committed stays so: nothing is to be told.
            with suppress(*LINK_ERRORS):
                await self._pool.release(connection, timeout=RELEASE_S_MAX)


def _asked(handler: Handler, command: ReceivedCommand) -> Asked:
    # A saga that knows the action's result sends it along with the undo.
    outputs = command.data.get(OUTPUTS_FIELD)
    known_to_be_done = isinstance(outputs, dict) and command.step in outputs
    return Asked(
        command.direction, command.attempt, command.deadline_ms, handler.undoes is not None and not known_to_be_done
    )


def _begun(call: Call, taken: Taken, first: Judged) -> Begun:
    before = NOTHING if taken.is_new else taken.row
    verdict, row = first if taken.is_new else judge(before, call.asked)
    return Begun(verdict, row, taken.version, Run(call.asked, before))


@asynccontextmanager
async def _transaction(connection: PoolConnectionProxy) -> AsyncIterator[None]:
    """Commits at the end, or undoes it all. Raises CommitInDoubt where nobody can know which."""
    transaction = connection.transaction()
    with inbox_errors(connection):
        await transaction.start()
    try:
        yield
    except BaseException:
        await _roll_back(connection, transaction)
        raise
    try:
        with inbox_errors(connection):
            await transaction.commit()
    except InboxUnavailable as error:
        raise CommitInDoubt(str(error)) from error


async def _roll_back(connection: PoolConnectionProxy, transaction: Transaction) -> None:
    try:
        await transaction.rollback()
    except LINK_ERRORS:
        # The link is gone or out of step: the server undoes what it has of it.
        if not is_gone(connection):
            connection.terminate()
