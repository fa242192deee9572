"""The role of those who only read: the contract's views and no table."""

READER_ROLE = "saga_reader"

_GRANTS = (
    f"grant usage on schema saga to {READER_ROLE}",
    f"grant select on all tables in schema saga to {READER_ROLE}",
)
_BY_HAND = "; ".join((f"create role {READER_ROLE} nologin", *_GRANTS))

# Roles belong to the whole server: another database's migration may make this one at the same moment. And a hosted
# Postgres may not let us make roles at all: reading is then granted by whoever may, and everything else works.
GRANT_TO_READERS = f"""
do $$
begin
    if not exists (select from pg_roles where rolname = '{READER_ROLE}') then
        begin
            create role {READER_ROLE} nologin;
        exception when duplicate_object or unique_violation then
            null;
        end;
    end if;
    {"; ".join(_GRANTS)};
exception when insufficient_privilege then
    raise notice 'role {READER_ROLE} was not set up: %. All else is in place. To have it, let an administrator run: %',
        sqlerrm, '{_BY_HAND}';
end
$$
"""
