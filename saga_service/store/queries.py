"""The statements of the service, and those of people's commands. Each has a test that it scans no big table.

`LOAD` is written so that its plan is good even if it was made, and kept, while the tables were still empty: a nested
loop over the ids, one look-up in the primary key each. The statements of people's commands come last: they need the
contract's roles, or where they name a table the service's own.
"""

LOAD = """
select saga.*
from unnest($1::uuid[]) as wanted (id)
cross join lateral (
    select
        id::text, saga, version, key, status, revision, input::text, steps::text, created_at_ms, updated_at_ms,
        ended_at_ms, wake_at_ms, fault::text, traceparent, extra::text
    from saga_private.sagas where sagas.id = wanted.id limit 1
) as saga
"""

COMMIT = """
select saga_private.commit_batch(
    $1::text::bigint[], $2::text::text[], $3::text[], $4::text::uuid[],
    $5::text::uuid[], $6::text[],
    $7::text::bigint[], $8::text::bigint[],
    $9::text::bigint[], $10::text[], $11::text[], $12::text::text[], $13::text::text[], $14::text::uuid[],
    $15::text[],
    $16::text::uuid[], $17::text::bigint[], $18::text[], $19::text[], $20::text[], $21::text[], $22::text::text[],
    $23::text::text[], $24::text::integer[], $25::text::bigint[], $26::text::bigint[], $27::text::bigint[],
    $28::text::text[], $29::text::text[], $30::text::uuid[], $31::text::text[],
    $32::text::uuid[], $33::text::integer[], $34::text::text[], $35::text::integer[], $36::text::bigint[],
    $37::text::bigint[], $38::text::bigint[], $39::text::text[], $40::text::text[], $41::text::text[],
    $42::text::uuid[],
    $43::text::uuid[], $44::text::integer[], $45::text::integer[], $46::text::bigint[], $47::text[],
    $48::text::text[], $49::text[], $50::text::text[], $51::text::text[],
    $52::text::bigint[], $53::text[], $54::text[], $55::text[], $56::text[], $57::text[], $58::text::uuid[],
    $59::text[],
    $60::bigint, $61::text, $62::bigint[]
)
"""

# A saga that waits for nothing but its child's end is stuck, or paused, and has no moment to be woken at.
SOME_IN_FLIGHT = """
select id::text from (
    (select id from saga_private.sagas where wake_at_ms is not null order by wake_at_ms limit $1)
    union
    (select id from saga_private.sagas where status in ('stuck', 'paused') limit $1)
) as in_flight
limit $1
"""

CLAIM_DUE = "select saga_ids, next_due_at_ms from saga_private.claim_due($1, $2, $3)"

RECORD_DEPLOYMENT = """
insert into saga_private.deployment (stream_prefix, consumer_group) values ($1, $2)
on conflict (is_only) do nothing
"""

RENAME_DEPLOYMENT = """
with old_streams as (delete from saga_private.streams)
insert into saga_private.deployment as known (stream_prefix, consumer_group) values ($1, $2)
on conflict (is_only) do update
set stream_prefix = $1, consumer_group = $2, recorded_at = now()
where (known.stream_prefix, known.consumer_group) is distinct from ($1, $2)
"""

DEPLOYMENT = "select stream_prefix, consumer_group from saga_private.deployment"

SEE_STREAMS = """
select saga_private.see_streams(
    $1::text[], $2::text[], $3::bigint[], $4::boolean[], $5::text[], $6::bigint[], $7::bigint[], $8::text[], $9, $10
)
"""

CONTINUE_RECOVERY = "select sagas, is_owed from saga_private.continue_recovery($1, $2, $3)"

CLAIM_UNPUBLISHED = "select id, messages from saga_private.claim_unpublished($1, $2, $3)"

CLAIM_REQUESTS = """
select id, fields, wants_result, first_attempt_at_ms, attempts, stream, entry_id, raw
from saga_private.claim_requests($1, $2, $3)
"""

DELETE_ANSWERED = "select saga_private.delete_answered($1)"

FORGET_CHANGES = "select saga_private.forget_changes()"

PROBE = "select saga_private.probe()"

REMOVE_ENDED = "select removed, reached_ms from saga_private.remove_ended($1, $2, $3)"

REMOVE_REPLAYED = "select saga_private.remove_replayed($1, $2)"

KEEP_UNPUBLISHED = "update saga_private.outbox set messages = $2 where id = $1"

DELETE_PUBLISHED = "select saga_private.delete_published($1)"

DEFINITION = "select document::text from saga_private.definitions where saga = $1 and version = $2"

DEPLOYED_DEFINITIONS = "select document::text from saga_private.deployed_definitions($1)"

WAITING_FOR = """
select distinct wanted.signal, definitions.saga
from unnest($1::text[]) as wanted (signal)
join saga_private.definitions
    on document -> 'steps' @> jsonb_build_array(jsonb_build_object('task', 'signal', 'action', wanted.signal))
order by 1, 2
"""

IDS_WITH_KEY = "select saga, key, id, has_ended from saga_private.ids_with_key($1, $2)"

REMEMBER_DEFINITIONS = """
insert into saga_private.definitions (saga, version, compensations, document)
select saga, version, compensations::jsonb, document::jsonb
from unnest($1::text[], $2::text[], $3::text[], $4::text[]) as given (saga, version, compensations, document)
order by saga, version
on conflict (saga, version) do update set deployed_at = now(), seen_at = now()
"""

# Once in a while for all replicas together, in the order of the statement above.
STILL_DEPLOYED = """
with seen as materialized (
    select definitions.saga, definitions.version
    from unnest($1::text[], $2::text[]) as given (saga, version)
    join saga_private.definitions using (saga, version)
    where seen_at < now() - interval '10 seconds'
    order by saga, version
    for update of definitions skip locked
)
update saga_private.definitions set seen_at = now()
from seen where definitions.saga = seen.saga and definitions.version = seen.version
"""


# What a process is never changes, so only what it does is written again, and by one of the replicas that copy it.
RECORD_PROCESSES = """
with dead as (
    delete from saga_private.processes where (kind, name) in (
        select kind, name from saga_private.processes where seen_at < now() - interval '1 day'
        order by kind, name for update skip locked
    )
)
insert into saga_private.processes as known (
    kind, name, host, pid, version, started_at_ms, reads, services, definitions, seen_at,
    slots, in_flight, handled_per_s, clock_ahead_ms, has_stopped
)
select
    kind, name, host, pid, version, started_at_ms, reads::jsonb, services::jsonb, definitions::jsonb,
    now() - age_ms * interval '1 millisecond', slots, in_flight, handled_per_s, clock_ahead_ms, has_stopped
from unnest(
    $1::text[], $2::text[], $3::text[], $4::bigint[], $5::text[], $6::bigint[], $7::text[], $8::text[], $9::text[],
    $10::bigint[], $11::bigint[], $12::bigint[], $13::float8[], $14::bigint[], $15::boolean[]
) as given (
    kind, name, host, pid, version, started_at_ms, reads, services, definitions, age_ms, slots, in_flight,
    handled_per_s, clock_ahead_ms, has_stopped
)
order by kind, name
on conflict (kind, name) do update set
    seen_at = excluded.seen_at, slots = excluded.slots, in_flight = excluded.in_flight,
    handled_per_s = excluded.handled_per_s, clock_ahead_ms = excluded.clock_ahead_ms,
    has_stopped = excluded.has_stopped
where excluded.seen_at > known.seen_at + interval '1 second' or excluded.has_stopped > known.has_stopped
"""


OPERATE = """
select saga.operate($2, saga_id, $3, $4, $5, $6, output::jsonb) as request_id
from unnest($1::uuid[], $7::text[]) with ordinality as given (saga_id, output, place) order by place
"""

SIGNAL = "select saga.signal($1, $2::uuid, $3::text::jsonb, id => $4, wants_result => true, step => $5, actor => $6)"

REQUEST_RESULTS = "select request_id, verdict, reason from saga.request_results($1)"

# After the id, the columns are in the order of a DeadLetter's fields.
DEAD_LETTERS = """
select id, stream, entry_id, reason, at_ms, preview::text, raw, saga_id::text, key
from saga_private.dead_letters where id = any($1::bigint[]) order by id
"""

# Dead letters are locked by stream and entry, as a commit writes them.
MARK_REPLAYED = """
with held as materialized (
    select id from saga_private.dead_letters where id = any($1::bigint[]) order by stream, entry_id for update
)
update saga_private.dead_letters set replayed_at_ms = $2 from held where dead_letters.id = held.id
returning dead_letters.id
"""

DROP_DEAD_LETTERS = """
with held as materialized (
    select id from saga_private.dead_letters where id = any($1::bigint[]) order by stream, entry_id for update
)
delete from saga_private.dead_letters using held where dead_letters.id = held.id returning dead_letters.id
"""

# Identities are given in the order of the rows, so the lowest request is that of the lowest dead letter.
REPLAY_REQUESTS = """
with given as (
    select id, fields from unnest($1::bigint[], $3::text[]) as given (id, fields)
), held as materialized (
    select id from saga_private.dead_letters where id = any($1::bigint[]) order by stream, entry_id for update
), replayed as (
    update saga_private.dead_letters set replayed_at_ms = $2 from held where dead_letters.id = held.id
    returning dead_letters.id
), made as (
    insert into saga_private.requests (at_ms, fields)
    select $2, given.fields::json from given join replayed on replayed.id = given.id order by given.id
    returning id
)
select
    (select array_agg(id order by id) from replayed) as dead_letters,
    (select array_agg(id order by id) from made) as requests
"""

REMOVE_WRITTEN = "select saga_private.remove_written($1, $2, $3)"

NEXT_SAGAS = "select id::text from saga_private.sagas where id > $1 order by id limit $2"

# Written at the revision that was read, which stays as it is. A row that somebody holds is passed over.
ROTATE = """
with held as materialized (
    select sagas.id, fresh.input, fresh.steps, fresh.extra
    from unnest($1::uuid[], $2::integer[], $3::text[], $4::text[], $5::text[])
        as fresh (id, revision, input, steps, extra)
    join saga_private.sagas on sagas.id = fresh.id and sagas.revision = fresh.revision
    for update of sagas skip locked
)
update saga_private.sagas
set input = held.input::json, steps = held.steps::json, extra = held.extra::json
from held where sagas.id = held.id
returning sagas.id::text
"""

STATE_METRICS = "select metric, labels, value from saga.state_metrics()"

PREVIEW_SAGAS = """
select job_id, items, confirm, expires_at
from saga.preview_job($1, $2::uuid[], $3, $4, $5, $6, $7::text::jsonb, $8::text::jsonb)
"""

PREVIEW_LETTERS = """
select made.job_id, made.items, given.confirm, made.expires_at
from (select gen_random_uuid()::text as confirm) as given
cross join lateral saga_private.preview_job(
    $1, $2, $3, null, null, null, $4::text::jsonb, given.confirm, '{}', $5::bigint[]
) as made
"""

CONFIRM_JOB = "select verdict, reason from saga.confirm_job($1, $2, $3)"

STOP_JOB = "select verdict, reason from saga.stop_job($1, $2)"

TAKE_TURN = """
select job_id, operation, has_ended, output, output_saga_id, reached, saga_ids, positions
from saga_private.take_turn($1, $2, $3, $4) where job_id is not null
"""

REQUEST_ITEMS = "select saga_private.request_items($1, $2, $3, $4)"

BEGIN_LETTERS = "select position, dead_letter from saga_private.begin_letters($1, $2, $3, $4)"

FINISH_LETTERS = "select saga_private.finish_letters($1, $2, $3, $4, $5)"

DROP_LETTERS = "select saga_private.drop_letters($1, $2, $3)"

# The next turn comes a little later for all replicas.
NOTE_PROBLEM = """
with known as materialized (
    select id, problem from saga_private.jobs where id = $1 and ended_at_ms is null for update
)
update saga_private.jobs set problem = $2, turn_at_ms = jobs.turn_at_ms + $3
from known where jobs.id = known.id
returning known.problem is distinct from $2
"""

REMOVE_JOBS = "select saga_private.remove_jobs($1, $2, $3)"
