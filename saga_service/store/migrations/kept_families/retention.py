"""A child stays as long as any saga above it does, and not its parent alone: the undo of the topmost goes all the way
down, and a parent that has ended may be asked for it by its own parent."""

from saga_service.store.migrations.full_semantics import retention as before
from saga_service.store.migrations.full_semantics.plans import FIXED_PLANS

IS_KEPT_FROM_ABOVE = f"""
create function saga_private.is_kept_from_above(above_id uuid, before_ms bigint)
returns boolean
language plpgsql stable
{FIXED_PLANS}
as $$
declare
    above record;
begin
    while above_id is not null loop
        select ended_at_ms, parent_id into above from saga_private.sagas where id = above_id;
        if not found then
            return false;
        end if;
        if above.ended_at_ms is null or above.ended_at_ms >= before_ms then
            return true;
        end if;
        above_id := above.parent_id;
    end loop;
    return false;
end
$$
"""

_KEPT_FROM_ABOVE = "saga_private.is_kept_from_above(saga.parent_id, before_ms)"


def _now(function: str) -> str:
    assert before.KEPT_BY_ITS_PARENT in function, "it asks about the parent"
    return function.replace(before.KEPT_BY_ITS_PARENT, _KEPT_FROM_ABOVE).replace(
        "create function", "create or replace function"
    )


RETENTION = (IS_KEPT_FROM_ABOVE, _now(before.REMOVE_ENDED), _now(before.REMOVE_WRITTEN))
