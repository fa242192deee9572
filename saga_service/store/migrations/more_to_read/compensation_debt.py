"""What is owed, in the order in which it is really undone."""

from saga_service.store.migrations.first_schema.views import Columns
from saga_service.store.migrations.full_semantics import views as before
from saga_service.store.migrations.more_to_read.on_record import DEFINITION

# Places within one step's JSON array.
_NAME, _STATUS, _FINISHED_ORDER = 0, 1, 4

_IN_DOUBT, _COURSE = before.STEPS["in_doubt"][0], before.SAGAS["course"][0]
_IS_UNDER_WAY = f"step.state ->> {_STATUS} in ('compensating', 'compensation_failed')"

COMPENSATION_DEBT: Columns = {
    **before.COMPENSATION_DEBT,
    "status": (
        f"step.state ->> {_STATUS}",
        "succeeded (to be undone), unknown (may have happened, to be undone), skipped (left out while nobody knew"
        " whether it had happened, to be undone), compensating (being undone), or compensation_failed (the undo was"
        " given up on).",
    ),
    "compensation": (
        before.COMPENSATION_DEBT["compensation"][0],
        "Type of the command that undoes it; 'undo of' and the name where a child saga undoes itself. Null where this"
        " version of the definition is not on record.",
    ),
    "undo_order": (
        f"""case when coalesce(definitions.document ->> 'undo', 'reverse') = 'reverse' and definitions.saga is not null
        then row_number() over (
            partition by sagas.id
            order by {_IS_UNDER_WAY} desc, coalesce((step.state ->> {_FINISHED_ORDER})::integer, 0) desc,
                step.position desc
        )::integer
    end""",
        "1 for what is undone first, and so on: what is under way, then the latest effect, and of two that came at once"
        " the one that stands later in the definition. Null where there is no one order: with `undo: parallel` each is"
        " undone as soon as all that came after it in the graph is; and where this version of the definition is not on"
        " record, so that nobody can tell.",
    ),
}

COMPENSATION_DEBT_SOURCE = f"""
from saga_private.sagas
cross join lateral json_array_elements(sagas.steps) with ordinality as step (state, position)
{DEFINITION.strip()}
where sagas.status in ('compensating', 'stuck', 'paused')
    and {_COURSE} = 'backward'
    and (
        step.state ->> {_STATUS} in ('succeeded', 'unknown', 'compensating', 'compensation_failed')
        or step.state ->> {_STATUS} = 'skipped' and {_IN_DOUBT}
    )
    and (definitions.saga is null or definitions.compensations ? (step.state ->> {_NAME}))
"""
