"""What starts a saga where no definitions are given: the newest one on record says how its input is read."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from saga_service.cli.exits import CommandFailed
from saga_service.cli.reading import newest_document
from saga_service.cli.servers import open_postgres

if TYPE_CHECKING:
    from saga_service.definitions import Catalog
    from saga_service.settings import Settings


async def catalog_on_record(settings: Settings, saga: str, stream: str | None) -> Catalog:
    """What triggers a saga is not on record: that `stream` triggers this one is taken on trust.

    Raises CommandFailed where it is not on record, or Postgres cannot be used.
    """
    from saga_service.definitions import Catalog, StreamTrigger, UnreadableDocument, blueprint_from_document

    async with open_postgres(settings) as connection:
        document = await newest_document(connection, saga)
    if document is None:
        raise CommandFailed(
            f"no saga '{saga}' is on record in Postgres, so no service that defines it has run; "
            "set SAGA_DEFINITIONS, or look: saga-service list"
        )
    try:
        blueprint = blueprint_from_document(document)
    except UnreadableDocument as error:
        raise CommandFailed(str(error)) from None
    streams = () if stream is None else (StreamTrigger(stream, None),)
    return Catalog([replace(blueprint, event_types=(saga,), streams=streams)])
