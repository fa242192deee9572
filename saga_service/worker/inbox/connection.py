"""What goes wrong with an inbox, and which of it a wait may mend."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import asyncpg

_TRANSIENT = ("08", "40", "53", "57", "58", "25006", "25P03", "55P03")
"""Connection lost, asked to retry, out of resources, shutting down or told to stop, a system error, read-only after a
failover, idle for too long, a lock not to be had."""

LINK_ERRORS = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
"""All that may come of a connection in whatever state."""


class InboxUnavailable(Exception):
    """Postgres cannot be reached, or asks for another try; what was done in the transaction is undone."""


class InboxNotMade(Exception):
    """The inbox has no table, or its role no right to it; the text says what to do."""


@contextmanager
def inbox_errors(connection: asyncpg.pool.PoolConnectionProxy | None = None) -> Iterator[None]:
    """Around the inbox's own statements, and no handler's. Raises InboxUnavailable for what a wait may mend, and lets
    the rest through."""
    try:
        yield
    except (OSError, TimeoutError, asyncpg.InternalClientError) as error:
        raise InboxUnavailable(_said(error)) from error
    except asyncpg.PostgresError as error:
        if not (error.sqlstate or "").startswith(_TRANSIENT):
            raise
        raise InboxUnavailable(_said(error)) from error
    except asyncpg.InterfaceError as error:
        # Also what comes of a handler that still uses the connection in a task of its own: a bug, which no wait mends.
        if connection is not None and not is_gone(connection):
            raise
        raise InboxUnavailable(_said(error)) from error


def is_gone(connection: asyncpg.pool.PoolConnectionProxy) -> bool:
    """Whether its link is lost."""
    try:
        return connection.is_closed()
    except asyncpg.InterfaceError:
        # With its link lost, a connection goes back to its pool by itself, and can be asked nothing more.
        return True


def _said(error: BaseException) -> str:
    return f"{error} ({type(error).__name__})" if str(error) else type(error).__name__


# MERGED from worker.inbox.patience:
# How long a command waits for an inbox that is not to be had.
#
# The saga counts a time-out at the command's deadline, and then nobody knows what happened. So a worker that has done
# nothing says so before that: it keeps back as much time as its answer needs to arrive.
#
# That part is of the time that is left when the command is taken on. One that came late keeps back less, and waits a
# little all the same.

ANSWER_PART = 0.1
ANSWER_S_MIN = 0.1
ANSWER_S_MAX = 1.0


class Patience:
    """`remaining_s` tells the time to the deadline, and 0 after it."""

    def __init__(self, remaining_s: Callable[[], float]) -> None:
        self._remaining_s = remaining_s
        self._answer_s = min(max(remaining_s() * ANSWER_PART, ANSWER_S_MIN), ANSWER_S_MAX)

    @property
    def left_s(self) -> float:
        """How long it may still wait for its next try; 0 or less when it is time to answer."""
        return self._remaining_s() - self._answer_s

    @property
    def for_a_connection_s(self) -> float:
        """How long a try may wait for its connection. The last one ends while there is still time for the answer."""
        return max(self.left_s, self._answer_s / 2)
