"""The function that writes one batch: all of it, or nothing.

It raises SG001 where a saga is not at the revision that it grew from.
"""

# The plans are fixed by hand: a plan made while the tables are still empty would otherwise be kept, and scan them when
# they are full, until the first autovacuum. With nested loops over the given arrays rows are also locked in the
# arrays' order, which is what keeps two replicas from a deadlock.
COMMIT_BATCH = """
create function saga_private.commit_batch(
    started_ids uuid[], started_created_at_ms bigint[], started_sagas text[], started_versions text[],
    started_keys text[], started_traceparents text[], started_inputs text[], started_statuses text[],
    started_revisions integer[], started_updated_at_ms bigint[], started_ended_at_ms bigint[],
    started_wake_at_ms bigint[], started_faults text[], started_steps text[],
    grown_ids uuid[], expected_revision integer[], grown_statuses text[], grown_revisions integer[],
    grown_updated_at_ms bigint[], grown_ended_at_ms bigint[], grown_wake_at_ms bigint[], grown_faults text[],
    grown_steps text[],
    history_saga_ids uuid[], history_revisions integer[], history_attempts integer[], history_at_ms bigint[],
    history_events text[], history_statuses text[], history_steps text[], history_directions text[],
    history_details text[],
    letter_at_ms bigint[], letter_streams text[], letter_entry_ids text[], letter_reasons text[],
    letter_previews text[], letter_raws text[],
    now_ms bigint, outgoing_messages text, published_ids bigint[]
) returns bigint
language plpgsql
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
declare
    written bigint;
    outbox_id bigint;
begin
    if cardinality(started_ids) > 0 then
        insert into saga_private.sagas (
            id, created_at_ms, saga, version, key, traceparent, input, status, revision, updated_at_ms, ended_at_ms,
            wake_at_ms, fault, steps
        )
        select
            id, created_at_ms, saga, version, key, traceparent, input::json, status, revision, updated_at_ms,
            ended_at_ms, wake_at_ms, fault::json, steps::json
        from unnest(
            started_ids, started_created_at_ms, started_sagas, started_versions, started_keys, started_traceparents,
            started_inputs, started_statuses, started_revisions, started_updated_at_ms, started_ended_at_ms,
            started_wake_at_ms, started_faults, started_steps
        ) as started (
            id, created_at_ms, saga, version, key, traceparent, input, status, revision, updated_at_ms, ended_at_ms,
            wake_at_ms, fault, steps
        )
        on conflict (id) do nothing;
        get diagnostics written = row_count;
        if written <> cardinality(started_ids) then
            raise exception '% of % sagas to start are there already', cardinality(started_ids) - written,
                cardinality(started_ids) using errcode = 'SG001';
        end if;
    end if;
    if cardinality(grown_ids) > 0 then
        update saga_private.sagas
        set status = grown.status, revision = grown.revision, updated_at_ms = grown.updated_at_ms,
            ended_at_ms = grown.ended_at_ms, wake_at_ms = grown.wake_at_ms, fault = grown.fault::json,
            steps = grown.steps::json
        from unnest(
            grown_ids, expected_revision, grown_statuses, grown_revisions, grown_updated_at_ms, grown_ended_at_ms,
            grown_wake_at_ms, grown_faults, grown_steps
        ) as grown (
            id, expected_revision, status, revision, updated_at_ms, ended_at_ms, wake_at_ms, fault, steps
        )
        where sagas.id = grown.id and sagas.revision = grown.expected_revision;
        get diagnostics written = row_count;
        if written <> cardinality(grown_ids) then
            raise exception '% of % sagas are not at the revision that they grew from',
                cardinality(grown_ids) - written, cardinality(grown_ids) using errcode = 'SG001';
        end if;
    end if;
    if cardinality(history_saga_ids) > 0 then
        insert into saga_private.history (
            saga_id, revision, attempt, at_ms, event, status, step, direction, detail
        )
        select saga_id, revision, attempt, at_ms, event, status, step, direction, detail::json
        from unnest(
            history_saga_ids, history_revisions, history_attempts, history_at_ms, history_events, history_statuses,
            history_steps, history_directions, history_details
        ) as entries (saga_id, revision, attempt, at_ms, event, status, step, direction, detail);
    end if;
    if cardinality(letter_streams) > 0 then
        insert into saga_private.dead_letters (at_ms, stream, entry_id, reason, preview, raw)
        select at_ms, stream, entry_id, reason, preview::jsonb, raw
        from unnest(letter_at_ms, letter_streams, letter_entry_ids, letter_reasons, letter_previews, letter_raws)
            as letters (at_ms, stream, entry_id, reason, preview, raw)
        on conflict (stream, entry_id) do nothing;
    end if;
    if cardinality(published_ids) > 0 then
        delete from saga_private.outbox where id = any(published_ids);
    end if;
    if outgoing_messages is not null then
        insert into saga_private.outbox (taken_at_ms, messages) values (now_ms, outgoing_messages)
        returning id into outbox_id;
    end if;
    return outbox_id;
end
$$
"""
