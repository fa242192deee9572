-- saga_service: everything that it has in Postgres.
--
-- This file is the truth, in reading order: tables, then the functions by which the service writes and reads them, then
-- the contract. Databases come to be by the numbered files beside it (`0001_initial.sql` and what follows it); a test
-- holds that those, applied one after another, make what this file makes. Whoever changes the schema changes this file
-- and adds a numbered one.
--
-- The schema `saga` is the contract: views to read and functions to call. The schema `saga_private` may change with any
-- version of the service.
--
-- Why it is as it is:
--
-- Moments are whole milliseconds since 1970 (`bigint`), as the core has them: no conversion on the hot path, exact both
-- ways. The views show `timestamptz`.
--
-- What the service writes and reads back is `json`, not `jsonb`: it comes back as the text that it was, and a transition
-- costs a fifth less time.
--
-- Plans of the service's own functions are fixed by hand (`plan_cache_mode`, `enable_*`): a plan that was made while the
-- tables were empty would be kept, and scan them when they are full. Nested loops over the given arrays are always good
-- here, and they lock rows in the arrays' order.
--
-- No write of a batch waits for a lock longer than `lock_timeout`, which is set in the functions and not in the session:
-- a row that a stranger keeps locked must not hold up a whole batch. The service then goes on without that row.
--
-- Locks are taken in one order by everything that waits for them, so that no two replicas wait for each other:
--   1. requests, by their id; then entries that become requests, by stream and entry;
--   2. sagas that start, by their id; then sagas that go on, by their id, and then their history (a batch that parks a
--      saga has none that goes on);
--   3. dead letters, by stream and entry;
--   4. outbox rows, by their id;
--   5. streams, by their name. What is owed after a loss becomes requests, which are new.
-- Rows of changes are new too, and are removed without waiting.
-- `commit_batch` alone waits for locks of more than one kind, and its caller hands it every array in this order. All
-- else waits for rows of one kind, in this order and in one statement, or passes over rows that somebody else holds
-- (SKIP LOCKED). Definitions, by saga and version, are such a kind. An insert that meets an uncommitted row of the same
-- key waits as for a lock.
-- A job goes before all of these: who holds its row alone changes its items, and then waits for the dead letters that it
-- drops. No commit of a batch wants a job.
--
-- Nothing here is kept by a session (no SET, no LISTEN, no session lock), so that any pooler may stand between.


-- `create schema if not exists` asks for the right to create one even where it exists.
do $$
begin
    if to_regnamespace('saga') is null then
        create schema saga;
        comment on schema saga is
            'The contract of saga_service: views to read and functions to call. Grant saga_reader to read, saga_client to'
            ' start and to signal sagas, saga_operator to operate them.';
    end if;
    if to_regnamespace('saga_private') is null then
        create schema saga_private;
        comment on schema saga_private is
            'Tables of saga_service. They change with its versions: read the schema saga.';
    end if;
end
$$;


-- Tables


create table saga_private.migrations (
    revision text primary key,
    migrated_by text not null,
    at timestamptz not null default now()
);
comment on table saga_private.migrations is
    'The revisions of this schema that were applied, and the version of saga_service that applied each.';

create table saga_private.deployment (
    is_only boolean primary key default true check (is_only),
    stream_prefix text not null,
    consumer_group text not null,
    recorded_at timestamptz not null default now()
);
comment on table saga_private.deployment is
    'The one deployment that this database belongs to. Another would take its timers and messages for its own.';

create table saga_private.definitions (
    saga text not null,
    version text not null,
    first_seen_at timestamptz not null default now(),
    deployed_at timestamptz not null default now(),
    seen_at timestamptz not null default now(),
    compensations jsonb not null,
    document jsonb not null,
    primary key (saga, version)
);
comment on table saga_private.definitions is
    'Every version of every definition that was ever deployed. A version never changes.';
comment on column saga_private.definitions.deployed_at is 'When a replica that has this version last started.';
comment on column saga_private.definitions.seen_at is 'When a running replica that has this version last said so.';

create table saga_private.processes (
    kind text not null,
    name text not null,
    host text not null,
    pid bigint,
    version text not null,
    started_at_ms bigint,
    reads jsonb not null,
    services jsonb not null,
    definitions jsonb not null,
    seen_at timestamptz not null,
    slots bigint,
    in_flight bigint,
    handled_per_s double precision,
    clock_ahead_ms bigint,
    has_stopped boolean not null,
    primary key (kind, name)
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05);
comment on table saga_private.processes is
    'Services and workers, as they last said of themselves. Those that say nothing more are forgotten after a day.';

-- Columns that never change come first: Postgres leaves the common beginning of the old and the new row out of its log.
-- Nothing that changes at each step is indexed, and pages are filled by half, so that an update stays on its page and
-- touches no index (HOT): sagas that lie together began together and take their steps together. At 70 percent, 4 of 10
-- updates were HOT; at 50 all but the last of each saga, and the table was hardly larger.
--
-- Sagas are started by INSERT and moved by UPDATE rather than both by one upsert: an upsert locks each row before it
-- changes it.
create table saga_private.sagas (
    id uuid primary key,
    created_at_ms bigint not null,
    saga text not null,
    version text not null,
    key text,
    traceparent text,
    input json not null,
    status text not null,
    revision integer not null,
    updated_at_ms bigint not null,
    ended_at_ms bigint,
    wake_at_ms bigint,
    fault json,
    steps json not null,
    parent_id uuid,
    extra json
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05);
comment on column saga_private.sagas.steps is
    'A JSON array of arrays, the shortest text: saga_private.steps_of names the places in each.';
comment on column saga_private.sagas.extra is
    'What few sagas have, and null for most: the course where the status does not tell it, a deadline, signals, the'
    ' parent''s command that a child saga answers.';
create index sagas_waking on saga_private.sagas (wake_at_ms) where wake_at_ms is not null;
create index sagas_undoing on saga_private.sagas (id) where status in ('compensating', 'stuck', 'paused');
create index sagas_by_key on saga_private.sagas (key, saga) where key is not null;
create index sagas_by_parent on saga_private.sagas (parent_id) where parent_id is not null;
create index sagas_by_error on saga_private.sagas ((fault ->> 'code')) where fault is not null;

create table saga_private.history (
    saga_id uuid not null,
    revision integer not null,
    attempt integer,
    at_ms bigint not null,
    event text not null,
    status text not null,
    step text,
    direction text,
    detail json,
    primary key (saga_id, revision)
);

create table saga_private.outbox (
    id bigint generated always as identity primary key,
    claimed_at_ms bigint not null,
    messages text not null
);
comment on table saga_private.outbox is
    'Messages that were committed, one row for each batch, until they are known to be on their streams.';
-- Stored out of line and uncompressed: a row lives for milliseconds. Compression would cost a tenth more time and save a
-- third of the log.
alter table saga_private.outbox alter column messages set storage external;
create index outbox_by_age on saga_private.outbox (claimed_at_ms);

-- A signal may overtake the start of its saga: two lanes, or two replicas, have them in hand at once. So the entry is
-- kept here, exactly as it came, beside what was asked by SQL, and tried again soon, then less and less often, until its
-- saga is there or it has waited for too long. `due_at_ms` is the earliest moment of the next attempt.
create table saga_private.requests (
    id bigint generated always as identity primary key,
    at_ms bigint not null,
    fields json not null,
    wants_result boolean not null default false,
    verdict text,
    reason text,
    saga_id uuid,
    answered_at_ms bigint,
    due_at_ms bigint not null default 0,
    first_attempt_at_ms bigint,
    attempts integer not null default 0,
    stream text,
    entry_id text,
    raw text,
    addressed_id uuid,
    addressed_key text
) with (autovacuum_vacuum_scale_factor = 0.05);
comment on table saga_private.requests is
    'What was asked by SQL, until it is answered; and entries of streams that came before their saga.';
create index requests_open on saga_private.requests (due_at_ms, id) where answered_at_ms is null;
create index requests_answered on saga_private.requests (answered_at_ms) where answered_at_ms is not null;
-- What is requested of one saga is carried out in the order of the ids, so the open requests of a saga have to be found.
-- The saga may be named by its id or by its key (`order_key`). A start has neither here: it waits for nothing.
create index requests_by_id on saga_private.requests (addressed_id, id)
where answered_at_ms is null and addressed_id is not null;
create index requests_by_key on saga_private.requests (addressed_key, id)
where answered_at_ms is null and addressed_key is not null;
-- An entry that is delivered again after a crash is kept once.
create unique index requests_deferred on saga_private.requests (stream, entry_id) where stream is not null;

create table saga_private.dead_letters (
    id bigint generated always as identity primary key,
    at_ms bigint not null,
    stream text not null,
    entry_id text not null,
    reason text not null,
    preview jsonb not null,
    raw text not null,
    replayed_at_ms bigint,
    saga_id uuid,
    key text,
    unique (stream, entry_id)
);
comment on column saga_private.dead_letters.saga_id is
    'The saga that the entry names, or would have started: a caller who was given its id asks what became of it.';
create index dead_letters_by_saga on saga_private.dead_letters (saga_id) where saga_id is not null;
create index dead_letters_by_key on saga_private.dead_letters (key) where key is not null;
create index dead_letters_waiting on saga_private.dead_letters (stream, at_ms) where replayed_at_ms is null;
create index dead_letters_replayed on saga_private.dead_letters (replayed_at_ms) where replayed_at_ms is not null;

-- A job is one operation on many sagas or dead letters. Its items are fixed when it is previewed, so what is done is what
-- was seen. `reached` is the position up to which items were taken in hand, and what is open follows from the counts: a
-- turn of a job reads its row and the items that it is about, and never counts all.
create table saga_private.jobs (
    id bigint generated always as identity primary key,
    operation text not null,
    actor text not null,
    reason text not null,
    step text,
    resolution text,
    output text,
    filters jsonb not null,
    confirm_sha256 text not null,
    items integer not null,
    previewed_at_ms bigint not null,
    expires_at_ms bigint not null,
    confirmed_at_ms bigint,
    confirmed_by text,
    stopped_at_ms bigint,
    stopped_by text,
    ended_at_ms bigint,
    reached integer not null default 0,
    applied integer not null default 0,
    repeated integer not null default 0,
    refused integer not null default 0,
    unknown integer not null default 0,
    turn_at_ms bigint not null default 0,
    moved_at_ms bigint not null,
    problem text
) with (fillfactor = 50);
comment on table saga_private.jobs is
    'One operation on many sagas or dead letters: previewed, confirmed, and carried out by any replica.';
comment on column saga_private.jobs.output is 'The output that resolve gives; encrypted for the first saga of the job, where values are encrypted.';
comment on column saga_private.jobs.turn_at_ms is 'When a replica last took it in hand.';
comment on column saga_private.jobs.moved_at_ms is 'When something of it was last requested or answered.';
comment on column saga_private.jobs.problem is 'What kept a replica from going on with it, at its last turn.';
create index jobs_running on saga_private.jobs (id) where confirmed_at_ms is not null and ended_at_ms is null;
create index jobs_previewed on saga_private.jobs (expires_at_ms) where confirmed_at_ms is null;
create index jobs_ended on saga_private.jobs (ended_at_ms) where ended_at_ms is not null;

create table saga_private.job_items (
    job_id bigint not null,
    position integer not null,
    saga_id uuid,
    dead_letter bigint,
    request_id bigint,
    requested_at_ms bigint,
    leased_until_ms bigint,
    tries integer not null default 0,
    verdict text,
    reason text,
    answered_at_ms bigint,
    primary key (job_id, position)
) with (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05);
comment on table saga_private.job_items is 'The sagas, or the dead letters, of each job, and what became of each.';
comment on column saga_private.job_items.leased_until_ms is
    'Of a dead letter that is being put back: until then it belongs to the replica that does it.';
comment on column saga_private.job_items.tries is 'How often a replica began to put the dead letter back.';
-- In the order of the requests, which no other index has: so a turn reads what is open, and not the whole job.
create index job_items_open on saga_private.job_items (job_id, request_id)
where request_id is not null and verdict is null;
create index job_items_by_verdict on saga_private.job_items (job_id, verdict, position) where verdict <> 'applied';
-- An answer is kept until its job has it.
create index job_items_awaiting on saga_private.job_items (request_id)
where request_id is not null and verdict is null;

-- A stream that is lost takes with it what was in flight on it. What was last seen of each stream is kept here, so that
-- any replica finds a loss, and what is owed after one outlives the replica that found it.
create table saga_private.streams (
    stream text primary key,
    carries text not null,
    seen_at_us bigint not null default 0,
    has_group boolean not null default true,
    last_id numeric not null default 0,
    entries_added bigint,
    lost_at_ms bigint,
    lost_by text
);
comment on table saga_private.streams is
    'The streams whose loss makes the service send again what was in flight on them, as they were last seen.';
comment on column saga_private.streams.carries is
    'What is to be sent again: * (everything), saga.child (requests to child sagas), or the service whose commands it'
    ' carries.';
comment on column saga_private.streams.seen_at_us is 'When it was last seen, by the clock of Redis.';
comment on column saga_private.streams.lost_at_ms is
    'When it was found lost; null once all that was in flight on it is in resends.';
comment on column saga_private.streams.lost_by is 'The consumer name of the replica that found it lost.';

create table saga_private.resends (
    saga_id uuid primary key,
    lost text not null,
    lost_at_ms bigint not null
);
comment on table saga_private.resends is
    'The sagas that are still to send again what was in flight on lost streams. Each gets a row in requests, page by page.';
comment on column saga_private.resends.lost is
    'What the lost streams carried, as in streams.carries, with commas between.';


-- Whoever watches sagas asks for what has changed since, and neither a list nor a saga can be asked that cheaply. A row is
-- one commit, so it costs a commit little and a saga nothing. The rows of two minutes are kept (`forget_changes`).
--
-- Numbers and moments become visible in another order than they were given: a commit may take seconds. So a reader keeps
-- its snapshot, and next asks for the transactions which that one did not see. Nothing is missed by it, nothing is told
-- twice, and any process can go on with the snapshot of another.
create table saga_private.changes (
    transaction_id xid8 not null default pg_current_xact_id(),
    number bigint generated always as identity,
    at timestamptz not null default now(),
    saga_ids uuid[] not null,
    is_removal boolean not null default false,
    primary key (transaction_id, number)
) with (autovacuum_vacuum_scale_factor = 0.2, autovacuum_vacuum_threshold = 500, autovacuum_analyze_scale_factor = 1);
comment on table saga_private.changes is 'The sagas that were changed or removed, one row for each commit of two minutes.';
-- Ids do not compress.
alter table saga_private.changes alter column saga_ids set storage external;

-- People log in with a cookie that needs no row: any process of the HTTP API opens it. A row is a log-out.
create table saga_private.ended_sessions (
    session_id text primary key,
    expires_at timestamptz not null
);
comment on table saga_private.ended_sessions is
    'Sessions of the HTTP API that people ended before their time. A row goes once the session would have ended.';

create table saga_private.refusals (
    number bigint generated always as identity primary key,
    at timestamptz not null default now(),
    times integer not null,
    status smallint not null,
    caller text,
    address text not null,
    method text not null,
    path text not null,
    detail text not null
);
comment on table saga_private.refusals is
    'Requests that the HTTP API refused, gathered and written a few at a time. The oldest go: see RECORD_REFUSALS.';


-- What the views are made of
--
-- A view calls functions with its reader's rights, so everybody may call these; and their bodies are parsed here and now
-- (RETURN, BEGIN ATOMIC), so that a reader needs no right to look up a name in this schema. Postgres puts each body in
-- its call's place, so a column that is not read costs nothing.


create function saga_private.moment(milliseconds bigint)
returns timestamptz
language sql immutable
return to_timestamp(milliseconds::double precision / 1000);

-- Indexes on what the views show: lists and readers who ask for a span of time use them, and so does the removal of ended
-- sagas. No step of a running saga touches either: when it began never changes, and the second has ended sagas alone.
create index sagas_by_age on saga_private.sagas (saga_private.moment(created_at_ms), id);
create index sagas_ended on saga_private.sagas (saga_private.moment(ended_at_ms), id) where ended_at_ms is not null;

create function saga_private.course_of(status text, extra json)
returns text
language sql immutable
return coalesce(extra ->> 'course', case when status in ('running', 'completed') then 'forward' else 'backward' end);

-- The places within one step's array, as `saga_service.store.columns.STEP_PLACES` has them. What few steps have stands
-- at the end, and is left out where a step has none of it.
create function saga_private.steps_of(steps json)
returns table (
    "position" integer, name text, status text, attempts integer, compensation_attempts integer,
    effect_revision integer, due text, due_at_ms bigint, unanswered json, output json, fault json,
    started_at_ms bigint, ended_at_ms bigint, deadline_ms bigint, probes integer, series_after integer,
    series_since_ms bigint, called_off_at_ms bigint
)
language sql immutable
begin atomic
    select
        step.place::integer as "position",
        step.state ->> 0 as name,
        step.state ->> 1 as status,
        (step.state ->> 2)::integer as attempts,
        (step.state ->> 3)::integer as compensation_attempts,
        (step.state ->> 4)::integer as effect_revision,
        step.state ->> 5 as due,
        (step.state ->> 6)::bigint as due_at_ms,
        step.state -> 7 as unanswered,
        step.state -> 8 as output,
        step.state -> 9 as fault,
        (step.state ->> 10)::bigint as started_at_ms,
        (step.state ->> 11)::bigint as ended_at_ms,
        (step.state ->> 12)::bigint as deadline_ms,
        coalesce((step.state ->> 13)::integer, 0) as probes,
        coalesce((step.state ->> 14)::integer, 0) as series_after,
        (step.state ->> 15)::bigint as series_since_ms,
        (step.state ->> 16)::bigint as called_off_at_ms
    from json_array_elements(steps) with ordinality as step (state, place);
end;

-- The first step that waits for a person, and why.
create function saga_private.stuck_at(course text, steps json)
returns json
language sql immutable
begin atomic
    select json_build_object('step', step.name, 'code', step.fault ->> 0, 'message', step.fault ->> 1)
    from saga_private.steps_of(steps) as step
    where case course
        when 'backward' then step.status = 'compensation_failed'
        else step.status = 'failed' or step.status = 'unknown' and step.due is null
    end
    order by step.position limit 1;
end;

-- Replicas that run say so more often than this.
create function saga_private.is_seen(seen_at timestamptz)
returns boolean
language sql stable
return seen_at > now() - interval '1 minute';

grant execute on function
    saga_private.moment, saga_private.course_of, saga_private.steps_of, saga_private.stuck_at, saga_private.is_seen
    to public;


-- What a business key is


-- The id that `saga_service.core.ids` derives: SHA-256 over the parts, each after its length in characters, as a version
-- 8 UUID.
create function saga_private.saga_id_from_key(saga text, key text)
returns uuid
language sql immutable strict
as $$
    select (
        substr(digits, 1, 8) || '-' || substr(digits, 9, 4) || '-8' || substr(digits, 14, 3) || '-'
        || substr('89ab', (('x' || substr(digits, 17, 1))::bit(4)::integer & 3) + 1, 1) || substr(digits, 18, 3)
        || '-' || substr(digits, 21, 12)
    )::uuid
    from (
        select encode(sha256(convert_to(
            '12:saga_service3:key' || length(saga) || ':' || saga || length(key) || ':' || key, 'UTF8'
        )), 'hex') as digits
    ) as hashed
$$;

-- A key in the form of its definition's keys, as `saga_service.wire.business_keys` has the rule.
create function saga_private.written_key(form text, key text)
returns text
language sql immutable
as $$
    select case
        when form = 'integer' and key ~ '^[+-]?[0-9]{1,40}([.]0*)?$' then trunc(key::numeric)::text
        when form = 'uuid' and key ~ (
            '^(urn:uuid:)?[{]?[0-9a-fA-F]{8}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{12}[}]?$'
        ) then translate(replace(key, 'urn:uuid:', ''), '{}-', '')::uuid::text
        else key
    end
$$;

-- The key that a field's value is, by the same rule; null for a value that can be none.
create function saga_private.key_text(form text, value jsonb)
returns text
language sql immutable
as $$
    select case jsonb_typeof(value)
        when 'string' then saga_private.written_key(form, value #>> '{}')
        when 'number' then (
            select trunc(number)::text from (select value::numeric as number) as given
            where number = trunc(number) and number between -9223372036854775808 and 18446744073709551615
                and (scale(number) = 0 or abs(number) < 9007199254740992)
        )
    end
$$;

-- The text by which requests that name a saga by its key keep one order, though each may spell it otherwise, and a
-- definition may not be known: keys that are one by any form have one text.
create function saga_private.order_key(key text)
returns text
language sql immutable
return saga_private.written_key('integer', regexp_replace(
    saga_private.written_key('uuid', key),
    '^([0-9a-f]{8})-([0-9a-f]{4})-([0-9a-f]{4})-([0-9a-f]{4})-([0-9a-f]{12})$', '\1\2\3\4\5'
));


-- The order of requests


-- The open requests of a saga: looked for once for a saga and not for each of its requests, for thousands may be open.
-- Postgres puts the body in the call's place.
create function saga_private.open_requests(saga_id uuid, key text)
returns table (id bigint, due_at_ms bigint)
language sql stable
as $$
    select requests.id, requests.due_at_ms from saga_private.requests
    where answered_at_ms is null and addressed_id is not null and addressed_id = $1
    union all
    select requests.id, requests.due_at_ms from saga_private.requests
    where answered_at_ms is null and addressed_key is not null and addressed_key = $2
$$;

-- The moment at which the first open request of a saga is due: one look at each index. It is written as a span of one
-- value, since only the index has that order: with `=` Postgres may sort all, or walk the primary key.
create function saga_private.first_is_due_at_ms(saga_id uuid, key text)
returns bigint
language sql stable
return (
    select first.due_at_ms
    from (
        (
            select requests.id, requests.due_at_ms from saga_private.requests
            where answered_at_ms is null and addressed_id between $1 and $1 order by addressed_id, requests.id limit 1
        )
        union all
        (
            select requests.id, requests.due_at_ms from saga_private.requests
            where answered_at_ms is null and addressed_key between $2 and $2 order by addressed_key, requests.id limit 1
        )
    ) as first
    order by first.id limit 1
);

-- The order key of a saga that a request names by its id, so that those which name it by its key keep their order with it.
create function saga_private.order_key_of(saga_id uuid)
returns text
language sql stable
return (select saga_private.order_key(key) from saga_private.sagas where id = saga_id);


-- One batch, in one commit


-- All of it, or nothing. Raises SG001 where a saga is not at the revision that the batch expects, SG002 where a request
-- that it would answer is not open any more (what was asked has been carried out), and SG003 where an earlier request of
-- a saga is still open. `asked_id` and `asked_key` are the sagas of which entries of streams ask something: these come
-- after whatever is open. The parameters and the lists of columns follow `saga_service.store.columns`. The parts stand in
-- the order in which their locks are taken.
create function saga_private.commit_batch(
    result_id bigint[], result_verdict text[], result_reason text[], result_saga_id uuid[],
    asked_id uuid[], asked_key text[],
    waiting_id bigint[], waiting_due_at_ms bigint[],
    deferred_due_at_ms bigint[], deferred_stream text[], deferred_entry_id text[], deferred_fields text[],
    deferred_raw text[], deferred_addressed_id uuid[], deferred_addressed_key text[],
    started_id uuid[], started_created_at_ms bigint[], started_saga text[], started_version text[],
    started_key text[], started_traceparent text[], started_input text[], started_status text[],
    started_revision integer[], started_updated_at_ms bigint[], started_ended_at_ms bigint[],
    started_wake_at_ms bigint[], started_fault text[], started_steps text[], started_parent_id uuid[],
    started_extra text[],
    advanced_id uuid[], advanced_expected_revision integer[], advanced_status text[], advanced_revision integer[],
    advanced_updated_at_ms bigint[], advanced_ended_at_ms bigint[], advanced_wake_at_ms bigint[],
    advanced_fault text[], advanced_steps text[], advanced_extra text[],
    parked_id uuid[],
    history_saga_id uuid[], history_revision integer[], history_attempt integer[], history_at_ms bigint[],
    history_event text[], history_status text[], history_step text[], history_direction text[],
    history_detail text[],
    letter_at_ms bigint[], letter_stream text[], letter_entry_id text[], letter_reason text[],
    letter_preview text[], letter_raw text[], letter_saga_id uuid[], letter_key text[],
    now_ms bigint, outgoing_messages text, published_ids bigint[]
) returns bigint
language plpgsql
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set lock_timeout = '2s'
as $$
declare
    written bigint;
    deleted bigint;
    outbox_id bigint;
begin
    if cardinality(result_id) > 0 or cardinality(waiting_id) > 0 then
        -- In one order, whatever becomes of each.
        perform id from saga_private.requests where id = any(result_id || waiting_id) order by id for update;
    end if;
    if (cardinality(result_id) > 0 or cardinality(asked_id) > 0) and exists (
        select
        from (
            select saga_id, key, max(request_id) as last_id
            from (
                select addressed_id, addressed_key, id from saga_private.requests where id = any(result_id)
                union all
                select id, saga_private.order_key(key), 9223372036854775807
                from unnest(asked_id, asked_key) as asked (id, key)
            ) as carried_out (saga_id, key, request_id)
            group by saga_id, key
        ) as saga
        cross join lateral saga_private.open_requests(saga.saga_id, saga.key) as earlier
        where earlier.id < saga.last_id and earlier.id not in (select unnest(result_id))
    ) then
        raise exception 'an earlier request of the same saga is open' using errcode = 'SG003';
    end if;
    if cardinality(result_id) > 0 then
        delete from saga_private.requests where id = any(result_id) and not wants_result;
        get diagnostics deleted = row_count;
        update saga_private.requests
        set verdict = result.verdict, reason = result.reason, saga_id = result.saga_id, answered_at_ms = now_ms,
            fields = '{}'
        from unnest(result_id, result_verdict, result_reason, result_saga_id) as result (id, verdict, reason, saga_id)
        where requests.id = result.id and requests.answered_at_ms is null;
        get diagnostics written = row_count;
        if deleted + written <> cardinality(result_id) then
            raise exception '% of % requests are not open any more', cardinality(result_id) - deleted - written,
                cardinality(result_id) using errcode = 'SG002';
        end if;
    end if;
    if cardinality(waiting_id) > 0 then
        update saga_private.requests set due_at_ms = waiting.due_at_ms
        from unnest(waiting_id, waiting_due_at_ms) as waiting (id, due_at_ms)
        where requests.id = waiting.id and requests.answered_at_ms is null;
    end if;
    if cardinality(deferred_stream) > 0 then
        insert into saga_private.requests (
            at_ms, first_attempt_at_ms, attempts, due_at_ms, stream, entry_id, fields, raw, addressed_id, addressed_key
        )
        select
            now_ms, now_ms, 1, due_at_ms, stream, entry_id, fields::json, raw, addressed_id,
            coalesce(saga_private.order_key(addressed_key), saga_private.order_key_of(addressed_id))
        from unnest(
            deferred_due_at_ms, deferred_stream, deferred_entry_id, deferred_fields, deferred_raw,
            deferred_addressed_id, deferred_addressed_key
        ) as deferred (due_at_ms, stream, entry_id, fields, raw, addressed_id, addressed_key)
        on conflict (stream, entry_id) where stream is not null do nothing;
    end if;
    if cardinality(started_id) > 0 then
        insert into saga_private.sagas (
            id, created_at_ms, saga, version, key, traceparent, input, status, revision, updated_at_ms, ended_at_ms,
            wake_at_ms, fault, steps, parent_id, extra
        )
        select
            id, created_at_ms, saga, version, key, traceparent, input::json, status, revision, updated_at_ms,
            ended_at_ms, wake_at_ms, fault::json, steps::json, parent_id, extra::json
        from unnest(
            started_id, started_created_at_ms, started_saga, started_version, started_key, started_traceparent,
            started_input, started_status, started_revision, started_updated_at_ms, started_ended_at_ms,
            started_wake_at_ms, started_fault, started_steps, started_parent_id, started_extra
        ) as started (
            id, created_at_ms, saga, version, key, traceparent, input, status, revision, updated_at_ms, ended_at_ms,
            wake_at_ms, fault, steps, parent_id, extra
        )
        on conflict (id) do nothing;
        get diagnostics written = row_count;
        if written <> cardinality(started_id) then
            raise exception '% of % sagas to start are there already', cardinality(started_id) - written,
                cardinality(started_id) using errcode = 'SG001';
        end if;
    end if;
    if cardinality(advanced_id) > 0 then
        update saga_private.sagas
        set status = advanced.status, revision = advanced.revision, updated_at_ms = advanced.updated_at_ms,
            ended_at_ms = advanced.ended_at_ms, wake_at_ms = advanced.wake_at_ms, fault = advanced.fault::json,
            steps = advanced.steps::json, extra = advanced.extra::json
        from unnest(
            advanced_id, advanced_expected_revision, advanced_status, advanced_revision, advanced_updated_at_ms,
            advanced_ended_at_ms, advanced_wake_at_ms, advanced_fault, advanced_steps, advanced_extra
        ) as advanced (
            id, expected_revision, status, revision, updated_at_ms, ended_at_ms, wake_at_ms, fault, steps, extra
        )
        where sagas.id = advanced.id and sagas.revision = advanced.expected_revision;
        get diagnostics written = row_count;
        if written <> cardinality(advanced_id) then
            raise exception '% of % sagas are not at the expected revision', cardinality(advanced_id) - written,
                cardinality(advanced_id) using errcode = 'SG001';
        end if;
    end if;
    if cardinality(parked_id) > 0 then
        -- A timer that cannot be handled is a dead letter. Until that is replayed, the saga is due at the last moment
        -- that a date can name, and not at the end of every lease. A saga that ended meanwhile stays without a timer:
        -- with one, it would never be removed.
        update saga_private.sagas set wake_at_ms = 253402300799999
        from unnest(parked_id) as parked (id)
        where sagas.id = parked.id and sagas.wake_at_ms is not null;
    end if;
    if cardinality(history_saga_id) > 0 then
        insert into saga_private.history (
            saga_id, revision, attempt, at_ms, event, status, step, direction, detail
        )
        select saga_id, revision, attempt, at_ms, event, status, step, direction, detail::json
        from unnest(
            history_saga_id, history_revision, history_attempt, history_at_ms, history_event, history_status,
            history_step, history_direction, history_detail
        ) as history (saga_id, revision, attempt, at_ms, event, status, step, direction, detail);
    end if;
    if cardinality(started_id) > 0 or cardinality(advanced_id) > 0 then
        insert into saga_private.changes (saga_ids) values (started_id || advanced_id);
    end if;
    if cardinality(letter_stream) > 0 then
        insert into saga_private.dead_letters (at_ms, stream, entry_id, reason, preview, raw, saga_id, key)
        select at_ms, stream, entry_id, reason, preview::jsonb, raw, saga_id, key
        from unnest(
            letter_at_ms, letter_stream, letter_entry_id, letter_reason, letter_preview, letter_raw, letter_saga_id,
            letter_key
        ) as letter (at_ms, stream, entry_id, reason, preview, raw, saga_id, key)
        on conflict (stream, entry_id) do nothing;
    end if;
    if cardinality(published_ids) > 0 then
        delete from saga_private.outbox where id = any(published_ids);
    end if;
    if outgoing_messages is not null then
        insert into saga_private.outbox (claimed_at_ms, messages) values (now_ms, outgoing_messages)
        returning id into outbox_id;
    end if;
    return outbox_id;
end
$$;


-- Tells a row that is locked from a Postgres in which nothing can be committed. It takes the locks on tables that a
-- commit takes and writes a row, which it removes again before anybody sees it. It touches no row of a saga.
create function saga_private.probe()
returns void
language plpgsql
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set lock_timeout = '2s'
as $$
declare
    outbox_id bigint;
begin
    lock table saga_private.requests, saga_private.sagas, saga_private.history, saga_private.changes,
        saga_private.dead_letters, saga_private.outbox in row exclusive mode;
    insert into saga_private.outbox (claimed_at_ms, messages) values (0, '[]') returning id into outbox_id;
    delete from saga_private.outbox where id = outbox_id;
end
$$;


-- What replicas share out: SKIP LOCKED hands each row to one of them, and a lease keeps it there for a while.


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
$$;

-- Requests are claimed by their moment and not by a cursor: a lower number may be committed later. One is left alone
-- while an earlier one of its saga is in the hands of another replica, or deferred. So what is due is found first, without
-- those whose saga's first request is due later than they are: they would fill the claim. Then all are left out that an
-- open one which was not found stands before. The first request of a saga is found before all that it lets through, so
-- each claim that finds a saga's requests gets some of them.
create function saga_private.claim_requests(now_ms bigint, requests_max integer, lease_ms bigint)
returns table (
    id bigint, fields text, wants_result boolean, first_attempt_at_ms bigint, attempts integer, stream text,
    entry_id text, raw text
)
language plpgsql
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
#variable_conflict use_column
begin
    return query
    with due as materialized (
        select id, addressed_id, addressed_key from saga_private.requests
        where answered_at_ms is null and due_at_ms <= now_ms
            and coalesce(saga_private.first_is_due_at_ms(addressed_id, addressed_key) <= due_at_ms, true)
        order by due_at_ms, id limit requests_max
        for update of requests skip locked
    ), free as (
        select asked.id
        from (
            select addressed_id, addressed_key, array_agg(id) as ids from due group by addressed_id, addressed_key
        ) as saga
        cross join lateral (
            select min(open.id) as first_id
            from saga_private.open_requests(saga.addressed_id, saga.addressed_key) as open
            where open.id not in (select id from due)
        ) as blocking
        cross join lateral unnest(saga.ids) as asked (id)
        where asked.id < blocking.first_id or blocking.first_id is null
    )
    update saga_private.requests
    set due_at_ms = now_ms + lease_ms, attempts = requests.attempts + 1,
        first_attempt_at_ms = coalesce(requests.first_attempt_at_ms, now_ms)
    from free where requests.id = free.id
    returning
        requests.id, requests.fields::text, requests.wants_result, requests.first_attempt_at_ms, requests.attempts,
        requests.stream, requests.entry_id, requests.raw;
end
$$;

create function saga_private.claim_unpublished(now_ms bigint, older_than_ms bigint, rows_max integer)
returns table (id bigint, messages text)
language plpgsql
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
#variable_conflict use_column
begin
    return query
    with unpublished as materialized (
        select id from saga_private.outbox
        where claimed_at_ms <= now_ms - older_than_ms
        order by claimed_at_ms, id limit rows_max
        for update skip locked
    )
    update saga_private.outbox set claimed_at_ms = now_ms
    from unpublished where outbox.id = unpublished.id
    returning outbox.id, outbox.messages;
end
$$;

-- Losses of streams, and the recovery after one


create function saga_private.id_number(entry_id text)
returns numeric
language sql immutable
return split_part(entry_id, '-', 1)::numeric * 18446744073709551616 + split_part(entry_id, '-', 2)::numeric;

-- Record what was seen of streams just now; the names of those that are found lost by it. A stream is lost if its group
-- has vanished, or if it has gone back: to a lower id, to fewer additions, or to a beginning after all that it had though
-- nothing was ever removed from it. What was seen earlier than the latest that is known counts for nothing. At the first
-- sight of a stream a missing group is a loss only where a saga is in flight: otherwise the deployment is new.
create function saga_private.see_streams(
    names text[], carried text[], seen_us bigint[], group_there boolean[], last_ids text[], additions bigint[],
    lengths bigint[], first_ids text[], now_ms bigint, found_by text
) returns text[]
language plpgsql
set plan_cache_mode = force_generic_plan
set lock_timeout = '2s'
as $$
declare
    found_lost text[];
begin
    insert into saga_private.streams (stream, carries)
    select seen.stream, seen.carries from unnest(names, carried) as seen (stream, carries)
    where not exists (select from saga_private.streams as known where known.stream = seen.stream)
    order by seen.stream
    on conflict (stream) do nothing;

    with seen as (
        select
            given.stream, given.carries, given.at_us, given.has_group, saga_private.id_number(given.last_id) as last_id,
            given.entries_added, given.length, saga_private.id_number(given.first_id) as first_id
        from unnest(names, carried, seen_us, group_there, last_ids, additions, lengths, first_ids)
            as given (stream, carries, at_us, has_group, last_id, entries_added, length, first_id)
    ), judged as materialized (
        select
            seen.*,
            known.seen_at_us = 0 as is_first_sight,
            known.has_group and not seen.has_group and (
                known.seen_at_us > 0
                or exists (select from saga_private.sagas where wake_at_ms is not null)
                or exists (select from saga_private.sagas where status in ('stuck', 'paused'))
            )
                or seen.last_id < known.last_id
                or seen.entries_added < known.entries_added
                or known.last_id > 0 and seen.first_id > known.last_id and seen.entries_added = seen.length as is_lost
        from saga_private.streams as known join seen on seen.stream = known.stream
        where seen.at_us > known.seen_at_us
            and (seen.carries, seen.has_group, seen.last_id, seen.entries_added)
                is distinct from (known.carries, known.has_group, known.last_id, known.entries_added)
        order by known.stream
        for update of known
    ), written as (
        update saga_private.streams
        set carries = judged.carries, seen_at_us = judged.at_us, has_group = judged.has_group,
            last_id = judged.last_id, entries_added = judged.entries_added,
            lost_at_ms = case
                -- Under this name nothing was ever sent: what began a moment ago has lost nothing.
                when judged.is_lost and judged.is_first_sight then now_ms - 60000
                when judged.is_lost then now_ms
                else lost_at_ms
            end,
            lost_by = case when judged.is_lost then found_by else lost_by end
        from judged where streams.stream = judged.stream
        returning streams.stream, judged.is_lost
    )
    select array_agg(written.stream order by written.stream) from written where written.is_lost into found_lost;
    return coalesce(found_lost, '{}');
end
$$;

-- One step of a recovery. The sagas that were in flight on lost streams are written down once, when the groups are there
-- again; from there on each step takes a page of them and makes a request for each that sends again what was lost. One
-- transaction, so that no saga is left out by a crash, and none is taken twice. No page is made while a page's worth of
-- such requests still waits. Of several replicas one does it at a time.
create function saga_private.continue_recovery(
    now_ms bigint, found_before_ms bigint, sagas_max integer, out sagas integer, out is_owed boolean
)
language plpgsql
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set lock_timeout = '2s'
as $$
begin
    sagas := 0;
    if pg_try_advisory_xact_lock(hashtextextended('saga_private.resends', 0)) then
        perform saga_private.gather_resends(found_before_ms);
        if (
            select count(*) from (
                select from saga_private.requests where stream = 'saga.recovery' limit sagas_max
            ) as waiting
        ) < sagas_max then
            with page as (
                delete from saga_private.resends
                where saga_id = any(array(select saga_id from saga_private.resends order by saga_id limit sagas_max))
                returning saga_id, lost, lost_at_ms
            )
            insert into saga_private.requests (at_ms, due_at_ms, stream, entry_id, fields, raw)
            select
                now_ms, now_ms, 'saga.recovery', concat_ws(':', saga_id, lost, lost_at_ms),
                json_build_object('type', 'saga.resend', 'saga_id', saga_id, 'lost', lost),
                json_build_array(
                    saga_private.raw_field('type', 'saga.resend'),
                    saga_private.raw_field('saga_id', saga_id::text),
                    saga_private.raw_field('lost', lost)
                )::text
            from page order by saga_id
            on conflict (stream, entry_id) where stream is not null do nothing;
            get diagnostics sagas = row_count;
        end if;
    end if;
    is_owed := exists (select from saga_private.resends)
        or exists (select from saga_private.streams where lost_at_ms is not null);
end
$$;

-- Write down all sagas in flight on the lost streams whose groups are there again, and forget that these are lost. A loss
-- that is found in the meantime stays on record.
create function saga_private.gather_resends(found_before_ms bigint)
returns void
language plpgsql
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
#variable_conflict use_column
declare
    gathered saga_private.streams[];
    lost_things text;
    latest_ms bigint;
begin
    select array_agg(known), string_agg(distinct carries, ','), max(lost_at_ms)
    from saga_private.streams as known
    where lost_at_ms <= found_before_ms and has_group
    into gathered, lost_things, latest_ms;
    if gathered is null then
        return;
    end if;
    insert into saga_private.resends as known (saga_id, lost, lost_at_ms)
    select id, lost_things, latest_ms
    from (
        select id, created_at_ms from saga_private.sagas where wake_at_ms is not null
        union all
        select id, created_at_ms from saga_private.sagas where wake_at_ms is null and status in ('stuck', 'paused')
    ) as in_flight
    -- What begins after a loss has lost nothing by it. Clocks differ by less than a minute.
    where created_at_ms < latest_ms + 60000
    on conflict (saga_id) do update
    set lost = concat_ws(',', known.lost, excluded.lost), lost_at_ms = excluded.lost_at_ms;
    update saga_private.streams as known
    set lost_at_ms = null, lost_by = null
    from unnest(gathered) as before
    where known.stream = before.stream and known.lost_at_ms = before.lost_at_ms;
end
$$;

-- A field as `saga_service.wire.dead_letters.write_raw` writes it.
create function saga_private.raw_field(name text, value text)
returns json
language sql immutable
return json_build_array(
    replace(encode(convert_to(name, 'UTF8'), 'base64'), E'\n', ''),
    replace(encode(convert_to(value, 'UTF8'), 'base64'), E'\n', '')
);

create function saga_private.delete_published(published_ids bigint[])
returns void
language plpgsql
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
as $$
begin
    delete from saga_private.outbox where id = any(published_ids);
end
$$;


-- Looking up a definition
--
-- Of several versions the deployed one is meant. A roll-back brings back a version that was there before, and need not
-- start a replica: it may only end those that were started last. So a version counts as long as running replicas say
-- that they have it, and of two that run, while one is rolled out, the one whose replica started last. Where no replica
-- runs, all versions count.


create function saga_private.deployed_definitions(names text[])
returns table (saga text, version text, document jsonb)
language sql stable
as $$
    select distinct on (saga) saga, version, document from saga_private.definitions
    where saga = any(names)
    order by saga, saga_private.is_seen(seen_at) desc, deployed_at desc, version
$$;


-- Looking up by a business key


-- Two of each kind at most: more than one is as many as too many.
create function saga_private.ids_with_key(wanted_sagas text[], wanted_keys text[])
returns table (saga text, key text, id text, has_ended boolean)
language plpgsql stable
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
#variable_conflict use_column
begin
    return query
    select wanted.saga, wanted.key, known.id::text, known.has_ended
    from unnest(wanted_sagas, wanted_keys) as wanted (saga, key)
    cross join lateral (
        (
            select sagas.id, false as has_ended from saga_private.sagas
            where sagas.key = wanted.key and sagas.saga = wanted.saga and sagas.ended_at_ms is null limit 2
        )
        union all
        (
            select sagas.id, true as has_ended from saga_private.sagas
            where sagas.key = wanted.key and sagas.saga = wanted.saga and sagas.ended_at_ms is not null limit 2
        )
    ) as known;
end
$$;

-- The key of a start: the one that is given, or the field of the data that the deployed version of the definition names.
create function saga_private.key_of_start(name text, input jsonb, given text)
returns text
language plpgsql stable
as $$
declare
    field text;
    form text;
    otherwise text;
    key text;
begin
    select deployed.document ->> 'key', deployed.document ->> 'key_form', deployed.document ->> 'key_default'
    into field, form, otherwise from saga_private.deployed_definitions(array[name]) as deployed;
    if given is not null or field is null then
        return saga_private.written_key(form, given);
    end if;
    -- Encrypted data has no other field, and its key is not known here.
    key := case
        when input ? field then saga_private.key_text(form, input -> field)
        when not input ? '$encrypted' then otherwise
    end;
    if key is null then
        raise exception 'the key of saga ''%'' is the field ''%'' of its input, and that must be text or a whole number'
            ' of 64 bits',
            name, field using errcode = 'invalid_parameter_value', hint = 'Or give the key beside the input.';
    end if;
    return key;
end
$$;


-- Jobs
--
-- Any replica takes a turn of any job that runs: it locks the job's row for as long as one statement takes, and passes
-- over jobs that others hold. What a turn requests and the note of it are one transaction, so a crash leaves both or
-- neither, and no saga is operated twice. An XADD is in no transaction: a dead letter is leased before it is put back,
-- and noted afterwards. If a lease runs out, the dead letter is put back once more and its item says so.


-- The number of a job, its confirmation, and when it expires. Of sagas or of dead letters one list is empty.
create function saga_private.preview_job(
    operation text, actor text, reason text, step text, resolution text, output text, filters jsonb, confirm text,
    saga_ids uuid[], dead_letters bigint[],
    out job_id bigint, out items integer, out expires_at timestamptz
)
language plpgsql
as $$
#variable_conflict use_variable
declare
    now_ms bigint := (extract(epoch from clock_timestamp()) * 1000)::bigint;
    items_max constant integer := 100000;
    previews_max constant integer := 20;
    lifetime_ms constant bigint := 15 * 60 * 1000;
begin
    if coalesce(btrim(reason), '') = '' or length(reason) > 1000 then
        raise exception 'a job has a reason of at most 1,000 characters' using errcode = 'invalid_parameter_value';
    end if;
    if cardinality(saga_ids) + cardinality(dead_letters) > items_max then
        raise exception 'a job has 100,000 items at most, but this one has %',
            cardinality(saga_ids) + cardinality(dead_letters)
            using errcode = 'invalid_parameter_value', hint = 'Narrow it, or make several jobs.';
    end if;
    if (
        select count(*) from saga_private.jobs
        where confirmed_at_ms is null and stopped_at_ms is null and expires_at_ms > now_ms
    ) >= previews_max then
        raise exception '% previews of jobs are not confirmed, and there may be no more', previews_max
            using errcode = 'program_limit_exceeded', hint = 'Confirm or stop some; each expires after 15 minutes.';
    end if;
    insert into saga_private.jobs (
        operation, actor, reason, step, resolution, output, filters, confirm_sha256, items, previewed_at_ms,
        expires_at_ms, moved_at_ms
    )
    values (
        operation, coalesce(nullif(actor, ''), session_user), reason, step, resolution, output, filters,
        encode(sha256(convert_to(confirm, 'UTF8')), 'hex'), 0, now_ms, now_ms + lifetime_ms, now_ms
    )
    returning jobs.id into job_id;
    insert into saga_private.job_items (job_id, position, saga_id, dead_letter)
    select job_id, row_number() over (order by min(given.place)), given.saga_id, given.dead_letter
    from unnest(saga_ids, dead_letters) with ordinality as given (saga_id, dead_letter, place)
    where given.saga_id is not null or given.dead_letter is not null
    group by given.saga_id, given.dead_letter;
    get diagnostics items = row_count;
    update saga_private.jobs set items = preview_job.items where jobs.id = job_id;
    expires_at := saga_private.moment(now_ms + lifetime_ms);
end
$$;

-- Count these verdicts, and all items up to `begun_to` as taken in hand.
create function saga_private.note_verdicts(of_job bigint, verdicts text[], begun_to integer, now_ms bigint)
returns void
language sql
set enable_seqscan = off
as $$
    update saga_private.jobs
    set reached = greatest(reached, begun_to),
        applied = applied + cardinality(array_positions(noted.verdicts, 'applied')),
        repeated = repeated + cardinality(array_positions(noted.verdicts, 'repeated')),
        refused = refused + cardinality(array_positions(noted.verdicts, 'refused')),
        unknown = unknown + cardinality(array_positions(noted.verdicts, 'unknown')),
        moved_at_ms = now_ms,
        problem = null
    from (select coalesce(verdicts, '{}') as verdicts) as noted
    where id = of_job and (cardinality(noted.verdicts) > 0 or begun_to > reached)
$$;

-- One turn of the running job that has waited longest for one: answers that have come are noted, and a job of which
-- nothing is left ends. Returns the job, and the items that it may have requested next: of sagas so many that
-- `open_max` requests are open, of all jobs together; of dead letters those of a batch, and none while one is under way.
-- Null for a job where none is due: each has a turn every `pause_ms`, however many replicas there are.
create function saga_private.take_turn(
    now_ms bigint, pause_ms bigint, open_max integer, letters_max integer,
    out job_id bigint, out operation text, out has_ended boolean, out output text, out output_saga_id text,
    out reached integer, out saga_ids text[], out positions integer[]
)
language plpgsql
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set enable_sort = off
as $$
#variable_conflict use_column
declare
    job saga_private.jobs;
    answer record;
    verdicts text[] := '{}';
    open integer;
    room integer;
begin
    select * into job from saga_private.jobs
    where confirmed_at_ms is not null and ended_at_ms is null and turn_at_ms <= now_ms - pause_ms
    order by turn_at_ms, id limit 1
    for update skip locked;
    if not found then
        return;
    end if;
    for answer in
        select
            awaiting.position, coalesce(request.verdict, 'unknown') as verdict,
            case when request.id is null
                then 'the request was deleted, and its answer with it: look at the saga'
                else nullif(request.reason, '')
            end as reason,
            coalesce(request.answered_at_ms, now_ms) as answered_at_ms
        from (
            select position, request_id from saga_private.job_items
            where job_id = job.id and request_id is not null and verdict is null
            order by request_id
        ) as awaiting
        left join saga_private.requests as request on request.id = awaiting.request_id
        where request.id is null or request.answered_at_ms is not null
    loop
        update saga_private.job_items as item
        set verdict = answer.verdict, reason = answer.reason, answered_at_ms = answer.answered_at_ms
        where item.job_id = job.id and item.position = answer.position;
        verdicts := verdicts || answer.verdict;
    end loop;
    perform saga_private.note_verdicts(job.id, verdicts, 0, now_ms);
    update saga_private.jobs set turn_at_ms = now_ms where id = job.id returning * into job;
    open := job.reached - job.applied - job.repeated - job.refused - job.unknown;
    if open = 0 and (job.stopped_at_ms is not null or job.reached = job.items) then
        update saga_private.jobs set ended_at_ms = now_ms, problem = null where id = job.id returning * into job;
    end if;
    job_id := job.id;
    operation := job.operation;
    has_ended := job.ended_at_ms is not null;
    output := job.output;
    reached := job.reached;
    saga_ids := '{}';
    positions := '{}';
    if has_ended then
        return;
    end if;
    if job.operation in ('replay', 'drop') then
        if open > 0 then
            -- Those of the last batch whose process has ended, or was refused by Redis: one is finished before the next.
            positions := array(
                select position from saga_private.job_items as item
                where item.job_id = job.id and position > job.reached - letters_max and position <= job.reached
                    and requested_at_ms is not null and verdict is null and coalesce(leased_until_ms, 0) <= now_ms
                order by position
            );
        elsif job.stopped_at_ms is null then
            positions := array(
                select position from saga_private.job_items as item
                where item.job_id = job.id and position > job.reached order by position limit letters_max
            );
        end if;
    elsif job.stopped_at_ms is null then
        -- However many jobs there are, each goes on.
        room := greatest(1, open_max / (
            select count(*)::integer from saga_private.jobs where confirmed_at_ms is not null and ended_at_ms is null
        )) - open;
        output_saga_id := (select saga_id from saga_private.job_items where job_id = job.id and position = 1);
        saga_ids := array(
            select saga_id::text from saga_private.job_items as item
            where item.job_id = job.id and position > job.reached order by position limit greatest(room, 0)
        );
    end if;
end
$$;

-- Request the operation of the items after `after`, one for each of the outputs; how many were taken in hand. None where
-- another replica was quicker, or the job was stopped. A saga that is gone is refused here: its request would wait for a
-- start that does not come.
create function saga_private.request_items(of_job bigint, after integer, outputs text[], now_ms bigint)
returns integer
language plpgsql
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
#variable_conflict use_column
declare
    job saga_private.jobs;
    item record;
    taken integer := 0;
    gone text[] := '{}';
begin
    select * into job from saga_private.jobs
    where id = of_job and reached = after and stopped_at_ms is null and ended_at_ms is null
    for update skip locked;
    if not found then
        return 0;
    end if;
    for item in
        select known.position, known.saga_id, exists (
            select from saga_private.sagas where sagas.id = known.saga_id
        ) as is_there
        from saga_private.job_items as known
        where known.job_id = of_job and known.position > after and known.position <= after + cardinality(outputs)
        order by known.position
    loop
        taken := taken + 1;
        if item.is_there then
            update saga_private.job_items
            set requested_at_ms = now_ms, request_id = saga.operate(
                job.operation, item.saga_id, job.confirmed_by, 'job ' || job.id || ': ' || job.reason, job.step,
                job.resolution, outputs[taken]::jsonb
            )
            where job_id = of_job and position = item.position;
        else
            update saga_private.job_items
            set requested_at_ms = now_ms, answered_at_ms = now_ms, verdict = 'refused',
                reason = 'the saga was removed'
            where job_id = of_job and position = item.position;
            gone := gone || 'refused'::text;
        end if;
    end loop;
    perform saga_private.note_verdicts(of_job, gone, after + taken, now_ms);
    return taken;
end
$$;

-- Lease the dead letters at these positions to whoever is going to put them back. One that cannot be, or that has been
-- since it was begun, gets its verdict at once. A job that is stopped puts nothing back: what was begun and may have been
-- put back is unknown then.
create function saga_private.begin_letters(of_job bigint, wanted integer[], now_ms bigint, lease_ms bigint)
returns table ("position" integer, dead_letter bigint)
language plpgsql
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
#variable_conflict use_column
declare
    job saga_private.jobs;
    begun integer[];
    judged record;
    verdicts text[] := '{}';
begin
    select * into job from saga_private.jobs where id = of_job and ended_at_ms is null for update skip locked;
    if not found then
        return;
    end if;
    with begun as (
        update saga_private.job_items as item
        set requested_at_ms = coalesce(item.requested_at_ms, now_ms), leased_until_ms = now_ms + lease_ms,
            tries = item.tries + 1
        where item.job_id = of_job and item.position = any(wanted) and item.verdict is null
            and coalesce(item.leased_until_ms, 0) <= now_ms
            and (item.requested_at_ms is not null or job.stopped_at_ms is null)
        returning item.position
    )
    select array_agg(position) from begun into begun;
    for judged in
        select
            item.position,
            case
                when item.requested_at_ms < now_ms and letter.replayed_at_ms >= item.requested_at_ms
                    then array['applied', 'put back by a try that ended before it said so']
                when letter.id is null then array['refused', 'it was dropped by somebody else']
                when job.stopped_at_ms is not null and item.tries > 1
                    then array['unknown', 'the job was stopped before it was known whether it had been put back']
                when job.stopped_at_ms is not null then array['refused', 'the job was stopped before it was put back']
                when item.tries = 1 and letter.replayed_at_ms is not null
                    and not coalesce((job.filters ->> 'with_replayed')::boolean, false)
                    then array['refused', 'it was put back by somebody else']
            end as verdict
        from saga_private.job_items as item
        left join saga_private.dead_letters as letter on letter.id = item.dead_letter
        where item.job_id = of_job and item.position = any(begun)
    loop
        if judged.verdict is not null then
            update saga_private.job_items
            set verdict = judged.verdict[1], reason = judged.verdict[2], answered_at_ms = now_ms
            where job_id = of_job and position = judged.position;
            verdicts := verdicts || judged.verdict[1];
        end if;
    end loop;
    perform saga_private.note_verdicts(of_job, verdicts, (select max(at) from unnest(begun) as at), now_ms);
    return query
    select item.position, item.dead_letter from saga_private.job_items as item
    where item.job_id = of_job and item.position = any(begun) and item.verdict is null
    order by item.position;
end
$$;

-- Note what became of dead letters that were begun. Those without a verdict are free again, to be tried once more: the
-- verdict 'returned' is of one that surely was not put back.
create function saga_private.finish_letters(
    of_job bigint, positions integer[], verdicts text[], reasons text[], now_ms bigint
)
returns void
language plpgsql
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set lock_timeout = '2s'
as $$
#variable_conflict use_column
declare
    done record;
    noted text[] := '{}';
begin
    perform from saga_private.jobs where id = of_job for update;
    for done in
        select given.position, given.verdict, given.reason
        from unnest(positions, verdicts, reasons) as given (position, verdict, reason)
    loop
        update saga_private.job_items as item
        set verdict = nullif(done.verdict, 'returned'),
            reason = done.reason || case when done.verdict = 'applied' and item.tries > 1
                then ', and maybe once before: the try before it had no answer' else '' end,
            answered_at_ms = case when done.verdict <> 'returned' then now_ms end,
            tries = item.tries - (done.verdict is not distinct from 'returned')::integer,
            leased_until_ms = 0
        where item.job_id = of_job and item.position = done.position and item.verdict is null;
        if found and done.verdict <> 'returned' then
            noted := noted || done.verdict;
        end if;
    end loop;
    perform saga_private.note_verdicts(of_job, noted, 0, now_ms);
end
$$;

-- Drop the dead letters at these positions. Their locks are taken as a commit takes them.
create function saga_private.drop_letters(of_job bigint, wanted integer[], now_ms bigint)
returns void
language plpgsql
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set lock_timeout = '2s'
as $$
#variable_conflict use_column
declare
    dropped bigint[];
    verdicts text[];
begin
    perform from saga_private.jobs
    where id = of_job and stopped_at_ms is null and ended_at_ms is null
    for update skip locked;
    if not found then
        return;
    end if;
    with held as materialized (
        select letter.id
        from saga_private.job_items as item
        join saga_private.dead_letters as letter on letter.id = item.dead_letter
        where item.job_id = of_job and item.position = any(wanted) and item.verdict is null
        order by letter.stream, letter.entry_id
        for update of letter
    ), gone as (
        delete from saga_private.dead_letters using held where dead_letters.id = held.id returning dead_letters.id
    )
    select coalesce(array_agg(id), '{}') from gone into dropped;
    with noted as (
        update saga_private.job_items as item
        set requested_at_ms = now_ms, answered_at_ms = now_ms,
            verdict = case when item.dead_letter = any(dropped) then 'applied' else 'refused' end,
            reason = case when item.dead_letter = any(dropped) then null else 'it was dropped by somebody else' end
        where item.job_id = of_job and item.position = any(wanted) and item.verdict is null
        returning item.verdict
    )
    select array_agg(verdict) from noted into verdicts;
    perform saga_private.note_verdicts(of_job, verdicts, (select max(at) from unnest(wanted) as at), now_ms);
end
$$;


-- Removal of what was kept for long enough, in small batches, by any number of replicas at once
--
-- A saga may go if it has ended, nothing is due for it, it ended before the moment given and more than a day ago by the
-- database's own clock, and no relative keeps it: a child stays as long as any saga above it does, for the undo of the
-- topmost goes all the way down, and a parent until all its children have ended.
--
-- Rows are locked before they are removed, and passed over where somebody else holds them. A saga that a late reply sets
-- going again at this moment is therefore either gone before, and the reply becomes a dead letter, or stays.


-- A day: longer than a command may take to be answered late, and than an entry waits to be taken over.
create function saga_private.latest_removable(before_ms bigint)
returns bigint
language sql stable
as $$
    select least(before_ms, (extract(epoch from now()) * 1000)::bigint - 86400000)
$$;

create function saga_private.is_kept_from_above(above_id uuid, before_ms bigint)
returns boolean
language plpgsql stable
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
declare
    above record;
begin
    while above_id is not null loop
        select ended_at_ms, parent_id into above from saga_private.sagas where id = above_id;
        if not found then
            return false;
        end if;
        if above.ended_at_ms is null or above.ended_at_ms >= before_ms then
            return true;
        end if;
        above_id := above.parent_id;
    end loop;
    return false;
end
$$;

-- A saga goes with all that hangs on it, here alone: a table that gets rows of its own for each saga adds its delete.
create function saga_private.remove_sagas(saga_ids uuid[])
returns void
language plpgsql
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
begin
    delete from saga_private.history where saga_id = any(saga_ids);
    delete from saga_private.sagas where id = any(saga_ids);
    if cardinality(saga_ids) > 0 then
        insert into saga_private.changes (saga_ids, is_removal) values (saga_ids, true);
    end if;
end
$$;

-- The oldest sagas that ended from `since_ms` on and before `before_ms`; how many went, and when the last of them ended.
create function saga_private.remove_ended(
    since_ms bigint, before_ms bigint, sagas_max integer,
    out removed integer, out reached_ms bigint
)
language plpgsql
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
declare
    ended_ids uuid[];
begin
    before_ms := saga_private.latest_removable(before_ms);
    with ended as materialized (
        select id, ended_at_ms from saga_private.sagas as saga
        where saga_private.moment(saga.ended_at_ms) >= saga_private.moment(since_ms)
            and saga_private.moment(saga.ended_at_ms) < saga_private.moment(before_ms)
            and saga.status in ('completed', 'compensated')
            and saga.wake_at_ms is null
            and not saga_private.is_kept_from_above(saga.parent_id, before_ms)
            and not exists (
                select from saga_private.sagas as child where child.parent_id = saga.id and child.ended_at_ms is null
            )
        order by saga_private.moment(saga.ended_at_ms), id limit sagas_max
        for update of saga skip locked
    )
    select array_agg(id), count(*), max(ended_at_ms) from ended into ended_ids, removed, reached_ms;
    perform saga_private.remove_sagas(ended_ids);
end
$$;

-- Sagas that were written to an archive, if they are still at the revision written; how many went.
create function saga_private.remove_written(written_ids uuid[], written_revisions integer[], before_ms bigint)
returns integer
language plpgsql
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
declare
    ended_ids uuid[];
begin
    before_ms := saga_private.latest_removable(before_ms);
    with ended as materialized (
        select saga.id
        from unnest(written_ids, written_revisions) as written (id, revision)
        join saga_private.sagas as saga on saga.id = written.id and saga.revision = written.revision
        where saga_private.moment(saga.ended_at_ms) < saga_private.moment(before_ms)
            and saga.status in ('completed', 'compensated')
            and saga.wake_at_ms is null
            and not saga_private.is_kept_from_above(saga.parent_id, before_ms)
            and not exists (
                select from saga_private.sagas as child where child.parent_id = saga.id and child.ended_at_ms is null
            )
        for update of saga skip locked
    )
    select array_agg(id) from ended into ended_ids;
    perform saga_private.remove_sagas(ended_ids);
    return coalesce(cardinality(ended_ids), 0);
end
$$;

create function saga_private.remove_replayed(before_ms bigint, letters_max integer)
returns integer
language plpgsql
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_hashjoin = off
set enable_mergejoin = off
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
$$;

-- What changed more than two minutes ago. A reader may go on with a snapshot of the last minute: the other one is for
-- commits that take long, since a row has the moment at which its transaction began. The table is small, and read whole.
create function saga_private.forget_changes()
returns integer
language plpgsql
as $$
declare
    removed integer;
begin
    delete from saga_private.changes where (transaction_id, number) in (
        select transaction_id, number from saga_private.changes where at < now() - interval '2 minutes'
        for update skip locked
    );
    get diagnostics removed = row_count;
    return removed;
end
$$;

-- Ended jobs, and previews that nobody confirmed, with their items: at most `items_max` items at a time, and a job once
-- it has none; how many items and jobs went.
create function saga_private.remove_jobs(ended_before_ms bigint, expired_before_ms bigint, items_max integer)
returns integer
language plpgsql
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
declare
    old_job bigint;
    removed integer;
begin
    select id into old_job from saga_private.jobs
    where ended_at_ms < ended_before_ms order by ended_at_ms limit 1
    for update skip locked;
    if not found then
        select id into old_job from saga_private.jobs
        where confirmed_at_ms is null and expires_at_ms < expired_before_ms order by expires_at_ms limit 1
        for update skip locked;
    end if;
    if not found then
        return 0;
    end if;
    delete from saga_private.job_items where job_id = old_job and position = any(array(
        select position from saga_private.job_items where job_id = old_job order by position limit items_max
    ));
    get diagnostics removed = row_count;
    if removed < items_max then
        delete from saga_private.jobs where id = old_job;
        -- There may be more jobs: what was removed of this one counts as a whole batch.
        return items_max;
    end if;
    return removed;
end
$$;

create function saga_private.delete_answered(before_ms bigint)
returns void
language sql
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
    delete from saga_private.requests where id in (
        select id from saga_private.requests as request
        where answered_at_ms < before_ms and not exists (
            select from saga_private.job_items
            where request_id is not null and verdict is null and request_id = request.id
        )
        for update skip locked
    )
$$;


-- The contract: functions
--
-- A request is a row, and nothing more happens in the caller's transaction: it commits or rolls back with all else that
-- the caller does. The service takes committed rows as entries of one more stream.
--
-- SECURITY DEFINER: who may call these needs no right to any table. Their search path leaves nothing to the caller.


create function saga.start(name text, input jsonb default '{}', key text default null)
returns uuid
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    own_key text;
    started uuid;
begin
    if jsonb_typeof(input) is distinct from 'object' then
        raise exception 'the input of a saga is a JSON object, but is %', coalesce(jsonb_typeof(input), 'null')
            using errcode = 'invalid_parameter_value';
    end if;
    if not exists (select from saga_private.definitions where saga = name) then
        raise exception 'no saga ''%'' is known', name using errcode = 'invalid_parameter_value',
            hint = coalesce(
                'Known: ' || (
                    select string_agg(names.saga, ', ' order by names.saga) from (
                        select distinct definitions.saga from saga_private.definitions order by definitions.saga limit 20
                    ) as names
                ) || '. ', ''
            ) || 'Sagas become known when a service that defines them starts.';
    end if;
    own_key := saga_private.key_of_start(name, input, key);
    if length(own_key) not between 1 and 500 then
        raise exception 'a key has from 1 to 500 characters, but this one has %', length(own_key)
            using errcode = 'invalid_parameter_value';
    end if;
    started := coalesce(saga_private.saga_id_from_key(name, own_key), gen_random_uuid());
    insert into saga_private.requests (at_ms, fields)
    values (
        (extract(epoch from clock_timestamp()) * 1000)::bigint,
        -- The key of the data is shown, and read by the service once more: its schema must not make another of it.
        json_build_object('type', name, 'data', input::text, 'subject', key, 'key', own_key, 'saga_id', started)
    );
    return started;
end
$$;
comment on function saga.start is
    'Start a saga inside the caller''s own transaction: it begins once that is committed. Returns its id. The same key'
    ' starts one saga, however often it is requested. Without a key the saga has the one that its definition takes from'
    ' the input, if it takes one.';

create function saga.signal(
    name text, saga_id uuid default null, data jsonb default '{}', saga text default null, key text default null,
    id text default null, wants_result boolean default false, step text default null, actor text default null
)
returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    request_id bigint;
    own_key text;
begin
    -- Who may signal may not operate, and types of this beginning are an operator's.
    if coalesce(name, '') = '' or starts_with(name, 'saga.') then
        raise exception 'a signal has a name that does not begin with ''saga.'', but this one is %',
            quote_nullable(name) using errcode = 'invalid_parameter_value';
    end if;
    if exists (select from saga_private.definitions where definitions.saga = name) then
        raise exception '''%'' is a saga, and no signal', name using errcode = 'invalid_parameter_value',
            hint = 'saga.start starts it.';
    end if;
    if signal.saga_id is null and coalesce(key, '') = '' then
        raise exception 'the signal ''%'' names no saga: give saga_id, or key', name
            using errcode = 'invalid_parameter_value';
    end if;
    if length(key) > 500 then
        raise exception 'a key has at most 500 characters, but this one has %', length(key)
            using errcode = 'invalid_parameter_value';
    end if;
    if jsonb_typeof(data) is distinct from 'object' then
        raise exception 'the data of a signal is a JSON object, but is %', coalesce(jsonb_typeof(data), 'null')
            using errcode = 'invalid_parameter_value';
    end if;
    if length(signal.id) > 500 then
        raise exception 'the id of a signal has at most 500 characters, but this one has %', length(signal.id)
            using errcode = 'invalid_parameter_value';
    end if;
    select saga_private.written_key(deployed.document ->> 'key_form', key)
    into own_key from saga_private.deployed_definitions(array[saga]) as deployed;
    insert into saga_private.requests (at_ms, wants_result, addressed_id, addressed_key, fields)
    values (
        (extract(epoch from clock_timestamp()) * 1000)::bigint,
        coalesce(signal.wants_result, false),
        coalesce(signal.saga_id, saga_private.saga_id_from_key(saga, coalesce(own_key, key))),
        coalesce(saga_private.order_key(nullif(key, '')), saga_private.order_key_of(signal.saga_id)),
        json_build_object(
            'type', name, 'data', data::text, 'saga_id', signal.saga_id, 'saga', saga, 'subject', key, 'step', step,
            'actor', actor, 'id', coalesce(nullif(signal.id, ''), gen_random_uuid()::text)
        )
    )
    returning requests.id into request_id;
    return request_id;
end
$$;
comment on function saga.signal is
    'Signal a saga inside the caller''s own transaction: the saga by its id, or by its key (and its name, where several'
    ' wait for such a signal). The same id twice is one signal. A step is the one that is meant, where several wait for'
    ' such a signal. The actor, if it is given, stands in the history. Returns the request''s id, for'
    ' saga.request_results if wants_result is true.';

-- Raises where no saga could be operated so.
create function saga_private.check_operation(operation text, step text, resolution text, output jsonb)
returns void
language plpgsql immutable
as $$
begin
    if coalesce(operation, '') not in ('retry', 'skip', 'resolve', 'cancel', 'compensate', 'pause', 'resume') then
        raise exception 'there is no operation %', quote_nullable(operation)
            using errcode = 'invalid_parameter_value',
            hint = 'The operations are retry, skip, resolve, cancel, compensate, pause, resume.';
    end if;
    if step is not null and operation not in ('retry', 'skip', 'resolve') then
        raise exception '''%'' is for a whole saga, and not for a step', operation
            using errcode = 'invalid_parameter_value';
    end if;
    if (operation = 'resolve') <> (coalesce(resolution, '') in ('succeeded', 'failed', 'compensated'))
        or operation <> 'resolve' and resolution is not null
    then
        raise exception '''resolve'' has a resolution, and nothing else has one; here % has %', operation,
            quote_nullable(resolution) using errcode = 'invalid_parameter_value',
            hint = 'The resolution is one of succeeded, failed, compensated.';
    end if;
    if output is not null and (resolution is distinct from 'succeeded' or jsonb_typeof(output) <> 'object') then
        raise exception 'an output is a JSON object, and of a step that is resolved as succeeded'
            using errcode = 'invalid_parameter_value';
    end if;
end
$$;

create function saga.operate(
    operation text, saga_id uuid, actor text default null, reason text default null, step text default null,
    resolution text default null, output jsonb default null
)
returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    request_id bigint;
begin
    perform saga_private.check_operation(operation, step, resolution, output);
    if operate.saga_id is null then
        raise exception 'no saga is named: saga_id is null' using errcode = 'invalid_parameter_value';
    end if;
    insert into saga_private.requests (at_ms, wants_result, addressed_id, addressed_key, fields)
    values (
        (extract(epoch from clock_timestamp()) * 1000)::bigint,
        true,
        operate.saga_id,
        saga_private.order_key_of(operate.saga_id),
        json_build_object(
            'type', 'saga.' || operation, 'saga_id', operate.saga_id,
            'actor', coalesce(nullif(actor, ''), session_user), 'reason', reason, 'step', step,
            'resolution', resolution, 'data', output::text
        )
    )
    returning requests.id into request_id;
    return request_id;
end
$$;
comment on function saga.operate is
    'Operate a saga inside the caller''s own transaction: retry, skip, resolve, cancel, compensate, pause, resume.'
    ' Without a step every step that waits for a person is meant. The actor is the session''s user unless another is'
    ' named. Returns the request''s id, for saga.request_results.';

create function saga.request_results(request_ids bigint[])
returns table (request_id bigint, verdict text, reason text, saga_id uuid, answered_at timestamptz)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select
        requests.id, requests.verdict, coalesce(requests.reason, ''), requests.saga_id,
        saga_private.moment(requests.answered_at_ms)
    from saga_private.requests
    where requests.id = any(request_ids) and requests.wants_result and requests.answered_at_ms is not null
    order by requests.id
$$;
comment on function saga.request_results is
    'The results of requests, from the moment they are answered and for an hour: the verdict is applied, repeated (it was'
    ' so already) or refused, and the reason says why.';

create function saga.state(saga_id uuid)
returns json
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select json_build_object(
        'id', sagas.id, 'saga', sagas.saga, 'version', sagas.version, 'key', sagas.key, 'status', sagas.status,
        'revision', sagas.revision, 'input', sagas.input, 'steps', sagas.steps, 'created_at_ms', sagas.created_at_ms,
        'updated_at_ms', sagas.updated_at_ms, 'ended_at_ms', sagas.ended_at_ms, 'wake_at_ms', sagas.wake_at_ms,
        'fault', sagas.fault, 'traceparent', sagas.traceparent, 'extra', sagas.extra
    )
    from saga_private.sagas where sagas.id = state.saga_id
$$;
comment on function saga.state is
    'A saga exactly as the service stores it, for programs of the same version: the form may change with any version.'
    ' Null where there is no saga with this id. To read a saga, use the views.';

create function saga.preview_job(
    operation text, saga_ids uuid[], reason text, actor text default null, step text default null,
    resolution text default null, output jsonb default null, filters jsonb default '{}'
)
returns table (job_id bigint, items integer, confirm text, expires_at timestamptz)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_variable
declare
    token text := gen_random_uuid()::text;
begin
    perform saga_private.check_operation(operation, step, resolution, output);
    return query
    select made.job_id, made.items, token, made.expires_at
    from saga_private.preview_job(
        operation, actor, reason, step, resolution, output::text, filters, token, saga_ids, '{}'
    ) as made;
end
$$;
comment on function saga.preview_job is
    'Preview one operation of many sagas, as a job: nothing happens before saga.confirm_job is called with the'
    ' confirmation that this returns, within 15 minutes. The sagas are those given here, 100,000 at most. The filters are'
    ' for people to read. saga.jobs and saga.job_items show it.';

create function saga.confirm_job(
    job_id bigint, confirm text, actor text default null, out verdict text, out reason text
)
language plpgsql security definer set search_path = pg_catalog, pg_temp set lock_timeout = '2s'
as $$
#variable_conflict use_variable
declare
    job saga_private.jobs;
    now_ms bigint := (extract(epoch from clock_timestamp()) * 1000)::bigint;
begin
    select * into job from saga_private.jobs where jobs.id = confirm_job.job_id for update;
    verdict := 'refused';
    if not found then
        verdict := 'unknown';
        reason := format('there is no job %s', job_id);
    elsif job.confirm_sha256 <> encode(sha256(convert_to(coalesce(confirm, ''), 'UTF8')), 'hex') then
        reason := format('this is not the confirmation of job %s: its preview has it', job_id);
    elsif job.confirmed_at_ms is not null then
        verdict := 'repeated';
        reason := format('job %s was confirmed before, by %s', job_id, job.confirmed_by);
    elsif job.stopped_at_ms is not null then
        reason := format('job %s was stopped by %s before it was confirmed', job_id, job.stopped_by);
    elsif job.expires_at_ms <= now_ms then
        reason := format('the preview of job %s has expired: what fits may have changed', job_id);
    else
        verdict := 'applied';
        update saga_private.jobs
        set confirmed_at_ms = now_ms, confirmed_by = coalesce(nullif(confirm_job.actor, ''), session_user),
            moved_at_ms = now_ms
        where jobs.id = job.id;
    end if;
end
$$;
comment on function saga.confirm_job is
    'Have a job carried out that was previewed. The verdict is applied, repeated (it was confirmed before), refused'
    ' (another confirmation, expired or stopped) or unknown (there is no such job); the reason says why.';

create function saga.stop_job(job_id bigint, actor text default null, out verdict text, out reason text)
language plpgsql security definer set search_path = pg_catalog, pg_temp set lock_timeout = '2s'
as $$
#variable_conflict use_variable
declare
    job saga_private.jobs;
    now_ms bigint := (extract(epoch from clock_timestamp()) * 1000)::bigint;
begin
    select * into job from saga_private.jobs where jobs.id = stop_job.job_id for update;
    if not found then
        verdict := 'unknown';
        reason := format('there is no job %s', job_id);
    elsif job.stopped_at_ms is not null then
        verdict := 'repeated';
        reason := format('job %s was stopped before, by %s', job_id, job.stopped_by);
    elsif job.ended_at_ms is not null then
        verdict := 'refused';
        reason := format('job %s has ended', job_id);
    else
        verdict := 'applied';
        update saga_private.jobs
        set stopped_at_ms = now_ms, stopped_by = coalesce(nullif(stop_job.actor, ''), session_user),
            ended_at_ms = case
                when job.reached = job.applied + job.repeated + job.refused + job.unknown then now_ms
            end
        where jobs.id = job.id;
    end if;
end
$$;
comment on function saga.stop_job is
    'Request nothing more of a job. What was requested already is carried out. The verdict is applied, repeated (it was'
    ' stopped before), refused (it has ended) or unknown (there is no such job); the reason says why.';

revoke all on function
    saga.start, saga.signal, saga.operate, saga.request_results, saga.state, saga.preview_job, saga.confirm_job,
    saga.stop_job
    from public;


-- The contract: views


create view saga.sagas as
select
    sagas.id,
    sagas.saga,
    sagas.version,
    sagas.key,
    sagas.status,
    saga_private.course_of(sagas.status, sagas.extra) as course,
    sagas.revision,
    sagas.input::jsonb as input,
    sagas.fault ->> 'code' as error_code,
    sagas.fault ->> 'message' as error_message,
    sagas.fault ->> 'step' as error_step,
    stuck.at ->> 'step' as stuck_step,
    stuck.at ->> 'code' as stuck_code,
    stuck.at ->> 'message' as stuck_message,
    saga_private.moment(sagas.created_at_ms) as created_at,
    saga_private.moment(sagas.updated_at_ms) as updated_at,
    saga_private.moment(sagas.ended_at_ms) as ended_at,
    saga_private.moment((sagas.extra ->> 'deadline_ms')::bigint) as deadline_at,
    saga_private.moment(sagas.wake_at_ms) as next_check_at,
    sagas.parent_id,
    split_part(sagas.extra ->> 'parent', ':', 2) as parent_step,
    sagas.traceparent
from saga_private.sagas
-- Only a stuck saga's steps are read, and only where one of these columns is.
cross join lateral (
    select case when sagas.status = 'stuck' then
        saga_private.stuck_at(saga_private.course_of(sagas.status, sagas.extra), sagas.steps)
    end as at
) as stuck;
comment on view saga.sagas is 'Every saga, one row each.';
comment on column saga.sagas.id is 'The saga''s id. It is derived from its business key, its event''s id or its stream entry.';
comment on column saga.sagas.saga is 'Name of the definition that the saga follows.';
comment on column saga.sagas.version is
    'Version of that definition. A saga ends on the version that it began with. ''tombstone'' of a child saga that its'
    ' parent cancelled before its start arrived: it has no steps and never will.';
comment on column saga.sagas.key is
    'Business key: the value by which the outside knows this saga. Null if it has none.';
comment on column saga.sagas.status is
    'running, compensating (effects are being undone), paused (a person has paused it), completed (all steps done or'
    ' left out), compensated (every effect undone), or stuck (a person has to act).';
comment on column saga.sagas.course is
    'forward (steps are done) or backward (effects are undone). A paused or stuck saga still has its course.';
comment on column saga.sagas.revision is
    'How many transitions the saga has made. The history has one line for each.';
comment on column saga.sagas.input is 'The input that the saga was started with, in the form of its schema.';
comment on column saga.sagas.error_code is
    'Why the saga turned to compensation, or is stuck on its way forward: a code for programs.';
comment on column saga.sagas.error_message is
    'Why the saga turned to compensation, or is stuck on its way forward: a text for people.';
comment on column saga.sagas.error_step is 'The step in which that error occurred.';
comment on column saga.sagas.stuck_step is 'The first step of a stuck saga that needs a person.';
comment on column saga.sagas.stuck_code is
    'Why that step needs a person: a code for programs. If its undo was given up on, it is the undo''s error.';
comment on column saga.sagas.stuck_message is 'Why that step needs a person: a text for people.';
comment on column saga.sagas.created_at is 'When the service accepted the saga.';
comment on column saga.sagas.updated_at is 'When the saga made its latest transition.';
comment on column saga.sagas.ended_at is 'When the saga ended. Null while something is still outstanding.';
comment on column saga.sagas.deadline_at is
    'When the saga turns to compensation by itself if it is not done. It waits for a pivot in flight, and means nothing'
    ' more once the pivot is done. Null without a deadline, and once the saga turned because of it.';
comment on column saga.sagas.next_check_at is
    'When the saga is checked again at the latest, if nothing happens before. Null if no timer is set.';
comment on column saga.sagas.parent_id is 'The saga that started this one as its child.';
comment on column saga.sagas.parent_step is 'The parent''s step that this saga carries out, or undoes.';
comment on column saga.sagas.traceparent is
    'Trace context (W3C) of the event that started the saga, if it had one.';

-- The definition of a saga is joined by its primary key: one row at most. Postgres leaves the join out where no column of
-- it is read. A saga has its steps in the definition's order, so a step is found there by its position.
create view saga.steps as
select
    sagas.id as saga_id,
    sagas.saga,
    step.position,
    step.name as step,
    definitions.document -> 'steps' -> (step.position - 1) ->> 'kind' as kind,
    definitions.document -> 'steps' -> (step.position - 1) ->> 'task' as task,
    nullif(definitions.document -> 'steps' -> (step.position - 1) ->> 'action', '') as action,
    definitions.document -> 'steps' -> (step.position - 1) ->> 'compensation' as compensation,
    step.status,
    step.attempts,
    step.compensation_attempts,
    step.probes,
    step.effect_revision,
    step.unanswered::text <> '[]' as in_doubt,
    step.due as waiting_for,
    saga_private.moment(step.due_at_ms) as due_at,
    case when step.due = 'signal' then definitions.document -> 'steps' -> (step.position - 1) ->> 'action' end as signal,
    nullif(step.output::jsonb, 'null') as output,
    step.fault ->> 0 as error_code,
    step.fault ->> 1 as error_message,
    saga_private.moment(step.started_at_ms) as started_at,
    saga_private.moment(step.ended_at_ms) as ended_at
from saga_private.sagas
cross join lateral saga_private.steps_of(sagas.steps) as step
left join saga_private.definitions on definitions.saga = sagas.saga and definitions.version = sagas.version;
comment on view saga.steps is 'Every step of every saga, one row each.';
comment on column saga.steps.saga_id is 'The saga that the step belongs to.';
comment on column saga.steps.saga is 'Name of the saga''s definition.';
comment on column saga.steps.position is 'The step''s place in the definition, from 1.';
comment on column saga.steps.step is 'The step''s name.';
comment on column saga.steps.kind is
    'compensatable (it may fail, and is undone then), pivot (once it is done, the saga only goes forward) or retriable (it'
    ' is tried until it is done, or a person decides). Null if this version of the definition is not registered.';
comment on column saga.steps.task is
    'command (a worker does it), sleep, signal or child (another saga does it). Null if this version of the definition is'
    ' not registered.';
comment on column saga.steps.action is
    'Type of a command, name of a signal or of a child saga. Null for a sleep, and if this version of the definition is'
    ' not registered.';
comment on column saga.steps.compensation is
    'Type of the command that undoes it. Null if nothing does, for a child saga, which undoes itself, and if this version'
    ' of the definition is not registered.';
comment on column saga.steps.status is
    'pending, dispatched (its action is in flight), waiting (for a time or a signal), succeeded, failed, unknown (it may'
    ' have happened), skipped (left out), compensating (its undo is in flight or waits), compensated, or'
    ' compensation_failed (its undo was given up on).';
comment on column saga.steps.attempts is 'How often the action was sent.';
comment on column saga.steps.compensation_attempts is 'How often the compensation was sent.';
comment on column saga.steps.probes is 'How often a probe asked if the action happened.';
comment on column saga.steps.effect_revision is
    'The saga''s revision at which the step took effect, or may have. Undo goes from the highest to the lowest.';
comment on column saga.steps.in_doubt is
    'True if an attempt was left without an answer: the effect may stand.';
comment on column saga.steps.waiting_for is
    'timeout (a command is in flight), retry (the wait before the next attempt), probe_timeout (a probe is in flight),'
    ' probe_retry (the wait before the next probe), sleep or signal. Null if nothing is awaited.';
comment on column saga.steps.due_at is 'When that wait is over.';
comment on column saga.steps.signal is
    'Name of the signal that is awaited. Null if none is, and if this version of the definition is not registered.';
comment on column saga.steps.output is 'The output that the worker returned.';
comment on column saga.steps.error_code is 'The latest failed attempt''s error: a code for programs.';
comment on column saga.steps.error_message is 'The latest failed attempt''s error: a text for people.';
comment on column saga.steps.started_at is 'When the action was first sent.';
comment on column saga.steps.ended_at is 'When the step reached its present end, undone or not.';

create view saga.history as
select
    history.saga_id,
    history.revision,
    saga_private.moment(history.at_ms) as at,
    history.event,
    history.status,
    history.step,
    history.direction,
    history.attempt,
    array(select json_array_elements_text(history.detail -> 'sent')) as sent,
    history.detail -> 'error' ->> 'code' as error_code,
    history.detail -> 'error' ->> 'message' as error_message,
    history.detail ->> 'actor' as actor,
    history.detail ->> 'reason' as reason
from saga_private.history;
comment on view saga.history is 'Everything that ever happened to a saga, one row for each transition.';
comment on column saga.history.saga_id is 'The saga that this happened to.';
comment on column saga.history.revision is 'The saga''s revision after it. It rises by one with no gap.';
comment on column saga.history.at is 'When it was decided.';
comment on column saga.history.event is
    'The event: started, what reached a step (action_succeeded, compensation_timed_out, signalled, ...), what a person'
    ' requested (cancel_requested, retry_requested, ...), deadline_passed.';
comment on column saga.history.status is 'The saga''s status after it.';
comment on column saga.history.step is 'The step that it reached. Null for the saga''s start.';
comment on column saga.history.direction is 'action or compensation. Null for the saga''s start.';
comment on column saga.history.attempt is 'The attempt that it belongs to.';
comment on column saga.history.sent is
    'The commands that were sent because of it, each as step:direction:attempt. If a child saga was told to stop, the'
    ' direction is cancel.';
comment on column saga.history.error_code is 'The error that came with it: a code for programs.';
comment on column saga.history.error_message is 'The error that came with it: a text for people.';
comment on column saga.history.actor is 'The person or program that requested it. Null if it was not requested.';
comment on column saga.history.reason is 'Why it was requested.';

create view saga.changes as
select changes.transaction_id, changes.at, changed.saga_id, changes.is_removal
from saga_private.changes
cross join lateral unnest(changes.saga_ids) as changed (saga_id);
comment on view saga.changes is
    'The sagas that were changed, or removed after their end, within two minutes: one row for each saga and commit. Keep'
    ' pg_current_snapshot() of each look, and next ask where transaction_id >= pg_snapshot_xmin(it) and not'
    ' pg_visible_in_snapshot(transaction_id, it): nothing is missed, and nothing is told twice.';
comment on column saga.changes.transaction_id is 'The transaction that changed the saga.';
comment on column saga.changes.at is 'When that transaction began, by the clock of this database.';
comment on column saga.changes.saga_id is 'The saga that was changed.';
comment on column saga.changes.is_removal is
    'True if the saga was removed after its end, false if it began or made a transition.';

create view saga.signals as
select
    sagas.id as saga_id,
    signal.position::integer as position,
    signal.state ->> 0 as name,
    signal.state ->> 1 as signal_id,
    signal.state ->> 3 as step,
    (signal.state ->> 2) is null as taken,
    nullif((signal.state -> 2)::jsonb, 'null') as data
from saga_private.sagas
cross join lateral json_array_elements(sagas.extra -> 'signals') with ordinality as signal (state, position);
comment on view saga.signals is 'Every signal that a saga has received.';
comment on column saga.signals.saga_id is 'The saga that received the signal.';
comment on column saga.signals.position is 'From 1, in the order in which they arrived.';
comment on column saga.signals.name is 'The signal''s name.';
comment on column saga.signals.signal_id is 'The signal''s id: the same id twice is one signal.';
comment on column saga.signals.step is
    'The step that it is for, until one takes it. Null if it is for any that waits for a signal of this name.';
comment on column saga.signals.taken is 'True once a step has taken it.';
comment on column saga.signals.data is 'The data that came with it, until a step takes it.';

create view saga.compensation_debt as
select
    sagas.id as saga_id,
    sagas.saga,
    sagas.key,
    sagas.status as saga_status,
    step.name as step,
    step.status,
    definitions.compensations ->> step.name as compensation,
    case when coalesce(definitions.document ->> 'undo', 'reverse') = 'reverse' and definitions.saga is not null
        then row_number() over (
            partition by sagas.id
            order by step.status in ('compensating', 'compensation_failed') desc, coalesce(step.effect_revision, 0) desc,
                step.position desc
        )::integer
    end as undo_order,
    step.compensation_attempts as attempts,
    step.fault ->> 0 as error_code,
    step.fault ->> 1 as error_message,
    saga_private.moment(step.ended_at_ms) as effect_at,
    (
        select saga_private.moment(min(turn.at_ms)) from saga_private.history as turn
        where turn.saga_id = sagas.id and turn.revision > (
            select max(revision) from saga_private.history as before
            where before.saga_id = sagas.id and before.status not in ('compensating', 'stuck', 'paused')
        )
    ) as outstanding_since
from saga_private.sagas
cross join lateral saga_private.steps_of(sagas.steps) as step
left join saga_private.definitions on definitions.saga = sagas.saga and definitions.version = sagas.version
where sagas.status in ('compensating', 'stuck', 'paused')
    and saga_private.course_of(sagas.status, sagas.extra) = 'backward'
    and (
        step.status in ('succeeded', 'unknown', 'compensating', 'compensation_failed')
        or step.status = 'skipped' and step.unanswered::text <> '[]'
    )
    and (definitions.saga is null or definitions.compensations ? step.name);
comment on view saga.compensation_debt is
    'Every effect that still has to be undone, of every saga that is compensating, paused while it does or stuck at it.';
comment on column saga.compensation_debt.saga_id is 'The saga whose effect still stands.';
comment on column saga.compensation_debt.saga is 'Name of the saga''s definition.';
comment on column saga.compensation_debt.key is 'The saga''s business key.';
comment on column saga.compensation_debt.saga_status is
    'compensating (the undo goes on by itself), paused (it goes on when it is resumed) or stuck (a person has to act).';
comment on column saga.compensation_debt.step is 'The step whose effect stands, or may stand.';
comment on column saga.compensation_debt.status is
    'succeeded (to be undone), unknown (may have happened, to be undone), skipped (left out while it was unknown, to be'
    ' undone), compensating (being undone), or compensation_failed (the undo was given up on).';
comment on column saga.compensation_debt.compensation is
    'Type of the command that undoes it; ''undo of'' and the name if a child saga undoes itself. Null if this version of'
    ' the definition is not registered.';
comment on column saga.compensation_debt.undo_order is
    '1 for the effect that is undone first, and so on: those under way, then the latest, and of two that came at once the'
    ' one that stands later in the definition. Null if there is no one order: with `undo: parallel` each effect is undone'
    ' as soon as all that came after it in the graph are; and if this version of the definition is not registered.';
comment on column saga.compensation_debt.attempts is 'How often the undo was sent.';
comment on column saga.compensation_debt.error_code is 'The latest error of this step: a code for programs.';
comment on column saga.compensation_debt.error_message is 'The latest error of this step: a text for people.';
comment on column saga.compensation_debt.effect_at is 'When the step took effect, or was left in doubt.';
comment on column saga.compensation_debt.outstanding_since is 'When the saga last turned to compensation.';

-- All versions are counted at once, since the count depends on none of them, and only where this column is read. A saga
-- that has not ended has a timer, or is compensating, or waits for a person: said in the words of the partial indexes, so
-- that ended sagas, mostly many, are not read.
create view saga.definitions as
select
    definitions.saga,
    definitions.version,
    definitions.first_seen_at,
    definitions.deployed_at,
    definitions.version = first_value(definitions.version) over (
        partition by definitions.saga
        order by saga_private.is_seen(definitions.seen_at) desc, definitions.deployed_at desc, definitions.version
    ) as is_deployed,
    definitions.document,
    coalesce((
        (
            select jsonb_object_agg(jsonb_build_array(saga, version)::text, sagas)
            from (
                select saga, version, count(*) as sagas from saga_private.sagas
                where ended_at_ms is null
                    and (wake_at_ms is not null or status in ('compensating', 'stuck', 'paused'))
                group by saga, version
            ) as counted
        ) ->> jsonb_build_array(definitions.saga, definitions.version)::text
    )::bigint, 0) as open_sagas
from saga_private.definitions;
comment on view saga.definitions is 'Every version of every definition that was ever deployed.';
comment on column saga.definitions.saga is 'Name of the definition.';
comment on column saga.definitions.version is
    'Digest of all that steers its sagas. A saga ends on the version that it began with.';
comment on column saga.definitions.first_seen_at is 'When a replica that had this version first started.';
comment on column saga.definitions.deployed_at is 'When a replica that had this version last started.';
comment on column saga.definitions.is_deployed is
    'True for the version that saga.start and the command line go by: of those that running replicas have, the one whose'
    ' replica started last. A minute after its last replica has gone, a version counts as replaced.';
comment on column saga.definitions.document is
    'The whole definition as it is stored: key, input schema, deadline and steps, times in milliseconds. `format` is the'
    ' number of its form, which rises when the form changes.';
comment on column saga.definitions.open_sagas is 'How many sagas of this version have not ended.';

create view saga.processes as
select
    processes.kind,
    processes.name,
    case
        when processes.has_stopped then 'stopped'
        when processes.seen_at > now() - interval '45 seconds' then 'alive'
        else 'lost'
    end as status,
    processes.host,
    processes.pid,
    processes.version,
    saga_private.moment(processes.started_at_ms) as started_at,
    processes.seen_at as last_seen_at,
    processes.reads,
    processes.services,
    processes.definitions,
    processes.slots,
    processes.in_flight,
    processes.handled_per_s,
    processes.clock_ahead_ms
from saga_private.processes;
comment on view saga.processes is
    'Services and workers that are alive, or were within a day. Workers are known by way of Redis and of a service that'
    ' runs: while none does, nothing here is renewed.';
comment on column saga.processes.kind is 'service or worker. A service that has workers inside is there as both.';
comment on column saga.processes.name is 'Name in its consumer groups. No two processes have the same.';
comment on column saga.processes.status is
    'alive (has said so within 45 seconds), stopped (ended in good order) or lost (has said nothing for longer: killed,'
    ' hung or cut off). Those that are not alive are forgotten after a day.';
comment on column saga.processes.host is 'The machine, or the container.';
comment on column saga.processes.pid is 'The process''s id on that machine.';
comment on column saga.processes.version is 'The version of saga_service that it runs.';
comment on column saga.processes.started_at is 'When it started, by its own clock.';
comment on column saga.processes.last_seen_at is 'When it last said that it was alive, by the clock of this database.';
comment on column saga.processes.reads is 'The streams that it reads: a JSON array of objects with stream and group.';
comment on column saga.processes.services is
    'A worker''s services, with the handlers of each: the command type, and JSON schemas of what it takes and returns if'
    ' they are known.';
comment on column saga.processes.definitions is 'A service''s definitions: a JSON object with the version of each saga.';
comment on column saga.processes.slots is
    'How much it does at once, at most: a worker commands, a service batches. Null if it does not say.';
comment on column saga.processes.in_flight is 'How much it was doing when it was last seen.';
comment on column saga.processes.handled_per_s is
    'What it handled each second between its last two reports: a worker commands, a service entries.';
comment on column saga.processes.clock_ahead_ms is
    'How far its clock is ahead of Redis'' clock, in milliseconds; negative if behind. Null if it does not know.';

create view saga.requests as
select
    requests.id as request_id,
    saga_private.moment(requests.at_ms) as at,
    requests.fields ->> 'type' as type,
    coalesce(requests.saga_id::text, requests.fields ->> 'saga_id') as saga_id,
    requests.fields ->> 'saga' as saga,
    coalesce(requests.fields ->> 'key', requests.fields ->> 'subject') as key,
    requests.stream,
    requests.entry_id,
    requests.attempts,
    case when requests.answered_at_ms is null
        then saga_private.moment(nullif(requests.due_at_ms, 0))
    end as next_check_at,
    saga_private.moment(requests.answered_at_ms) as answered_at,
    requests.verdict,
    requests.reason
from saga_private.requests;
comment on view saga.requests is
    'Requests by SQL that are open, or whose result is kept for the caller; and entries that are deferred because their'
    ' saga is not known yet.';
comment on column saga.requests.request_id is 'The request''s id, for saga.request_results.';
comment on column saga.requests.at is 'When the request was made, or when the entry was read.';
comment on column saga.requests.type is
    'The saga to start, the signal, or an operation such as saga.cancel. Null once it is answered.';
comment on column saga.requests.saga_id is
    'The saga''s id, if the request names it by that or starts it, or once it is answered.';
comment on column saga.requests.saga is 'The saga''s name, if the request has it.';
comment on column saga.requests.key is 'The saga''s business key, if the request names it by that or starts it.';
comment on column saga.requests.stream is
    'Null for a request by SQL, else the stream of an entry that is deferred.';
comment on column saga.requests.entry_id is 'The entry''s id on that stream.';
comment on column saga.requests.attempts is 'How often a replica has taken it in hand.';
comment on column saga.requests.next_check_at is
    'When it is tried again, at the earliest. Null before the first attempt, and once it is answered.';
comment on column saga.requests.answered_at is 'When it was answered; it is deleted an hour later.';
comment on column saga.requests.verdict is
    'applied, repeated (it was so already) or refused. Null until it is answered.';
comment on column saga.requests.reason is 'Why it was refused, or had no effect.';

create view saga.dead_letters as
select
    dead_letters.id,
    dead_letters.stream,
    dead_letters.entry_id,
    dead_letters.reason,
    saga_private.moment(dead_letters.at_ms) as at,
    dead_letters.saga_id,
    dead_letters.key,
    dead_letters.preview as fields,
    dead_letters.raw,
    saga_private.moment(dead_letters.replayed_at_ms) as replayed_at
from saga_private.dead_letters;
comment on view saga.dead_letters is 'Stream entries that could not be used.';
comment on column saga.dead_letters.id is 'The dead letter''s number, by which it is replayed or dropped.';
comment on column saga.dead_letters.stream is 'The stream of the entry.';
comment on column saga.dead_letters.entry_id is 'The entry''s id on that stream.';
comment on column saga.dead_letters.reason is 'Why the entry could not be used.';
comment on column saga.dead_letters.at is 'When it became a dead letter.';
comment on column saga.dead_letters.saga_id is
    'The saga that the entry names, or would have started. Null where the entry does not tell.';
comment on column saga.dead_letters.key is 'That saga''s business key, where the entry has it.';
comment on column saga.dead_letters.fields is
    'The entry''s fields for people: long values are shortened, and what is not text is escaped.';
comment on column saga.dead_letters.raw is 'The entry''s fields exactly as they came: JSON pairs of base64.';
comment on column saga.dead_letters.replayed_at is 'When the entry was last put on its stream again.';

create view saga.refusals as
select
    refusals.number,
    refusals.at,
    refusals.times,
    refusals.status,
    refusals.caller,
    refusals.address,
    refusals.method,
    refusals.path,
    refusals.detail
from saga_private.refusals;
comment on view saga.refusals is
    'Requests that the HTTP API refused because of who asked: the latest 5,000 of callers who were known, the latest 5,000'
    ' of others, and those of 90 days at most.';
comment on column saga.refusals.number is 'Rises with each row.';
comment on column saga.refusals.at is 'When it was recorded, some seconds after it was refused.';
comment on column saga.refusals.times is 'How often it was refused within these seconds.';
comment on column saga.refusals.status is 'The status of the answer: 401, 403 or 421.';
comment on column saga.refusals.caller is 'Who asked. Null where nobody was known.';
comment on column saga.refusals.address is 'The address that the request came from, by the network or by a trusted proxy.';
comment on column saga.refusals.method is 'The method of the first of these requests.';
comment on column saga.refusals.path is 'The path of the first of these requests.';
comment on column saga.refusals.detail is 'Why it was refused.';


-- The gauges of the state, for metrics: read often, and so written in the words of the partial indexes. Ended sagas,
-- mostly many, are not read. Plans are fixed by hand, as for the service's own functions.
create function saga.state_metrics()
returns table (metric text, labels text[], value double precision)
language sql stable security definer set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
    with in_flight as materialized (
        select
            saga, status, count(*) as sagas, min(created_at_ms) as oldest_start_ms,
            min(updated_at_ms) as oldest_change_ms
        from saga_private.sagas
        where ended_at_ms is null
            and (wake_at_ms is not null or status in ('compensating', 'stuck', 'paused'))
        group by saga, status
    ), debt as materialized (
        select saga, count(*) as effects, extract(epoch from min(outstanding_since)) as oldest
        from saga.compensation_debt group by saga
    ), dead_letters as materialized (
        select stream, count(*) as letters, min(at_ms) as oldest_ms
        from saga_private.dead_letters where replayed_at_ms is null group by stream
    ), outbox as materialized (
        select count(*) as messages, min(claimed_at_ms) as oldest_ms from saga_private.outbox
    ), requests as materialized (
        select count(*) as requests, min(at_ms) as oldest_ms
        from saga_private.requests where answered_at_ms is null
    )
    select 'saga_in_flight', array[saga, status], sagas::double precision from in_flight
    union all
    select 'saga_oldest_start_timestamp_seconds', array[saga, status], oldest_start_ms / 1000.0 from in_flight
    union all
    select 'saga_oldest_change_timestamp_seconds', array[saga, status], oldest_change_ms / 1000.0 from in_flight
    union all
    select 'saga_next_timer_timestamp_seconds', '{}', min(wake_at_ms) / 1000.0
    from saga_private.sagas where wake_at_ms is not null
    union all
    select 'saga_compensation_debt', array[saga], effects from debt
    union all
    select 'saga_oldest_debt_timestamp_seconds', array[saga], oldest from debt
    union all
    select 'saga_dead_letters_waiting', array[stream], letters from dead_letters
    union all
    select 'saga_oldest_dead_letter_timestamp_seconds', array[stream], oldest_ms / 1000.0 from dead_letters
    union all
    select 'saga_outbox_rows', '{}', messages from outbox
    union all
    select 'saga_oldest_outbox_timestamp_seconds', '{}', oldest_ms / 1000.0 from outbox
    union all
    select 'saga_requests_waiting', '{}', requests from requests
    union all
    select 'saga_oldest_request_timestamp_seconds', '{}', oldest_ms / 1000.0 from requests
    union all
    select 'saga_processes', array[kind], count(*) from saga.processes where status = 'alive' group by kind
    union all
    select 'stream', array[streams.stream], 1
    from (
        select stream from saga_private.streams
        union
        select reads.stream
        from saga.processes cross join lateral jsonb_to_recordset(processes.reads) as reads (stream text)
        where processes.status = 'alive'
    ) as streams
$$;
comment on function saga.state_metrics is
    'The gauges of the state as /metrics exports them: how many sagas are in flight, what is owed, what waits, and since'
    ' when (seconds since 1970). The value is null where there is nothing. The rows named stream have the streams that are'
    ' read, and those on which something may be in flight.';
revoke all on function saga.state_metrics from public;

create view saga.jobs as
select
    jobs.id,
    jobs.operation,
    case
        when jobs.ended_at_ms is not null and jobs.stopped_at_ms is not null then 'stopped'
        when jobs.ended_at_ms is not null then 'completed'
        when jobs.stopped_at_ms is not null then 'stopping'
        when jobs.confirmed_at_ms is not null then 'running'
        when saga_private.moment(jobs.expires_at_ms) <= now() then 'expired'
        else 'previewed'
    end as status,
    jobs.actor,
    jobs.reason,
    jobs.step,
    jobs.resolution,
    jobs.filters,
    jobs.items as total,
    jobs.reached as requested,
    jobs.applied,
    jobs.repeated,
    jobs.refused,
    jobs.unknown,
    jobs.reached - jobs.applied - jobs.repeated - jobs.refused - jobs.unknown as open,
    round(
        (jobs.applied + jobs.repeated + jobs.refused + jobs.unknown) * 1000.0
        / nullif(coalesce(jobs.ended_at_ms, extract(epoch from now()) * 1000) - jobs.confirmed_at_ms, 0),
        1
    )::double precision as per_s,
    saga_private.moment(jobs.previewed_at_ms) as previewed_at,
    saga_private.moment(jobs.expires_at_ms) as expires_at,
    saga_private.moment(jobs.confirmed_at_ms) as confirmed_at,
    jobs.confirmed_by,
    saga_private.moment(jobs.stopped_at_ms) as stopped_at,
    jobs.stopped_by,
    saga_private.moment(jobs.ended_at_ms) as ended_at,
    case
        when jobs.confirmed_at_ms is null or jobs.ended_at_ms is not null then null
        when not exists (
            select from saga_private.processes
            where kind = 'service' and not has_stopped and seen_at > now() - interval '45 seconds'
        ) then 'no service is alive: it goes on once one runs'
        when jobs.problem is not null then jobs.problem
        when saga_private.moment(jobs.moved_at_ms) < now() - interval '30 seconds'
            then 'no request was answered for 30 seconds: look at saga.requests, and at the log of the service'
    end as problem
from saga_private.jobs;
comment on view saga.jobs is 'Jobs: one operation on many sagas or dead letters, previewed, confirmed and carried out.';
comment on column saga.jobs.id is 'The job''s number. It stands in the history of each saga that it operated.';
comment on column saga.jobs.operation is
    'retry, skip, resolve, cancel, compensate, pause or resume of sagas; replay or drop of dead letters.';
comment on column saga.jobs.status is
    'previewed (nothing happens before it is confirmed), expired (it was not confirmed in time), running, stopping (nothing'
    ' more is requested, answers are still to come), stopped, or completed (each item has its answer).';
comment on column saga.jobs.actor is 'The person or program that previewed it.';
comment on column saga.jobs.reason is 'Why it was requested.';
comment on column saga.jobs.step is 'The step that is meant. Null for every step that waits for a person.';
comment on column saga.jobs.resolution is 'With resolve: succeeded, failed or compensated. Else null.';
comment on column saga.jobs.filters is 'The filters that the items fitted when it was previewed.';
comment on column saga.jobs.total is 'How many sagas or dead letters it has. They are fixed by the preview.';
comment on column saga.jobs.requested is 'How many of them were taken in hand.';
comment on column saga.jobs.applied is 'How many were operated, put back or dropped.';
comment on column saga.jobs.repeated is 'How many were so already.';
comment on column saga.jobs.refused is 'How many refused, each with a reason in saga.job_items.';
comment on column saga.jobs.unknown is 'How many were taken in hand without that the end is known; their reasons say why.';
comment on column saga.jobs.open is 'How many were requested and have no answer yet.';
comment on column saga.jobs.per_s is 'Answers each second, from its confirmation until now or until its end.';
comment on column saga.jobs.previewed_at is 'When it was previewed.';
comment on column saga.jobs.expires_at is 'Until when it can be confirmed.';
comment on column saga.jobs.confirmed_at is 'When it was confirmed, and began. Null before.';
comment on column saga.jobs.confirmed_by is 'The person or program that confirmed it: the actor in the sagas'' histories.';
comment on column saga.jobs.stopped_at is 'When it was stopped. Null if it was not.';
comment on column saga.jobs.stopped_by is 'The person or program that stopped it.';
comment on column saga.jobs.ended_at is 'When the last answer had come. It is removed some days later.';
comment on column saga.jobs.problem is 'Why it stands still. Null while it goes on, and before and after.';

create view saga.job_items as
select
    job_items.job_id,
    job_items.position,
    job_items.saga_id,
    job_items.dead_letter,
    job_items.request_id,
    saga_private.moment(job_items.requested_at_ms) as requested_at,
    job_items.verdict,
    job_items.reason,
    saga_private.moment(job_items.answered_at_ms) as answered_at
from saga_private.job_items;
comment on view saga.job_items is 'The sagas, or the dead letters, of each job, and what became of each.';
comment on column saga.job_items.job_id is 'The job''s number.';
comment on column saga.job_items.position is 'From 1, in the order in which they are requested.';
comment on column saga.job_items.saga_id is 'The saga''s id. Null in a job on dead letters.';
comment on column saga.job_items.dead_letter is 'The dead letter''s number. Null in a job on sagas.';
comment on column saga.job_items.request_id is 'The request of this saga, by its number in saga.requests.';
comment on column saga.job_items.requested_at is 'When it was taken in hand. Null before.';
comment on column saga.job_items.verdict is
    'applied, repeated (it was so already), refused, or unknown. Null until it is answered.';
comment on column saga.job_items.reason is
    'Why it was refused, or had no effect; of a dead letter that was put back, the id of the new entry or request.';
comment on column saga.job_items.answered_at is 'When it was answered.';
