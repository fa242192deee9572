"""What was asked, and what waits for its saga, without the data that came with it."""

from saga_service.store.migrations.first_schema.moments import moment
from saga_service.store.migrations.first_schema.views import Columns, view

REQUESTS: Columns = {
    "request": ("requests.id", "The request's number, for saga.request_results."),
    "at": (moment("requests.at_ms"), "When it was asked, or when the entry came."),
    "type": (
        "requests.fields ->> 'type'",
        "What is asked: the saga to start, the signal, or a verb such as saga.cancel. Null once it is answered.",
    ),
    "saga_id": (
        "coalesce(requests.saga_id::text, requests.fields ->> 'saga_id')",
        "The saga that it speaks of, where it names one by its id.",
    ),
    "saga": ("requests.fields ->> 'saga'", "The saga's name, where that is told."),
    "key": ("requests.fields ->> 'subject'", "The saga's business key, where it names one by that."),
    "stream": (
        "requests.stream",
        "Where it came from: null for SQL, else the stream of an entry that waits for its saga to be there.",
    ),
    "entry_id": ("requests.entry_id", "The entry's id on that stream."),
    "next_check_at": (
        f"case when requests.answered_at_ms is null then {moment('nullif(requests.due_at_ms, 0)')} end",
        "When it is looked at again, at the earliest. Null before the first look, and once it is answered.",
    ),
    "answered_at": (moment("requests.answered_at_ms"), "When it was answered; it is deleted an hour later."),
    "verdict": ("requests.verdict", "applied, repeated (it was so already) or refused. Null until it is answered."),
    "reason": ("requests.reason", "Why it was refused, or had no effect."),
}

VIEWS = view(
    "requests",
    "What was asked by SQL and is open, or whose answer is awaited; and entries that wait for a saga nobody knows yet.",
    REQUESTS,
    "from saga_private.requests",
)
