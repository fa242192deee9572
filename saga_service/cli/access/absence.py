"""What became of a saga that is not there: its start waits for a replica, or is a dead letter."""

from __future__ import annotations

from asyncpg import Connection

from saga_service.cli.access.views import has_open_request, latest_dead_letter_of
from saga_service.cli.exits import CommandFailed
from saga_service.cli.text import quoted
from saga_service.core.ids import SagaId


async def no_such_saga(connection: Connection, given: str, saga_id: SagaId | None) -> CommandFailed:
    """The failure of a command that names a saga which is not there. `saga_id` is the id in it, where it is one."""
    not_there = f"no saga has the id or the key {quoted(given)}"
    if await has_open_request(connection, saga_id, given):
        return CommandFailed(
            f"{not_there} yet: a request for it waits for a replica of the service", "see: saga-service doctor"
        )
    letter = await latest_dead_letter_of(connection, saga_id, given)
    if letter is None:
        return CommandFailed(not_there, "see: saga-service list")
    return CommandFailed(
        f"{not_there}: dead letter {letter.id} names it, which was refused because {letter.reason}",
        f"see: saga-service dead-letters show {letter.id}",
    )
