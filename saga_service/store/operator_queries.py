"""The statements of people's commands: they need the contract's roles, or where they name a table the service's own.

`queries` has the statements of the service itself.
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
