"""What is asked by SQL, in the caller's own transaction: start a saga, signal one, ask something of one.

A request is a row, and nothing more happens in the caller's transaction: it commits or rolls back with all else that
the caller does. The service takes committed rows as entries of one more stream. Rows are claimed with SKIP LOCKED and
not by a cursor, for a lower number may be committed later.
"""

from saga_service.store.migrations.first_schema.moments import moment
from saga_service.store.migrations.full_semantics.plans import FIXED_PLANS

REQUESTS_TABLE = (
    """
    create table saga_private.requests (
        id bigint generated always as identity primary key,
        at_ms bigint not null,
        claimed_at_ms bigint not null default 0,
        fields json not null,
        wants_result boolean not null default false,
        verdict text,
        reason text,
        saga_id uuid,
        answered_at_ms bigint
    ) with (autovacuum_vacuum_scale_factor = 0.05)
    """,
    "create index requests_open on saga_private.requests (claimed_at_ms, id) where answered_at_ms is null",
    "create index requests_answered on saga_private.requests (answered_at_ms) where answered_at_ms is not null",
)

_NOW_MS = "(extract(epoch from clock_timestamp()) * 1000)::bigint"

# The same id as `core.ids` derives: SHA-256 over the parts, each after its length in characters, as a version 8 UUID.
SAGA_ID_FROM_KEY = """
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
$$
"""

CLAIM_REQUESTS = f"""
create function saga_private.claim_requests(now_ms bigint, requests_max integer, lease_ms bigint)
returns table (request_id bigint, request_fields text, is_awaited boolean)
language plpgsql
{FIXED_PLANS}
as $$
begin
    return query
    with waiting as materialized (
        select id from saga_private.requests
        where answered_at_ms is null and claimed_at_ms <= now_ms - lease_ms
        order by claimed_at_ms, id limit requests_max
        for update skip locked
    )
    update saga_private.requests set claimed_at_ms = now_ms
    from waiting where requests.id = waiting.id
    returning requests.id, requests.fields::text, requests.wants_result;
end
$$
"""

FORGET_ANSWERED = """
create function saga_private.forget_answered(before_ms bigint)
returns void
language sql
as $$
    delete from saga_private.requests where answered_at_ms < before_ms
$$
"""

# What `core` and `wire` say today. A migration stays what it was, so it does not import them; tests hold them together.
_KEY_CHARACTERS_MAX = 500
_OWN_TYPES = "saga."
_VERBS_OF_STEPS = ("retry", "skip", "resolve")
_VERBS = (*_VERBS_OF_STEPS, "cancel", "compensate", "pause", "resume")
_RESOLUTIONS = ("succeeded", "failed", "compensated")

# SECURITY DEFINER: who may call these needs no right to any table. Their search path leaves nothing to the caller.
_AS_OWNER = "security definer set search_path = pg_catalog, pg_temp"
_OF_CALLERS = f"language plpgsql {_AS_OWNER}"

# As the service would read it: what the newest version of the definition takes for the key, in the input as given.
KEY_OF_INPUT = """
create function saga_private.key_of_input(name text, input jsonb)
returns text
language plpgsql stable
as $$
declare
    field text;
    kind text;
begin
    select document ->> 'key' into field from saga_private.definitions
    where saga = name order by first_seen_at desc limit 1;
    kind := jsonb_typeof(input -> field);
    if field is null or kind = 'string' or kind = 'number' and input ->> field ~ '^-?[0-9]+$' then
        return input ->> field;
    end if;
    raise exception 'the key of saga ''%'' is the field ''%'' of its input, and that must be text or a whole number',
        name, field using errcode = 'invalid_parameter_value', hint = 'Or give the key beside the input.';
end
$$
"""

START = f"""
create function saga.start(name text, input jsonb default '{{}}', key text default null)
returns uuid
{_OF_CALLERS}
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
            hint = 'Sagas become known when a service that defines them starts.';
    end if;
    own_key := coalesce(key, saga_private.key_of_input(name, input));
    if length(own_key) not between 1 and {_KEY_CHARACTERS_MAX} then
        raise exception 'a key has from 1 to {_KEY_CHARACTERS_MAX} characters, but this one has %', length(own_key)
            using errcode = 'invalid_parameter_value';
    end if;
    started := coalesce(saga_private.saga_id_from_key(name, own_key), gen_random_uuid());
    insert into saga_private.requests (at_ms, fields)
    values (
        {_NOW_MS}, json_build_object('type', name, 'data', input::text, 'subject', own_key, 'saga_id', started)
    );
    return started;
end
$$
"""

SIGNAL = f"""
create function saga.signal(
    name text, saga_id uuid default null, data jsonb default '{{}}', saga text default null, key text default null,
    id text default null, wants_result boolean default false
)
returns bigint
{_OF_CALLERS}
as $$
declare
    request bigint;
begin
    -- Who may signal may not operate, and types of this beginning are an operator's.
    if coalesce(name, '') = '' or starts_with(name, '{_OWN_TYPES}') then
        raise exception 'a signal has a name that does not begin with ''{_OWN_TYPES}'', but this one is %',
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
    if length(key) > {_KEY_CHARACTERS_MAX} then
        raise exception 'a key has at most {_KEY_CHARACTERS_MAX} characters, but this one has %', length(key)
            using errcode = 'invalid_parameter_value';
    end if;
    if jsonb_typeof(data) is distinct from 'object' then
        raise exception 'the data of a signal is a JSON object, but is %', coalesce(jsonb_typeof(data), 'null')
            using errcode = 'invalid_parameter_value';
    end if;
    insert into saga_private.requests (at_ms, wants_result, fields)
    values ({_NOW_MS}, coalesce(signal.wants_result, false), json_build_object(
        'type', name, 'data', data::text, 'saga_id', signal.saga_id, 'saga', saga, 'subject', key,
        'id', coalesce(nullif(signal.id, ''), gen_random_uuid()::text)
    ))
    returning requests.id into request;
    return request;
end
$$
"""


def _listed(words: tuple[str, ...]) -> str:
    return ", ".join(f"'{word}'" for word in words)


ASK = f"""
create function saga.operate(
    operation text, saga_id uuid, actor text default null, reason text default null, step text default null,
    resolution text default null, output jsonb default null
)
returns bigint
{_OF_CALLERS}
as $$
declare
    request bigint;
begin
    if coalesce(operation, '') not in ({_listed(_VERBS)}) then
        raise exception 'a saga cannot be asked to %', quote_nullable(operation)
            using errcode = 'invalid_parameter_value',
            hint = $hint$It can be asked to {", ".join(_VERBS)}.$hint$;
    end if;
    if operate.saga_id is null then
        raise exception 'no saga is named: saga_id is null' using errcode = 'invalid_parameter_value';
    end if;
    if step is not null and operation not in ({_listed(_VERBS_OF_STEPS)}) then
        raise exception '''%'' is asked of a whole saga, and not of a step', operation
            using errcode = 'invalid_parameter_value';
    end if;
    if (operation = 'resolve') <> (coalesce(resolution, '') in ({_listed(_RESOLUTIONS)}))
        or operation <> 'resolve' and resolution is not null
    then
        raise exception '''resolve'' has a resolution, and nothing else has one; here % has %', operation,
            quote_nullable(resolution) using errcode = 'invalid_parameter_value',
            hint = $hint$The resolution is one of {", ".join(_RESOLUTIONS)}.$hint$;
    end if;
    if output is not null and (resolution is distinct from 'succeeded' or jsonb_typeof(output) <> 'object') then
        raise exception 'an output is a JSON object, and of a step that is resolved as succeeded'
            using errcode = 'invalid_parameter_value';
    end if;
    insert into saga_private.requests (at_ms, wants_result, fields)
    values ({_NOW_MS}, true, json_build_object(
        'type', '{_OWN_TYPES}' || operation, 'saga_id', operate.saga_id,
        'actor', coalesce(nullif(actor, ''), session_user), 'reason', reason, 'step', step,
        'resolution', resolution, 'data', output::text
    ))
    returning requests.id into request;
    return request;
end
$$
"""

ANSWERS = f"""
create function saga.request_results(numbers bigint[])
returns table (request bigint, verdict text, reason text, saga_id uuid, answered_at timestamptz)
language sql stable {_AS_OWNER}
as $$
    select asked.id, asked.verdict, coalesce(asked.reason, ''), asked.saga_id, {moment("asked.answered_at_ms")}
    from saga_private.requests as asked
    where asked.id = any(numbers) and asked.wants_result and asked.answered_at_ms is not null
    order by asked.id
$$
"""

COMMENTS = (
    "comment on function saga.start is 'Start a saga inside the caller''s own transaction: it begins once that is"
    " committed. Returns its id. The same key starts one saga, however often it is asked for. Without one the key is"
    " what the definition takes for it from the input, if it takes one.'",
    "comment on function saga.signal is 'Tell a saga something inside the caller''s own transaction: the saga by its"
    " id, or by its key (and its name, where several wait for such a signal). The same id twice is one signal. Returns"
    " the request''s number, for saga.request_results if wants_result is true.'",
    f"comment on function saga.operate is 'Ask a saga inside the caller''s own transaction to {', '.join(_VERBS)}."
    " Without a step every step is meant that waits for a person. The actor is the session''s user unless another is"
    " named. Returns the request''s number, for saga.request_results.'",
    "comment on function saga.request_results is 'What became of requests, from the moment they are answered and for an"
    " hour: applied, repeated (it was so already) or refused, and why.'",
    "comment on schema saga is 'The contract of saga_service: views to read and functions to call. Grant saga_reader to"
    " read, saga_client to start and to signal sagas, saga_operator to operate them.'",
    *(f"revoke all on function saga.{name} from public" for name in ("start", "signal", "operate", "request_results")),
)

REQUESTS = (
    *REQUESTS_TABLE,
    SAGA_ID_FROM_KEY,
    KEY_OF_INPUT,
    CLAIM_REQUESTS,
    FORGET_ANSWERED,
    START,
    SIGNAL,
    ASK,
    ANSWERS,
    *COMMENTS,
)
