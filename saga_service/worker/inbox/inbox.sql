-- The inbox: what handlers have begun and done, one row for each step of a saga.
--
-- A row is written again with its result. Nothing indexed changes by that, and the fill factor leaves room, so the new
-- version of the row stays on its page.

-- Ten replicas may start at once, and IF NOT EXISTS alone does not bear that. The lock goes with the transaction, so it
-- works behind a pooling proxy too.
select pg_advisory_xact_lock(hashtextextended('saga_worker.inbox', 0));

create schema if not exists saga_worker;

create table if not exists saga_worker.inbox (
    saga_id         uuid        not null,
    step            text        not null,
    version         integer     not null default 1,
    action_mark     text        not null check (action_mark in ('never', 'begun', 'done', 'rejected')),
    action_attempt  integer     not null,
    action_result   json,
    undo_mark       text        not null check (undo_mark in ('never', 'begun', 'done', 'rejected')),
    undo_attempt    integer     not null,
    undo_result     json,
    fenced_until_ms bigint      not null,
    created_at      timestamptz not null default now(),
    primary key (saga_id, step)
) with (fillfactor = 70);

create index if not exists inbox_created_at on saga_worker.inbox (created_at);

comment on table saga_worker.inbox is
    'What handlers of saga_service have begun and done, one row for each step of a saga';
comment on column saga_worker.inbox.version is
    'Rises whenever a command takes the row';
comment on column saga_worker.inbox.action_result is
    'What the action returned, or its error if it was rejected';
comment on column saga_worker.inbox.fenced_until_ms is
    'A probe was told that the action did not happen: no attempt begins whose deadline is not after this';
