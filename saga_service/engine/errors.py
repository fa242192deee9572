"""What can go wrong between a batch and Postgres. `engine.failures` says what is done about each."""

from __future__ import annotations


class RevisionConflict(Exception):
    """Some saga of the batch is not at the revision that the batch expects. Nothing was written."""


class RequestsAnswered(Exception):
    """Some request of the batch has a result already. Nothing was written."""


class StoreUnavailable(Exception):
    """Postgres could not be reached, or asked for a retry. Nothing is known to have been written."""


class StoreRefused(Exception):
    """Postgres will never take the batch as it is; the text has its reason. Nothing was written."""


class StoreBroken(Exception):
    """Postgres and this version of the service do not go together: a table or a right is missing, say.

    Nothing that comes in could be handled rightly, so the service ends. The text has Postgres' reason.
    """


class StoreTimedOut(StoreUnavailable):
    """A statement, or its wait for a lock, took longer than it may, or Postgres had no memory for it.

    Other statements may go through. Nothing is known to have been written.
    """


class StoreFailed(StoreUnavailable):
    """Postgres met an internal error at a statement. Another try, or another statement, may go through."""
