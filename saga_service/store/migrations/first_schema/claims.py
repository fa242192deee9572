"""The functions by which replicas share out what is due and what was never sent.

Their plans are fixed by hand, as in `commit_batch`, and for the same reason. SKIP LOCKED hands each row to one replica.
"""

CLAIM_DUE = """
create function saga_private.claim_due(
    now_ms bigint, sagas_max integer, lease_ms bigint,
    out saga_ids text[], out next_due_at_ms bigint
)
language plpgsql
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
begin
    with due as materialized (
        select id from saga_private.sagas
        where wake_at_ms <= now_ms
        order by wake_at_ms limit sagas_max
        for update skip locked
    ), claimed as (
        update saga_private.sagas set wake_at_ms = now_ms + lease_ms
        from due where sagas.id = due.id
        returning sagas.id
    )
    select
        array(select id::text from claimed),
        (select min(wake_at_ms) from saga_private.sagas where wake_at_ms > now_ms)
    into saga_ids, next_due_at_ms;
end
$$
"""

CLAIM_UNPUBLISHED = """
create function saga_private.claim_unpublished(now_ms bigint, older_than_ms bigint, rows_max integer)
returns table (outbox_id bigint, outgoing_messages text)
language plpgsql
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
begin
    return query
    with unpublished as materialized (
        select id from saga_private.outbox
        where taken_at_ms <= now_ms - older_than_ms
        order by taken_at_ms, id limit rows_max
        for update skip locked
    )
    update saga_private.outbox set taken_at_ms = now_ms
    from unpublished where outbox.id = unpublished.id
    returning outbox.id, outbox.messages;
end
$$
"""

FORGET_PUBLISHED = """
create function saga_private.forget_published(published_ids bigint[])
returns void
language plpgsql
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
begin
    delete from saga_private.outbox where id = any(published_ids);
end
$$
"""

CLAIMS = (CLAIM_DUE, CLAIM_UNPUBLISHED, FORGET_PUBLISHED)
