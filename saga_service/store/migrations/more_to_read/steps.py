"""What each step is, beside how it stands: out of the definition on record."""

from saga_service.store.migrations.first_schema import views as first
from saga_service.store.migrations.first_schema.views import Columns
from saga_service.store.migrations.full_semantics import views as before
from saga_service.store.migrations.more_to_read.on_record import DEFINITION, stated

# A place within one step's JSON array.
_DUE = 5

_UNLESS_ON_RECORD = "Null where this version of the definition is not on record."

STEPS: Columns = {
    **before.STEPS,
    "signal": (
        f"case when step.state ->> {_DUE} = 'signal' then {stated('action', 'step.position')} end",
        before.STEPS["signal"][1],
    ),
    "kind": (
        stated("kind", "step.position", in_first_format="compensatable"),
        "compensatable (it may fail, and is undone then), pivot (once it is done, the saga only goes forward) or"
        f" retriable (it is tried until it is done, or a person decides). {_UNLESS_ON_RECORD}",
    ),
    "task": (
        stated("task", "step.position", in_first_format="command"),
        f"command (a worker does it), sleep, signal or child (another saga does it). {_UNLESS_ON_RECORD}",
    ),
    "action": (
        f"nullif({stated('action', 'step.position')}, '')",
        "Of a command its type, of a signal or a child saga its name. Null for a sleep, and where this version of the"
        " definition is not on record.",
    ),
    "compensation": (
        stated("compensation", "step.position"),
        "Type of the command that undoes it. Null where nothing does, for a child saga, which undoes itself, and where"
        " this version of the definition is not on record.",
    ),
}

STEPS_SOURCE = f"{first.STEPS_SOURCE}{DEFINITION.lstrip()}"
