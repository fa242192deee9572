"""The contract's views with more to read in them. Columns are only added, at the end."""

from saga_service.store.migrations.first_schema.views import view
from saga_service.store.migrations.more_to_read.compensation_debt import COMPENSATION_DEBT, COMPENSATION_DEBT_SOURCE
from saga_service.store.migrations.more_to_read.definitions import DEFINITIONS, DEFINITIONS_SOURCE
from saga_service.store.migrations.more_to_read.sagas import SAGAS
from saga_service.store.migrations.more_to_read.steps import STEPS, STEPS_SOURCE

_REPLACE = "create or replace view"

VIEWS = (
    *view("sagas", "Every saga, one row each.", SAGAS, "from saga_private.sagas", _REPLACE),
    *view("steps", "Every step of every saga, one row each.", STEPS, STEPS_SOURCE, _REPLACE),
    *view("definitions", "Every version of every definition that was ever deployed.", DEFINITIONS, DEFINITIONS_SOURCE),
    *view(
        "compensation_debt",
        "Every effect that is not yet undone, of every saga that is undoing, paused while it does or stuck at it.",
        COMPENSATION_DEBT,
        COMPENSATION_DEBT_SOURCE,
        _REPLACE,
    ),
)
