"""The definitions that a command works with: out of their sources, or as a service has registered them in Postgres."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from asyncpg import Connection

from saga_service.cli.access.postgres import open_postgres
from saga_service.cli.access.views import SagaRow, definition_document, deployed_document, registered_names
from saga_service.cli.exits import CommandFailed, ExitCode
from saga_service.cli.text import quoted
from saga_service.core.definition import TOMBSTONE, Definition, tombstone
from saga_service.definitions import (
    Catalog,
    DefinitionErrors,
    StreamTrigger,
    UnreadableDocument,
    definition_from_document,
    load_definitions,
    saga_spec_from_document,
)
from saga_service.definitions.problems import closest
from saga_service.settings import Settings
from saga_service.wire.transport import StreamNames


def given_sources(sources: Sequence[str] | None, settings: Settings) -> list[str]:
    """The sources that the command names, else those of SAGA_DEFINITIONS. Raises CommandFailed where both are empty."""
    given = list(sources or settings.definitions)
    if not given:
        raise CommandFailed(
            "no definitions are given",
            "name YAML files or Python modules, or set SAGA_DEFINITIONS",
            code=ExitCode.USAGE,
        )
    return given


def load_catalog(sources: Sequence[str], prefix: str, code: ExitCode = ExitCode.USAGE) -> Catalog:
    """Load the definitions of all sources. Raises CommandFailed, with `code`, with every error in them.

    `prefix` begins the names of the service's own streams, which no saga may have for a trigger.
    """
    try:
        return load_definitions(sources, StreamNames(prefix))
    except DefinitionErrors as error:
        raise CommandFailed(str(error), code=code) from None


async def definition_of(connection: Connection, saga: SagaRow) -> Definition | None:
    """The registered definition of a saga, None where its version is not registered. Raises UnreadableDocument."""
    if saga.version == TOMBSTONE:
        return tombstone(saga.saga)
    document = await definition_document(connection, saga.saga, saga.version)
    return None if document is None else definition_from_document(document)


class UnknownSaga(CommandFailed):
    """Definitions are known here, and none is for a saga of this name."""

    def __init__(self, name: str, where: str, known: Sequence[str]) -> None:
        near = closest(name, known) or f"; known: {', '.join(known)}"
        super().__init__(f"no saga {quoted(name)} is {where}{near}")


async def registered_catalog(settings: Settings, saga: str, stream: str | None) -> Catalog:
    """A catalog of one saga, read by its deployed version. `stream` is taken for one that triggers it.

    Raises UnknownSaga where others are registered, and CommandFailed where none is, or Postgres cannot be used.
    """
    async with open_postgres(settings) as connection:
        document = await deployed_document(connection, saga)
        known = await registered_names(connection) if document is None else []
    if known:
        raise UnknownSaga(saga, "registered in Postgres", known)
    if document is None:
        raise CommandFailed(
            f"no saga '{saga}' is registered in Postgres, so no service that defines it has run",
            "set SAGA_DEFINITIONS, or look: saga-service list",
        )
    try:
        spec = saga_spec_from_document(document)
    except UnreadableDocument as error:
        raise CommandFailed(str(error)) from None
    # Triggers are not part of what is registered.
    streams = () if stream is None else (StreamTrigger(stream, None),)
    return Catalog([replace(spec, event_types=(saga,), streams=streams)])
