"""The statements of the service that are not functions of the database. Each has a test that it scans no big table.

`LOAD` is written so that its plan is good even if it was made, and kept, while the tables were still empty: a nested
loop over what is asked for, one look-up in the primary key each.
"""

from saga_service.store.rows import COLUMNS

LOAD = f"""
select saga.*
from unnest($1::uuid[]) as wanted (id)
cross join lateral (select {COLUMNS} from saga_private.sagas where sagas.id = wanted.id limit 1) as saga
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

DEFER = "select saga_private.defer($1, $2, $3, $4, $5, $6, $7, $8)"

DELETE_ANSWERED = "select saga_private.delete_answered($1)"

KEEP_UNPUBLISHED = "update saga_private.outbox set messages = $2 where id = $1"

DELETE_PUBLISHED = "select saga_private.delete_published($1)"

DEFINITION = "select document::text from saga_private.definitions where saga = $1 and version = $2"

NEWEST_DEFINITION = """
select distinct on (saga) document::text from saga_private.definitions
where saga = any($1::text[]) order by saga, first_seen_at desc
"""

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
on conflict (saga, version) do nothing
"""
