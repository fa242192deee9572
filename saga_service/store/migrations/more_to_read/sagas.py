"""A stuck saga tells both: why it turned to compensation (`error_*`, as ever) and what it is stuck at (`stuck_*`)."""

from saga_service.store.migrations.first_schema.views import Columns
from saga_service.store.migrations.full_semantics import views as before

# Places within one step's JSON array.
_NAME, _STATUS, _DUE, _FAULT = 0, 1, 5, 9

_COURSE = before.SAGAS["course"][0]


def _of_the_step(expression: str) -> str:
    """Of the first step that waits for a person. Only of a stuck saga: any other is not looked into."""
    return f"""case when sagas.status = 'stuck' then (
        select {expression} from json_array_elements(sagas.steps) with ordinality as step (state, position)
        where case {_COURSE}
            when 'backward' then step.state ->> {_STATUS} = 'compensation_failed'
            else step.state ->> {_STATUS} = 'failed'
                or step.state ->> {_STATUS} = 'unknown' and step.state ->> {_DUE} is null
        end
        order by position limit 1
    ) end"""


SAGAS: Columns = {
    **before.SAGAS,
    "version": (
        "sagas.version",
        "Version of that definition. A saga ends on the version that it began with. 'never started' of a child saga"
        " that its parent called off before its start came: it has no steps and never will.",
    ),
    "deadline_at": (
        before.SAGAS["deadline_at"][0],
        "When the saga turns to compensation by itself if it is not done. It waits for a pivot in flight, and means"
        " nothing more once the pivot is done. Null without a deadline, and once the saga turned because of it.",
    ),
    "error_code": (
        "sagas.fault ->> 'code'",
        "Why the saga turned to compensation, or what it is stuck at on its way forward: a code for programs.",
    ),
    "error_message": ("sagas.fault ->> 'message'", "The same for people."),
    "stuck_step": (_of_the_step(f"step.state ->> {_NAME}"), "Of a stuck saga, the first step that needs a person."),
    "stuck_code": (
        _of_the_step(f"step.state -> {_FAULT} ->> 0"),
        "Why that step needs a person: of an undo that was given up on, its own error. A code for programs.",
    ),
    "stuck_message": (_of_the_step(f"step.state -> {_FAULT} ->> 1"), "The same for people."),
}
