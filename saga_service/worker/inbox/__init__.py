"""The inbox: effects that happen exactly once, by a table in the handlers' own database.

`decisions` (the theory and its tables: what is on record, and what follows from it), `exactly_once` (calling handlers
by those decisions), `recorded_replies` (the replies in a handler's place), `connection` (errors, transactions, and how
long a command waits for the database), `table` and `inbox.sql` (the rows), `postgres` (creating and opening it).
"""

from saga_service.worker.inbox.connection import InboxUnavailable
from saga_service.worker.inbox.postgres import InboxNotCreated, OpenInbox, PostgresInbox

__all__ = ["InboxNotCreated", "InboxUnavailable", "OpenInbox", "PostgresInbox"]
