"""All the SQL of the inbox: its table, what takes and writes a row, and what removes old ones."""

from __future__ import annotations

MARKS = "('never', 'begun', 'done', 'rejected')"

CREATE = (
    # Ten replicas may start at once, and IF NOT EXISTS alone does not bear that. The lock goes with the transaction, so
    # it works behind a pooling proxy too.
    "select pg_advisory_xact_lock(hashtextextended('saga_worker.inbox', 0))",
    "create schema if not exists saga_worker",
    f"""
    create table if not exists saga_worker.inbox (
        saga_id         uuid        not null,
        step            text        not null,
        version         integer     not null default 1,
        action_mark     text        not null check (action_mark in {MARKS}),
        action_attempt  integer     not null,
        action_result   json,
        undo_mark       text        not null check (undo_mark in {MARKS}),
        undo_attempt    integer     not null,
        undo_result     json,
        closed_until_ms bigint      not null,
        created_at      timestamptz not null default now(),
        primary key (saga_id, step)
    ) with (fillfactor = 70)
    """,
    # A row is written again with its result: nothing indexed changes by that, so it stays on its page.
    "create index if not exists inbox_created_at on saga_worker.inbox (created_at)",
    "comment on table saga_worker.inbox is"
    " 'What handlers of saga_service have begun and done, one row for each step of a saga'",
    "comment on column saga_worker.inbox.version is 'Rises whenever a command looks at the row'",
    "comment on column saga_worker.inbox.action_result is 'What the action returned, or its error if it was rejected'",
    "comment on column saga_worker.inbox.closed_until_ms is"
    " 'A probe was told that the action did not happen: none begins whose deadline is not after this'",
)

EXISTS = "select to_regclass('saga_worker.inbox') is not null"

_COLUMNS = "version, action_mark, action_attempt, action_result, undo_mark, undo_attempt, undo_result, closed_until_ms"

# Also where the row is there it is written, for that locks it, waits for whoever holds it, and returns what that one
# has left. A version of 1 says that there was none.
TAKE = f"""
    insert into saga_worker.inbox as inbox
        (saga_id, step, action_mark, action_attempt, action_result, undo_mark, undo_attempt, undo_result,
         closed_until_ms)
    values ($1::text::uuid, $2, $3, $4, $5::text::json, $6, $7, $8::text::json, $9)
    on conflict (saga_id, step) do update set version = inbox.version + 1
    returning {_COLUMNS}
"""

# In a transaction that a worker has forgotten the row would stay locked: one that is paused, or whose link is gone.
TAKE_IN_TRANSACTION = f"{TAKE}, set_config('idle_in_transaction_session_timeout', $10, true)"

WRITE = """
    update saga_worker.inbox set version = version + 1,
        action_mark = $4, action_attempt = $5, action_result = $6::text::json,
        undo_mark = $7, undo_attempt = $8, undo_result = $9::text::json, closed_until_ms = $10
    where saga_id = $1::text::uuid and step = $2 and version = $3
    returning version
"""

REMOVE = """
    with old as (
        select saga_id, step from saga_worker.inbox
        where created_at < now() - make_interval(days => $1)
        order by created_at limit $2
        for update skip locked
    ), removed as (
        delete from saga_worker.inbox using old
        where inbox.saga_id = old.saga_id and inbox.step = old.step
        returning 1
    )
    select count(*) from removed
"""
