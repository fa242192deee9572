"""The contract: what may be read in SQL, with the meaning of every column."""

from collections.abc import Mapping

from saga_service.store.migrations.first_schema.moments import moment

Columns = Mapping[str, tuple[str, str]]
"""Name of a view's column: how it is made, what it means."""


def view(name: str, meaning: str, columns: Columns, source: str, create: str = "create view") -> list[str]:
    """The statements that make a view and its documentation."""
    made = ",\n    ".join(f"{expression} as {column}" for column, (expression, _) in columns.items())
    statements = [f"{create} saga.{name} as\nselect\n    {made}\n{source}"]
    statements.append(f"comment on view saga.{name} is {_quoted(meaning)}")
    statements += [
        f"comment on column saga.{name}.{column} is {_quoted(comment)}" for column, (_, comment) in columns.items()
    ]
    return statements


def _quoted(text: str) -> str:
    doubled = text.replace("'", "''")
    return f"'{doubled}'"


# Places within one step's JSON array, as `saga_service.store.rows` writes it.
_NAME, _STATUS, _ATTEMPTS, _COMPENSATION_ATTEMPTS, _FINISHED_ORDER, _DUE, _DUE_AT_MS = range(7)
_IN_DOUBT, _OUTPUT, _FAULT, _STARTED_AT_MS, _ENDED_AT_MS = range(7, 12)


def _step(place: int, as_type: str = "text") -> str:
    return f"step.state ->> {place}" if as_type == "text" else f"(step.state ->> {place})::{as_type}"


SAGAS: Columns = {
    "id": ("sagas.id", "The saga's id. It follows from its business key, its event's id or its stream entry."),
    "saga": ("sagas.saga", "Name of the definition that the saga follows."),
    "version": ("sagas.version", "Version of that definition. A saga ends on the version that it began with."),
    "key": ("sagas.key", "Business key: the value by which the outside knows this saga. Null where it has none."),
    "status": (
        "sagas.status",
        "running, compensating (effects are being undone), completed (all steps done), compensated (every effect"
        " undone), or stuck (an undo was given up on: a person has to act).",
    ),
    "revision": ("sagas.revision", "How many transitions the saga has made. The history has one line for each."),
    "input": ("sagas.input::jsonb", "What the saga was started with, as its schema has it."),
    "error_code": ("sagas.fault ->> 'code'", "Why the saga turned to compensation or is stuck: a code for programs."),
    "error_message": ("sagas.fault ->> 'message'", "Why the saga turned to compensation or is stuck: for people."),
    "error_step": ("sagas.fault ->> 'step'", "The step that the error befell."),
    "created_at": (moment("sagas.created_at_ms"), "When the saga was taken in."),
    "updated_at": (moment("sagas.updated_at_ms"), "When the saga made its latest transition."),
    "ended_at": (moment("sagas.ended_at_ms"), "When the saga ended. Null while something is still owed."),
    "next_check_at": (
        moment("sagas.wake_at_ms"),
        "When the saga is looked at again at the latest, if nothing happens before. Null once nothing is due.",
    ),
    "traceparent": ("sagas.traceparent", "Trace context (W3C) of what started the saga, if it had one."),
}

STEPS: Columns = {
    "saga_id": ("sagas.id", "The saga that the step belongs to."),
    "saga": ("sagas.saga", "Name of the saga's definition."),
    "position": ("step.position::integer", "The step's place in the definition, from 1."),
    "step": (_step(_NAME), "The step's name."),
    "status": (
        _step(_STATUS),
        "pending, dispatched (its action is in flight), succeeded, failed, unknown (it may have happened), compensating"
        " (its undo is in flight or waits), compensated, or compensation_failed (its undo was given up on).",
    ),
    "attempts": (_step(_ATTEMPTS, "integer"), "How often the action was sent."),
    "compensation_attempts": (_step(_COMPENSATION_ATTEMPTS, "integer"), "How often the compensation was sent."),
    "effect_revision": (
        _step(_FINISHED_ORDER, "integer"),
        "The saga's revision at which the step took effect, or may have. Undo goes from the highest to the lowest.",
    ),
    "waiting_for": (
        _step(_DUE),
        "timeout (a command is in flight) or retry (the wait before the next attempt). Null when nothing is awaited.",
    ),
    "due_at": (moment(_step(_DUE_AT_MS, "bigint")), "When that time-out or that wait is over."),
    "in_doubt": (_step(_IN_DOUBT, "boolean"), "Whether an attempt was left without an answer: the effect may stand."),
    "output": (f"nullif((step.state -> {_OUTPUT})::jsonb, 'null')", "What the worker returned."),
    "error_code": (f"step.state -> {_FAULT} ->> 0", "The latest failed attempt's error: a code for programs."),
    "error_message": (f"step.state -> {_FAULT} ->> 1", "The latest failed attempt's error: for people."),
    "started_at": (moment(_step(_STARTED_AT_MS, "bigint")), "When the action was first sent."),
    "ended_at": (moment(_step(_ENDED_AT_MS, "bigint")), "When the step came to its present end, undone or not."),
}
STEPS_SOURCE = """
from saga_private.sagas
cross join lateral json_array_elements(sagas.steps) with ordinality as step (state, position)
"""

HISTORY: Columns = {
    "saga_id": ("history.saga_id", "The saga that this happened to."),
    "revision": ("history.revision", "The saga's revision after it. It rises by one with no gap."),
    "at": (moment("history.at_ms"), "When it was decided."),
    "event": (
        "history.event",
        "What happened: started, or what reached a step (action_succeeded, compensation_timed_out, ...).",
    ),
    "status": ("history.status", "The saga's status after it."),
    "step": ("history.step", "The step that it reached. Null for the saga's start."),
    "direction": ("history.direction", "action or compensation. Null for the saga's start."),
    "attempt": ("history.attempt", "The attempt that it speaks of."),
    "sent": (
        "array(select json_array_elements_text(history.detail -> 'sent'))",
        "The commands that were sent because of it, each as step:direction:attempt.",
    ),
    "error_code": ("history.detail -> 'error' ->> 'code'", "The error that came with it: a code for programs."),
    "error_message": ("history.detail -> 'error' ->> 'message'", "The error that came with it: for people."),
}

DEAD_LETTERS: Columns = {
    "id": ("dead_letters.id", "The dead letter's number, by which it is replayed or dropped."),
    "stream": ("dead_letters.stream", "The stream on which the entry was found."),
    "entry_id": ("dead_letters.entry_id", "The entry's id on that stream."),
    "reason": ("dead_letters.reason", "Why nobody could use the entry."),
    "at": (moment("dead_letters.at_ms"), "When it was put aside."),
    "fields": (
        "dead_letters.preview",
        "The entry's fields to be read by a person: long values are shortened, and what is not text is escaped.",
    ),
    "raw": ("dead_letters.raw", "The entry's fields exactly as they came: JSON pairs of base64."),
    "replayed_at": (moment("dead_letters.replayed_at_ms"), "When the entry was last put on its stream again."),
}

COMPENSATION_DEBT: Columns = {
    "saga_id": ("sagas.id", "The saga whose effect still stands."),
    "saga": ("sagas.saga", "Name of the saga's definition."),
    "key": ("sagas.key", "The saga's business key."),
    "saga_status": ("sagas.status", "compensating (the undo goes on by itself) or stuck (a person has to act)."),
    "step": (_step(_NAME), "The step whose effect stands, or may stand."),
    "status": (
        _step(_STATUS),
        "succeeded (to be undone), unknown (may have happened, to be undone), compensating (being undone), or"
        " compensation_failed (the undo was given up on).",
    ),
    "compensation": (
        f"definitions.compensations ->> ({_step(_NAME)})",
        "Type of the command that undoes it. Null where this version of the definition is not on record.",
    ),
    "undo_order": (
        f"row_number() over (partition by sagas.id order by {_step(_FINISHED_ORDER, 'integer')} desc)::integer",
        "1 for what is undone first, and so on.",
    ),
    "attempts": (_step(_COMPENSATION_ATTEMPTS, "integer"), "How often the undo was sent."),
    "error_code": (f"step.state -> {_FAULT} ->> 0", "The latest error of this step: a code for programs."),
    "error_message": (f"step.state -> {_FAULT} ->> 1", "The latest error of this step: for people."),
    "effect_at": (moment(_step(_ENDED_AT_MS, "bigint")), "When the step took effect, or was left in doubt."),
    "outstanding_since": (
        f"""(
        select min({moment("turn.at_ms")}) from saga_private.history as turn
        where turn.saga_id = sagas.id and turn.revision > (
            select max(revision) from saga_private.history as before
            where before.saga_id = sagas.id and before.status not in ('compensating', 'stuck')
        )
    )""",
        "When the saga last turned to compensation.",
    ),
}
COMPENSATION_DEBT_SOURCE = f"""
from saga_private.sagas
cross join lateral json_array_elements(sagas.steps) as step (state)
left join saga_private.definitions on definitions.saga = sagas.saga and definitions.version = sagas.version
where sagas.status in ('compensating', 'stuck')
    and {_step(_STATUS)} in ('succeeded', 'unknown', 'compensating', 'compensation_failed')
    and (definitions.saga is null or definitions.compensations ? ({_step(_NAME)}))
"""

VIEWS = [
    *view("sagas", "Every saga, one row each.", SAGAS, "from saga_private.sagas"),
    *view("steps", "Every step of every saga, one row each.", STEPS, STEPS_SOURCE),
    *view(
        "history",
        "Everything that ever happened to a saga, one row for each transition.",
        HISTORY,
        "from saga_private.history",
    ),
    *view("dead_letters", "Stream entries that nobody could use.", DEAD_LETTERS, "from saga_private.dead_letters"),
    *view(
        "compensation_debt",
        "Every effect that is not yet undone, of every saga that is compensating or stuck.",
        COMPENSATION_DEBT,
        COMPENSATION_DEBT_SOURCE,
    ),
    "comment on schema saga is 'The contract of saga_service: views to read. Grant saga_reader to read them.'",
    "comment on schema saga_private is 'Tables of saga_service. They change with its versions: read the schema saga.'",
]
