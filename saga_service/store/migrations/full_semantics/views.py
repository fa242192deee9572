"""The contract's views with all that sagas mean now. Columns are only added, at the end, and none changes its sense."""

from saga_service.store.migrations.first_schema import views as first
from saga_service.store.migrations.first_schema.moments import moment
from saga_service.store.migrations.first_schema.views import Columns, view

# Places within one step's JSON array that the first schema did not have, and one that holds more than it did.
_NAME, _STATUS, _DUE, _UNANSWERED, _PROBES = 0, 1, 5, 7, 13

SAGAS: Columns = {
    **first.SAGAS,
    "status": (
        "sagas.status",
        "running, compensating (effects are being undone), paused (a person has paused it), completed (all steps done"
        " or left out), compensated (every effect undone), or stuck (a person has to act).",
    ),
    "course": (
        "coalesce(sagas.extra ->> 'course',"
        " case when sagas.status in ('running', 'completed') then 'forward' else 'backward' end)",
        "forward (steps are done) or backward (effects are undone). A paused or stuck saga still has its course.",
    ),
    "deadline_at": (
        moment("(sagas.extra ->> 'deadline_ms')::bigint"),
        "When the saga turns to compensation by itself if it is not done. Null without a deadline, and once it passed.",
    ),
    "parent_id": ("sagas.parent_id", "The saga that started this one as its child."),
    "parent_step": (
        "split_part(sagas.extra ->> 'parent', ':', 2)",
        "The parent's step that this saga carries out, or undoes.",
    ),
}

STEPS: Columns = {
    **first.STEPS,
    "status": (
        f"step.state ->> {_STATUS}",
        "pending, dispatched (its action is in flight), waiting (for a time or a signal), succeeded, failed, unknown"
        " (it may have happened), skipped (left out), compensating (its undo is in flight or waits), compensated, or"
        " compensation_failed (its undo was given up on).",
    ),
    "waiting_for": (
        f"step.state ->> {_DUE}",
        "timeout (a command is in flight), retry (the wait before the next attempt), probe_timeout (it was asked"
        " whether it happened), probe_retry (the wait before asking again), sleep or signal. Null when nothing is"
        " awaited.",
    ),
    "in_doubt": (
        f"(step.state ->> {_UNANSWERED}) not in ('false', '[]')",
        "Whether an attempt was left without an answer: the effect may stand.",
    ),
    "probes": (
        f"coalesce((step.state ->> {_PROBES})::integer, 0)",
        "How often it was asked whether the action happened.",
    ),
    # Only where one is awaited: each look reads the whole definition.
    "signal": (
        f"""case when step.state ->> {_DUE} = 'signal' then (
        select stated ->> 'action' from saga_private.definitions
        cross join lateral jsonb_array_elements(definitions.document -> 'steps') as stated
        where definitions.saga = sagas.saga and definitions.version = sagas.version
            and stated ->> 'name' = step.state ->> {_NAME}
    ) end""",
        "Name of the signal that is awaited. Null when none is, and where this version of the definition is not on"
        " record.",
    ),
}

HISTORY: Columns = {
    **first.HISTORY,
    "event": (
        "history.event",
        "What happened: started, what reached a step (action_succeeded, compensation_timed_out, signalled, ...), what"
        " was asked (cancel_requested, retry_requested, ...), deadline_passed.",
    ),
    "sent": (
        first.HISTORY["sent"][0],
        "The commands that were sent because of it, each as step:direction:attempt. Of a child saga that was told to"
        " stop the direction is cancel.",
    ),
    "actor": ("history.detail ->> 'actor'", "Who asked for it. Null for what no person asked."),
    "reason": ("history.detail ->> 'reason'", "Why it was asked for."),
}

SIGNALS: Columns = {
    "saga_id": ("sagas.id", "The saga that received the signal."),
    "position": ("signal.position::integer", "From 1, in the order in which they came."),
    "name": ("signal.state ->> 0", "The signal's name."),
    "signal_id": ("signal.state ->> 1", "The signal's id: the same id twice is one signal."),
    "taken": ("(signal.state ->> 2) is null", "Whether a step has taken it."),
    "data": ("nullif((signal.state -> 2)::jsonb, 'null')", "What came with it, until a step takes it."),
}
SIGNALS_SOURCE = """
from saga_private.sagas
cross join lateral json_array_elements(sagas.extra -> 'signals') with ordinality as signal (state, position)
"""

_UNDOING = "coalesce(sagas.extra ->> 'course', 'backward') = 'backward'"

COMPENSATION_DEBT: Columns = {
    **first.COMPENSATION_DEBT,
    "saga_status": (
        "sagas.status",
        "compensating (the undo goes on by itself), paused (it goes on when it is resumed) or stuck (a person has to"
        " act).",
    ),
    "outstanding_since": (
        f"""(
        select min({moment("turn.at_ms")}) from saga_private.history as turn
        where turn.saga_id = sagas.id and turn.revision > (
            select max(revision) from saga_private.history as before
            where before.saga_id = sagas.id and before.status not in ('compensating', 'stuck', 'paused')
        )
    )""",
        "When the saga last turned to compensation.",
    ),
}
COMPENSATION_DEBT_SOURCE = first.COMPENSATION_DEBT_SOURCE.replace(
    "sagas.status in ('compensating', 'stuck')",
    f"sagas.status in ('compensating', 'stuck', 'paused')\n    and {_UNDOING}",
)

_REPLACE = "create or replace view"

VIEWS = (
    *view("sagas", "Every saga, one row each.", SAGAS, "from saga_private.sagas", _REPLACE),
    *view("steps", "Every step of every saga, one row each.", STEPS, first.STEPS_SOURCE, _REPLACE),
    *view(
        "history",
        "Everything that ever happened to a saga, one row for each transition.",
        HISTORY,
        "from saga_private.history",
        _REPLACE,
    ),
    *view("signals", "Every signal that a saga has received.", SIGNALS, SIGNALS_SOURCE),
    *view(
        "compensation_debt",
        "Every effect that is not yet undone, of every saga that is undoing, paused while it does or stuck at it.",
        COMPENSATION_DEBT,
        COMPENSATION_DEBT_SOURCE,
        _REPLACE,
    ),
)
