"""Effects that happen once.

`verdicts` (what is on record, and what follows from it: the theory and its tables), `once` (calling handlers by it),
`patience` (how long it is waited for), `replying` (what is answered in their place), `rows` and `sql` (the table),
`postgres` (making and opening it), `errors`.
"""

from saga_service.worker.inbox.connection import InboxNotMade, InboxUnavailable
from saga_service.worker.inbox.postgres import OpenInbox, PostgresInbox

__all__ = ["InboxNotMade", "InboxUnavailable", "OpenInbox", "PostgresInbox"]
