"""The one saga that a person names, by its id or by its business key."""

from __future__ import annotations

from asyncpg import Connection

from saga_service.cli.access.views import SagaRow, saga_with_id, sagas_with_key
from saga_service.cli.exits import CommandFailed, ExitCode
from saga_service.core.ids import parse_saga_id


async def find_saga(
    connection: Connection,
    given: str,
    definition: str | None = None,
    *,
    by_definition: str = ", or its definition by --saga",
) -> SagaRow:
    """The saga that has this id or business key. Raises CommandFailed where there is none, or more than one.

    `definition` is the name of the saga's definition, for a key that several definitions know. `by_definition` is
    printed to say how it can be given.
    """
    saga_id = parse_saga_id(given)
    by_id = await saga_with_id(connection, saga_id) if saga_id else None
    if by_id is not None:
        return by_id
    # A business key may well look like a UUID.
    with_key = [row for row in await sagas_with_key(connection, given) if definition in (None, row.saga)]
    if len(with_key) > 1:
        ids = ", ".join(f"{row.saga} {row.id}" for row in with_key)
        raise CommandFailed(
            f"several sagas have the key '{given}': {ids}", f"name one by its id{by_definition}", code=ExitCode.USAGE
        )
    if not with_key:
        raise CommandFailed(f"no saga has the id or the key '{given}'", "see: saga-service list")
    return with_key[0]
