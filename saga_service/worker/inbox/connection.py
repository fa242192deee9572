"""Connections to the inbox's database: errors, transactions, and how long a command waits for them.

The saga counts a time-out at the command's deadline, and then the outcome is unknown. So a worker that has done nothing
says so before that: it reserves as much time as its reply needs to arrive. The reserve is a part of the time that is
left when the command is accepted: a late command reserves less, and waits a little all the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import TypeVar

import asyncpg
from asyncpg.pool import PoolConnectionProxy
from asyncpg.transaction import Transaction
from structlog.typing import FilteringBoundLogger

from saga_service.base.clock import Backoff
from saga_service.base.postgres import CONNECTION_ERRORS, ErrorKind, condemns_sessions, describe, is_lost, kind_of
from saga_service.worker.errors import INBOX_UNAVAILABLE, Retryable

REPLY_PART = 0.1
REPLY_S_MIN = 0.1
REPLY_S_MAX = 1.0
RELEASE_S_MAX = 5.0
"""Without a bound of its own, a connection's release has that of its acquisition, which may be next to nothing."""
NO_CONNECTION = "no connection in time: Postgres does not answer, or all connections_max are in use"

_MENDED_BY_A_RETRY = (ErrorKind.UNAVAILABLE, ErrorKind.CONFLICT, ErrorKind.DENIED, ErrorKind.TIMED_OUT)

T = TypeVar("T")


class InboxUnavailable(Exception):
    """Postgres cannot be reached, or asks for a retry; what was done in the transaction is rolled back."""


class CommitInDoubt(InboxUnavailable):
    """The link was lost while a commit was under way: it may have gone through."""


class WaitBudget:
    """How long a command may wait for its inbox. `remaining_s` returns the time to the deadline, 0 after it."""

    def __init__(self, remaining_s: Callable[[], float]) -> None:
        self._remaining_s = remaining_s
        self._reply_s = min(max(remaining_s() * REPLY_PART, REPLY_S_MIN), REPLY_S_MAX)

    @property
    def left_s(self) -> float:
        """The time that may be waited for the next try; 0 or less when it is time to reply."""
        return self._remaining_s() - self._reply_s

    @property
    def for_a_connection_s(self) -> float:
        """The time that a try may wait for its connection. The last try ends while there is time for the reply."""
        return max(self.left_s, self._reply_s / 2)


async def retried(
    work: Callable[[], Awaitable[T]], budget: WaitBudget, log: FilteringBoundLogger, *, may_be_done: bool = False
) -> T | None:
    """Do the work, again and again while the inbox is unavailable and the budget lasts.

    Returns None where the budget is spent and the work may have been done: no reply may be sent then. Raises Retryable
    where the budget is spent and nothing was done.
    """
    backoff = Backoff()
    while True:
        try:
            return await work()
        except InboxUnavailable as error:
            may_be_done = may_be_done or isinstance(error, CommitInDoubt)
            if backoff.attempts == 0:
                log.warning("the inbox is unavailable; trying again", error=str(error))
            left_s = budget.left_s
            if left_s > 0:
                await asyncio.sleep(min(backoff.next_s(), left_s))
            elif may_be_done:
                log.error("the commit is in doubt; no reply is sent")
                return None
            else:
                raise Retryable(INBOX_UNAVAILABLE, f"the inbox is unavailable: {error}") from error


@contextmanager
def inbox_errors(connection: PoolConnectionProxy | None = None) -> Iterator[None]:
    """Raise InboxUnavailable for what a retry may mend, around the inbox's own statements and no handler's."""
    try:
        yield
    except asyncpg.PostgresError as error:
        if kind_of(error) not in _MENDED_BY_A_RETRY:
            raise
        raise InboxUnavailable(describe(error)) from error
    except asyncpg.InterfaceError as error:
        # Also raised where a handler still uses the connection in a task of its own: a bug, which no retry mends.
        if connection is not None and not is_lost(connection):
            raise
        raise InboxUnavailable(describe(error)) from error
    except (OSError, TimeoutError, asyncpg.InternalClientError) as error:
        raise InboxUnavailable(describe(error)) from error


@asynccontextmanager
async def borrowed(pool: asyncpg.Pool, budget: WaitBudget) -> AsyncIterator[PoolConnectionProxy]:
    """A connection for a while. Raises InboxUnavailable where there is none in time."""
    # Only this wait is bounded. One for a row that is locked is not: the lock's holder may well be doing what is asked
    # for here, and a reply that it failed would be wrong.
    with inbox_errors():
        try:
            connection = await pool.acquire(timeout=budget.for_a_connection_s)
        except TimeoutError as error:
            raise TimeoutError(NO_CONNECTION) from error
    try:
        yield connection
    except BaseException as error:
        if condemns_sessions(error) or condemns_sessions(error.__cause__ or error):
            await pool.expire_connections()
        raise
    finally:
        # A connection whose link is lost is released all the same. What was committed stays committed.
        with suppress(*CONNECTION_ERRORS):
            await pool.release(connection, timeout=RELEASE_S_MAX)


@asynccontextmanager
async def transaction(connection: PoolConnectionProxy) -> AsyncIterator[None]:
    """A transaction that commits at the end, or rolls back. Raises CommitInDoubt where it is unknown which."""
    begun = connection.transaction()
    with inbox_errors(connection):
        await begun.start()
    try:
        yield
    except BaseException:
        await _roll_back(connection, begun)
        raise
    try:
        with inbox_errors(connection):
            await begun.commit()
    except InboxUnavailable as error:
        raise CommitInDoubt(str(error)) from error


async def _roll_back(connection: PoolConnectionProxy, begun: Transaction) -> None:
    try:
        await begun.rollback()
    except CONNECTION_ERRORS:
        # The link is lost or out of step: the server rolls back what it has of it.
        if not is_lost(connection):
            connection.terminate()
