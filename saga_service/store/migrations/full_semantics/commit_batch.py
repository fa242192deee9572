"""The function that writes one batch: all of it, or nothing.

It raises SG001 where a saga is not at the revision that it grew from, and SG002 where a request that it would answer is
not open any more: what was asked has been carried out. It has more parameters than that of the first schema, which
stays beside it: replicas of the version before go on while the new one is rolled out.
"""

from saga_service.store.migrations.full_semantics.plans import FIXED_PLANS

# With nested loops over the given arrays rows are also locked in the arrays' order, which is what keeps two replicas
# from a deadlock.
COMMIT_BATCH = f"""
create function saga_private.commit_batch(
    started_ids uuid[], started_created_at_ms bigint[], started_sagas text[], started_versions text[],
    started_keys text[], started_traceparents text[], started_inputs text[], started_statuses text[],
    started_revisions integer[], started_updated_at_ms bigint[], started_ended_at_ms bigint[],
    started_wake_at_ms bigint[], started_faults text[], started_steps text[], started_extras text[],
    started_parent_ids uuid[],
    grown_ids uuid[], expected_revision integer[], grown_statuses text[], grown_revisions integer[],
    grown_updated_at_ms bigint[], grown_ended_at_ms bigint[], grown_wake_at_ms bigint[], grown_faults text[],
    grown_steps text[], grown_extras text[],
    history_saga_ids uuid[], history_revisions integer[], history_attempts integer[], history_at_ms bigint[],
    history_events text[], history_statuses text[], history_steps text[], history_directions text[],
    history_details text[],
    letter_at_ms bigint[], letter_streams text[], letter_entry_ids text[], letter_reasons text[],
    letter_previews text[], letter_raws text[],
    answered_ids bigint[], answered_verdicts text[], answered_reasons text[], answered_saga_ids uuid[],
    now_ms bigint, outgoing_messages text, published_ids bigint[]
) returns bigint
language plpgsql
{FIXED_PLANS}
as $$
declare
    written bigint;
    deleted bigint;
    outbox_id bigint;
begin
    if cardinality(started_ids) > 0 then
        insert into saga_private.sagas (
            id, created_at_ms, saga, version, key, traceparent, input, status, revision, updated_at_ms, ended_at_ms,
            wake_at_ms, fault, steps, extra, parent_id
        )
        select
            id, created_at_ms, saga, version, key, traceparent, input::json, status, revision, updated_at_ms,
            ended_at_ms, wake_at_ms, fault::json, steps::json, extra::json, parent_id
        from unnest(
            started_ids, started_created_at_ms, started_sagas, started_versions, started_keys, started_traceparents,
            started_inputs, started_statuses, started_revisions, started_updated_at_ms, started_ended_at_ms,
            started_wake_at_ms, started_faults, started_steps, started_extras, started_parent_ids
        ) as started (
            id, created_at_ms, saga, version, key, traceparent, input, status, revision, updated_at_ms, ended_at_ms,
            wake_at_ms, fault, steps, extra, parent_id
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
            steps = grown.steps::json, extra = grown.extra::json
        from unnest(
            grown_ids, expected_revision, grown_statuses, grown_revisions, grown_updated_at_ms, grown_ended_at_ms,
            grown_wake_at_ms, grown_faults, grown_steps, grown_extras
        ) as grown (
            id, expected_revision, status, revision, updated_at_ms, ended_at_ms, wake_at_ms, fault, steps, extra
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
    if cardinality(answered_ids) > 0 then
        delete from saga_private.requests where id = any(answered_ids) and not wants_result;
        get diagnostics deleted = row_count;
        update saga_private.requests
        set verdict = answered.verdict, reason = answered.reason, saga_id = answered.saga_id,
            answered_at_ms = now_ms, fields = '{{}}'
        from unnest(answered_ids, answered_verdicts, answered_reasons, answered_saga_ids)
            as answered (id, verdict, reason, saga_id)
        where requests.id = answered.id and requests.answered_at_ms is null;
        get diagnostics written = row_count;
        if deleted + written <> cardinality(answered_ids) then
            raise exception '% of % requests are not open any more', cardinality(answered_ids) - deleted - written,
                cardinality(answered_ids) using errcode = 'SG002';
        end if;
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
