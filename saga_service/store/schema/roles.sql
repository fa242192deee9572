-- The roles for others to be granted. Each gets its part of the contract, views and functions, and no table.
--
-- This runs after every migration, for a migration may bring new views. Roles belong to the whole server: another
-- database's migration may make one of them at the same moment. And a hosted Postgres may not let us make roles at all:
-- a role's part is then granted by whoever may, and everything else works.
do $$
declare
    role text;
    own_grants text[];
    own_grant text;
begin
    for role, own_grants in
        values
            ('saga_reader', array[
                'grant usage on schema saga to saga_reader',
                'grant select on all tables in schema saga to saga_reader',
                'grant execute on function saga.state to saga_reader',
                'grant execute on function saga.state_metrics to saga_reader'
            ]),
            ('saga_client', array[
                'grant usage on schema saga to saga_client',
                'grant execute on function saga.start to saga_client',
                'grant execute on function saga.signal to saga_client',
                'grant execute on function saga.request_results to saga_client'
            ]),
            ('saga_operator', array[
                'grant usage on schema saga to saga_operator',
                'grant execute on function saga.operate to saga_operator',
                'grant execute on function saga.signal to saga_operator',
                'grant execute on function saga.request_results to saga_operator',
                'grant execute on function saga.preview_job to saga_operator',
                'grant execute on function saga.confirm_job to saga_operator',
                'grant execute on function saga.stop_job to saga_operator'
            ])
    loop
        begin
            if not exists (select from pg_roles where rolname = role) then
                begin
                    execute format('create role %I nologin', role);
                exception when duplicate_object or unique_violation then
                    null;
                end;
            end if;
            foreach own_grant in array own_grants loop
                execute own_grant;
            end loop;
        exception when insufficient_privilege then
            raise notice 'role % was not set up: %. All else is in place. To have it, let an administrator run: %', role,
                sqlerrm, format('create role %I nologin; ', role) || array_to_string(own_grants, '; ');
        end;
    end loop;
end
$$;
