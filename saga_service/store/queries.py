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
    $5::text::bigint[], $6::text::bigint[],
    $7::text::bigint[], $8::text[], $9::text[], $10::text::text[], $11::text::text[],
    $12::text::uuid[], $13::text::bigint[], $14::text[], $15::text[], $16::text[], $17::text[], $18::text::text[],
    $19::text::text[], $20::text::integer[], $21::text::bigint[], $22::text::bigint[], $23::text::bigint[],
    $24::text::text[], $25::text::text[], $26::text::uuid[], $27::text::text[],
    $28::text::uuid[], $29::text::integer[], $30::text::text[], $31::text::integer[], $32::text::bigint[],
    $33::text::bigint[], $34::text::bigint[], $35::text::text[], $36::text::text[], $37::text::text[],
    $38::text::uuid[],
    $39::text::uuid[], $40::text::integer[], $41::text::integer[], $42::text::bigint[], $43::text[],
    $44::text::text[], $45::text[], $46::text::text[], $47::text::text[],
    $48::text::bigint[], $49::text[], $50::text[], $51::text[], $52::text[], $53::text[],
    $54::bigint, $55::text, $56::bigint[]
)
"""

# A saga that waits for nothing but its child's end is stuck, or paused, and has no moment to be woken at.
IN_FLIGHT = """
select id::text from (
    (select id from saga_private.sagas where wake_at_ms is not null and id > $1 order by id limit $2)
    union
    (select id from saga_private.sagas where status in ('stuck', 'paused') and id > $1 order by id limit $2)
) as owing
order by id limit $2
"""

CLAIM_DUE = "select saga_ids, next_due_at_ms from saga_private.claim_due($1, $2, $3)"

CLAIM_UNPUBLISHED = "select id, messages from saga_private.claim_unpublished($1, $2, $3)"

CLAIM_REQUESTS = """
select id, fields, wants_result, first_attempt_at_ms, attempts, stream, entry_id, raw
from saga_private.claim_requests($1, $2, $3)
"""

DELETE_ANSWERED = "select saga_private.delete_answered($1)"

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


OPERATE = """
select saga.operate($2, saga_id, $3, $4, $5, $6, output::jsonb) as request_id
from unnest($1::uuid[], $7::text[]) with ordinality as given (saga_id, output, place) order by place
"""

SIGNAL = "select saga.signal($1, $2::uuid, $3::text::jsonb, id => $4, wants_result => true)"

REQUEST_RESULTS = "select request_id, verdict, reason from saga.request_results($1)"

DEAD_LETTER = """
select stream, entry_id, reason, at_ms, preview::text as preview, raw from saga_private.dead_letters where id = $1
"""

MARK_REPLAYED = """
update saga_private.dead_letters set replayed_at_ms = $2 where id = any($1::bigint[]) returning id
"""

DROP_DEAD_LETTERS = "delete from saga_private.dead_letters where id = any($1::bigint[]) returning id"

REPLAY_REQUEST = """
with replayed as (update saga_private.dead_letters set replayed_at_ms = $2 where id = $1 returning id)
insert into saga_private.requests (at_ms, fields) select $2, $3::text::json from replayed
returning id
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
