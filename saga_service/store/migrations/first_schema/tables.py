"""The tables and their indexes.

How the tables are laid out, and why:

- Moments are whole milliseconds since 1970 (`bigint`), as the core has them: no conversion on the hot path, exact both
  ways. The views show `timestamptz`.
- In `sagas`, columns that never change come first: Postgres leaves the common beginning of the old and the new row out
  of its log. Nothing that changes at each step is indexed, and pages are filled by half, so that an update stays on
  its page and touches no index (HOT): sagas that lie together began together and take their steps together. At 70
  percent, 4 of 10 updates were HOT; at 50 all but the last of each saga, and the table was hardly larger.
- What the service writes and reads back is `json`, not `jsonb`: it comes back as the text that it was, and a
  transition costs a fifth less time.
- The outbox's text is stored out of line and uncompressed: it lives for milliseconds. Compression would cost a tenth
  more time and save a third of the log.
- Sagas are started by INSERT and moved by UPDATE rather than both by one upsert: an upsert locks each row before it
  changes it.
"""

from saga_service.store.migrations.first_schema.moments import moment

TABLES = (
    """
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
        steps json not null
    ) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05)
    """,
    "create index sagas_waking on saga_private.sagas (wake_at_ms) where wake_at_ms is not null",
    "create index sagas_undoing on saga_private.sagas (id) where status in ('compensating', 'stuck')",
    "create index sagas_by_key on saga_private.sagas (key, saga) where key is not null",
    f"create index sagas_by_age on saga_private.sagas using brin (({moment('created_at_ms')}))",
    """
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
    )
    """,
    """
    create table saga_private.outbox (
        id bigint generated always as identity primary key,
        taken_at_ms bigint not null,
        messages text not null
    )
    """,
    "alter table saga_private.outbox alter column messages set storage external",
    "create index outbox_by_age on saga_private.outbox (taken_at_ms)",
    """
    create table saga_private.dead_letters (
        id bigint generated always as identity primary key,
        at_ms bigint not null,
        stream text not null,
        entry_id text not null,
        reason text not null,
        preview jsonb not null,
        raw text not null,
        replayed_at_ms bigint,
        unique (stream, entry_id)
    )
    """,
    """
    create table saga_private.definitions (
        saga text not null,
        version text not null,
        first_seen_at timestamptz not null default now(),
        compensations jsonb not null,
        document jsonb not null,
        primary key (saga, version)
    )
    """,
    """
    create table saga_private.migrations (
        revision text primary key,
        migrated_by text not null,
        at timestamptz not null default now()
    )
    """,
)
