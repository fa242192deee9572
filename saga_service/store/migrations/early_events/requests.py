"""What comes for a saga that nobody knows yet waits beside what was asked by SQL, and is taken in the same way.

A signal may overtake the start of its saga: two lanes, or two replicas, have them in hand at once. So the entry is
kept, exactly as it came, and looked at again soon, then less and less often, until its saga is there or it has waited
for too long. `due_at_ms` is the earliest moment of the next look; it takes the place of the moment of the last claim,
so that those that wait lie behind those that are due.
"""

from saga_service.store.migrations.full_semantics.plans import FIXED_PLANS

# `claimed_at_ms` stays, and nobody reads it any more: a claim of the version before may wait for this very migration to
# end, and goes on with the statement that it had.
COLUMNS = (
    "alter table saga_private.requests add column due_at_ms bigint not null default 0",
    "alter table saga_private.requests add column first_attempt_at_ms bigint",
    "alter table saga_private.requests add column looks integer not null default 0",
    "alter table saga_private.requests add column stream text",
    "alter table saga_private.requests add column entry_id text",
    "alter table saga_private.requests add column raw text",
    "drop index saga_private.requests_open",
    "create index requests_open on saga_private.requests (due_at_ms, id) where answered_at_ms is null",
    # An entry that is delivered again after a crash is kept once.
    "create unique index requests_early on saga_private.requests (stream, entry_id) where stream is not null",
)

CLAIM_WAITING = f"""
create function saga_private.claim_requests_2(now_ms bigint, requests_max integer, lease_ms bigint)
returns table (
    request_id bigint, request_fields text, is_awaited boolean, since_ms bigint, looked_at integer,
    came_on text, came_as text, request_raw text
)
language plpgsql
{FIXED_PLANS}
as $$
begin
    return query
    with waiting as materialized (
        select id from saga_private.requests
        where answered_at_ms is null and due_at_ms <= now_ms
        order by due_at_ms, id limit requests_max
        for update skip locked
    )
    update saga_private.requests
    set due_at_ms = now_ms + lease_ms, looks = looks + 1, first_attempt_at_ms = coalesce(first_attempt_at_ms, now_ms)
    from waiting where requests.id = waiting.id
    returning
        requests.id, requests.fields::text, requests.wants_result, requests.first_attempt_at_ms, requests.looks,
        requests.stream, requests.entry_id, requests.raw;
end
$$
"""

# For replicas of the version before, which go on while the new one is rolled out. They know of requests by SQL alone.
CLAIM_REQUESTS = f"""
create or replace function saga_private.claim_requests(now_ms bigint, requests_max integer, lease_ms bigint)
returns table (request_id bigint, request_fields text, is_awaited boolean)
language plpgsql
{FIXED_PLANS}
as $$
begin
    return query
    with waiting as materialized (
        select id from saga_private.requests
        where answered_at_ms is null and due_at_ms <= now_ms and stream is null
        order by due_at_ms, id limit requests_max
        for update skip locked
    )
    update saga_private.requests set due_at_ms = now_ms + lease_ms
    from waiting where requests.id = waiting.id
    returning requests.id, requests.fields::text, requests.wants_result;
end
$$
"""

# In the order of their numbers, as the commit of a batch locks them.
LET_WAIT = f"""
create function saga_private.defer(
    waiting_ids bigint[], waiting_due_at_ms bigint[],
    early_streams text[], early_entry_ids text[], early_fields text[], early_raws text[], early_due_at_ms bigint[],
    now_ms bigint
)
returns void
language plpgsql
{FIXED_PLANS}
as $$
begin
    update saga_private.requests set due_at_ms = waiting.due_at_ms
    from unnest(waiting_ids, waiting_due_at_ms) as waiting (id, due_at_ms)
    where requests.id = waiting.id and requests.answered_at_ms is null;
    insert into saga_private.requests (at_ms, due_at_ms, first_attempt_at_ms, looks, fields, stream, entry_id, raw)
    select now_ms, due_at_ms, now_ms, 1, fields::json, stream, entry_id, raw
    from unnest(early_streams, early_entry_ids, early_fields, early_raws, early_due_at_ms)
        as early (stream, entry_id, fields, raw, due_at_ms)
    on conflict (stream, entry_id) where stream is not null do nothing;
end
$$
"""

# Two of each kind at most: more than one is as many as too many.
IDS_WITH_KEY = f"""
create function saga_private.ids_with_key(wanted_sagas text[], wanted_keys text[])
returns table (found_saga text, found_key text, found_id text, has_ended boolean)
language plpgsql stable
{FIXED_PLANS}
as $$
begin
    return query
    select wanted.saga, wanted.key, known.id::text, known.ended
    from unnest(wanted_sagas, wanted_keys) as wanted (saga, key)
    cross join lateral (
        (
            select sagas.id, false as ended from saga_private.sagas
            where sagas.key = wanted.key and sagas.saga = wanted.saga and sagas.ended_at_ms is null limit 2
        )
        union all
        (
            select sagas.id, true as ended from saga_private.sagas
            where sagas.key = wanted.key and sagas.saga = wanted.saga and sagas.ended_at_ms is not null limit 2
        )
    ) as known;
end
$$
"""

EARLY_EVENTS = (*COLUMNS, CLAIM_WAITING, CLAIM_REQUESTS, LET_WAIT, IDS_WITH_KEY)
