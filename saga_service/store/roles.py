"""The roles for others to be granted: to read, to start and signal sagas by SQL, to operate them."""

READER_ROLE = "saga_reader"
CLIENT_ROLE = "saga_client"
OPERATOR_ROLE = "saga_operator"

_GRANTS = {
    READER_ROLE: ("grant usage on schema saga to {role}", "grant select on all tables in schema saga to {role}"),
    CLIENT_ROLE: (
        "grant usage on schema saga to {role}",
        "grant execute on function saga.start to {role}",
        "grant execute on function saga.signal to {role}",
        "grant execute on function saga.request_results to {role}",
    ),
    OPERATOR_ROLE: (
        "grant usage on schema saga to {role}",
        "grant execute on function saga.operate to {role}",
        "grant execute on function saga.signal to {role}",
        "grant execute on function saga.request_results to {role}",
    ),
}


def _granted(role: str) -> str:
    """Makes the role and grants it its part of the contract: views and functions, and no table.

    Roles belong to the whole server: another database's migration may make this one at the same moment. And a hosted
    Postgres may not let us make roles at all: its part is then granted by whoever may, and everything else works.
    """
    grants = tuple(grant.format(role=role) for grant in _GRANTS[role])
    by_hand = "; ".join((f"create role {role} nologin", *grants))
    return f"""
do $$
begin
    if not exists (select from pg_roles where rolname = '{role}') then
        begin
            create role {role} nologin;
        exception when duplicate_object or unique_violation then
            null;
        end;
    end if;
    {"; ".join(grants)};
exception when insufficient_privilege then
    raise notice 'role {role} was not set up: %. All else is in place. To have it, let an administrator run: %',
        sqlerrm, '{by_hand}';
end
$$
"""


GRANT_TO_ROLES = tuple(_granted(role) for role in _GRANTS)
