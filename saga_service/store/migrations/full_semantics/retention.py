"""What has ended is removed in small batches, by any number of replicas at once.

- A saga goes with all that hangs on it, in one place: `saga_private.remove_sagas`. A table that gets rows of its own
  for each saga adds its delete there.
- A saga may go if it has ended, nothing is due for it, it ended before the moment given and more than a day ago by the
  database's own clock, and no relative keeps it: a child stays as long as its parent, which may still have to undo
  it, and a parent until all its children have ended.
- Rows are locked before they are removed, and passed over where somebody else holds them. A saga that a late reply
  sets going again at this moment is therefore either gone before, and the reply becomes a dead letter, or stays.
- The index is on what the views show, in the same words, so that readers who ask for a span of time use it too. It
  holds ended sagas alone: while a saga runs its steps touch no index, as before (HOT).
- Plans are fixed by hand as in the first schema, and for the same reason.
"""

from saga_service.store.migrations.first_schema.moments import moment
from saga_service.store.migrations.full_semantics.plans import FIXED_PLANS

KEPT_MS_MIN = 86_400_000
"""Longer than a command may take to be answered late, and than an entry waits to be taken over."""

INDEXES = (
    f"create index sagas_ended on saga_private.sagas (({moment('ended_at_ms')}), id) where ended_at_ms is not null",
    "create index dead_letters_replayed on saga_private.dead_letters (replayed_at_ms) where replayed_at_ms is not null",
)

KEPT_BY_ITS_PARENT = """exists (
        select from saga_private.sagas as parent
        where parent.id = saga.parent_id and (parent.ended_at_ms is null or parent.ended_at_ms >= before_ms)
    )"""

_MAY_GO = f"""
    {moment("saga.ended_at_ms")} < {moment("before_ms")}
    and saga.status in ('completed', 'compensated')
    and saga.wake_at_ms is null
    and not {KEPT_BY_ITS_PARENT}
    and not exists (
        select from saga_private.sagas as child where child.parent_id = saga.id and child.ended_at_ms is null
    )
"""

REMOVE_SAGAS = f"""
create function saga_private.remove_sagas(saga_ids uuid[])
returns void
language plpgsql
{FIXED_PLANS}
as $$
begin
    delete from saga_private.history where saga_id = any(saga_ids);
    delete from saga_private.sagas where id = any(saga_ids);
end
$$
"""

LATEST_REMOVABLE = f"""
create function saga_private.latest_removable(before_ms bigint)
returns bigint
language sql stable
as $$
    select least(before_ms, (extract(epoch from now()) * 1000)::bigint - {KEPT_MS_MIN})
$$
"""

REMOVE_ENDED = f"""
create function saga_private.remove_ended(
    since_ms bigint, before_ms bigint, sagas_max integer,
    out removed integer, out reached_ms bigint
)
language plpgsql
{FIXED_PLANS}
as $$
declare
    ended_ids uuid[];
begin
    before_ms := saga_private.latest_removable(before_ms);
    with ended as materialized (
        select id, ended_at_ms from saga_private.sagas as saga
        where {moment("saga.ended_at_ms")} >= {moment("since_ms")} and {_MAY_GO}
        order by {moment("saga.ended_at_ms")}, id limit sagas_max
        for update of saga skip locked
    )
    select array_agg(id), count(*), max(ended_at_ms) from ended into ended_ids, removed, reached_ms;
    perform saga_private.remove_sagas(ended_ids);
end
$$
"""

REMOVE_WRITTEN = f"""
create function saga_private.remove_written(written_ids uuid[], written_revisions integer[], before_ms bigint)
returns integer
language plpgsql
{FIXED_PLANS}
as $$
declare
    ended_ids uuid[];
begin
    before_ms := saga_private.latest_removable(before_ms);
    with ended as materialized (
        select saga.id
        from unnest(written_ids, written_revisions) as written (id, revision)
        join saga_private.sagas as saga on saga.id = written.id and saga.revision = written.revision
        where {_MAY_GO}
        for update of saga skip locked
    )
    select array_agg(id) from ended into ended_ids;
    perform saga_private.remove_sagas(ended_ids);
    return coalesce(cardinality(ended_ids), 0);
end
$$
"""

REMOVE_REPLAYED = f"""
create function saga_private.remove_replayed(before_ms bigint, letters_max integer)
returns integer
language plpgsql
{FIXED_PLANS}
as $$
declare
    removed integer;
begin
    with replayed as materialized (
        select id from saga_private.dead_letters
        where replayed_at_ms < saga_private.latest_removable(before_ms)
        order by replayed_at_ms limit letters_max
        for update skip locked
    )
    delete from saga_private.dead_letters using replayed where dead_letters.id = replayed.id;
    get diagnostics removed = row_count;
    return removed;
end
$$
"""

RETENTION = (
    *INDEXES,
    REMOVE_SAGAS,
    LATEST_REMOVABLE,
    REMOVE_ENDED,
    REMOVE_WRITTEN,
    REMOVE_REPLAYED,
)
