"""What sagas and their steps have beyond a sequence of steps.

`extra` is null for most sagas: their course where the status does not say it, a deadline, signals, the parent's command
that a child saga answers. `parent_id` never changes, so it may be indexed; `extra` may not.
"""

SAGA_COLUMNS = (
    "alter table saga_private.sagas add column parent_id uuid",
    "alter table saga_private.sagas add column extra json",
    "create index sagas_by_parent on saga_private.sagas (parent_id) where parent_id is not null",
    "drop index saga_private.sagas_undoing",
    "create index sagas_undoing on saga_private.sagas (id) where status in ('compensating', 'stuck', 'paused')",
)
