"""The definitions that a command works with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from saga_service.cli.access.servers import open_postgres
from saga_service.cli.access.views import SagaRow, definition_document, newest_document
from saga_service.cli.console.exits import CommandFailed, ExitCode
from saga_service.core.definition import TOMBSTONE, Definition, tombstone
from saga_service.definitions import definition_from_document

if TYPE_CHECKING:
    from saga_service.definitions import Catalog


def load_catalog(sources: Sequence[str], prefix: str, code: ExitCode = ExitCode.USAGE) -> Catalog:
    """`prefix` begins the names of the service's own streams, which no saga may take for a trigger.

    Raises CommandFailed, with `code`, where there are no sources, or with all that is wrong in them.
    """
    from saga_service.definitions import DefinitionErrors, load_definitions
    from saga_service.wire.stream_names import StreamNames

    if not sources:
        raise CommandFailed(
            "no definitions are given; name YAML files or Python modules, or set SAGA_DEFINITIONS", ExitCode.USAGE
        )
    try:
        return load_definitions(sources, StreamNames(prefix))
    except DefinitionErrors as error:
        raise CommandFailed(str(error), code) from None


# MERGED from cli.definitions_on_record:
# The definition that a saga goes by, read from the contract's views.

if TYPE_CHECKING:
    from asyncpg import Connection


async def definition_of(connection: Connection, saga: SagaRow) -> Definition | None:
    """None where it is not on record. Raises UnreadableDocument."""
    if saga.version == TOMBSTONE:
        return tombstone(saga.saga)
    document = await definition_document(connection, saga.saga, saga.version)
    return None if document is None else definition_from_document(document)


# MERGED from cli.catalog_on_record:
# What starts a saga where no definitions are given: the newest one on record says how its input is read.

if TYPE_CHECKING:
    from saga_service.definitions import Catalog
    from saga_service.settings import Settings


async def catalog_on_record(settings: Settings, saga: str, stream: str | None) -> Catalog:
    """What triggers a saga is not on record: that `stream` triggers this one is taken on trust.

    Raises CommandFailed where it is not on record, or Postgres cannot be used.
    """
    from saga_service.definitions import Catalog, StreamTrigger, UnreadableDocument, saga_spec_from_document

    async with open_postgres(settings) as connection:
        document = await newest_document(connection, saga)
    if document is None:
        raise CommandFailed(
            f"no saga '{saga}' is on record in Postgres, so no service that defines it has run; "
            "set SAGA_DEFINITIONS, or look: saga-service list"
        )
    try:
        spec = saga_spec_from_document(document)
    except UnreadableDocument as error:
        raise CommandFailed(str(error)) from None
    streams = () if stream is None else (StreamTrigger(stream, None),)
    return Catalog([replace(spec, event_types=(saga,), streams=streams)])
