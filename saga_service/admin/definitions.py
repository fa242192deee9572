"""The definitions that a command works with: out of their sources, or as a service has registered them in Postgres."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from asyncpg import Connection

from saga_service.admin.failure_kinds import Failure, FailureKind
from saga_service.admin.lookup import removed_just_now, story_and_state
from saga_service.admin.server_access import Servers
from saga_service.admin.text import quoted
from saga_service.admin.views import SagaRow, definition_document, deployed_document, registered_names
from saga_service.base.similar_names import closest_or_all
from saga_service.core.definition import TOMBSTONE, Definition, tombstone
from saga_service.core.undo_plan import Plan, plan
from saga_service.definitions import (
    Catalog,
    DefinitionErrors,
    StreamTrigger,
    UnreadableDocument,
    definition_from_document,
    load_definitions,
    saga_spec_from_document,
)
from saga_service.settings import Settings
from saga_service.wire.encryption import Cipher
from saga_service.wire.transport import StreamNames


def given_sources(sources: Sequence[str] | None, settings: Settings) -> list[str]:
    """The sources that the command names, else those of SAGA_DEFINITIONS. Raises Failure where both are empty."""
    given = list(sources or settings.definitions)
    if not given:
        raise Failure(
            "no definitions are given",
            "name YAML files or Python modules, or set SAGA_DEFINITIONS",
            kind=FailureKind.INVALID,
        )
    return given


def load_catalog(sources: Sequence[str], prefix: str, kind: FailureKind = FailureKind.INVALID) -> Catalog:
    """Load the definitions of all sources. Raises Failure, of this kind, with every error in them.

    `prefix` begins the names of the service's own streams, which no saga may have for a trigger.
    """
    try:
        return load_definitions(sources, StreamNames(prefix))
    except DefinitionErrors as error:
        raise Failure(str(error), kind=kind) from None


async def definition_of(connection: Connection, saga: SagaRow) -> Definition | None:
    """The registered definition of a saga, None where its version is not registered. Raises UnreadableDocument."""
    if saga.version == TOMBSTONE:
        return tombstone(saga.saga)
    document = await definition_document(connection, saga.saga, saga.version)
    return None if document is None else definition_from_document(document)


async def plan_of(connection: Connection, saga: SagaRow, cipher: Cipher | None) -> tuple[SagaRow, Plan]:
    """The saga as it is now, and what would be undone. Raises Failure where that cannot be told here."""
    shown = await story_and_state(connection, saga.id, cipher)
    try:
        definition = await definition_of(connection, saga)
    except UnreadableDocument as error:
        raise Failure(str(error)) from None
    if definition is None:
        raise Failure(f"version {saga.version} of the definition of saga '{saga.saga}' is not registered")
    if shown is None:
        raise removed_just_now(saga.id)
    story, state = shown
    if state is None:
        raise Failure("a later version of the service has stored this saga", "use the command line of that version")
    return story.saga, plan(definition, state)


class UnknownSaga(Failure):
    """Definitions are known here, and none is for a saga of this name."""

    def __init__(self, name: str, where: str, known: Sequence[str]) -> None:
        near = closest_or_all(name, known)
        super().__init__(f"no saga {quoted(name)} is {where}{near}")


async def registered_catalog(servers: Servers, saga: str, stream: str | None) -> Catalog:
    """A catalog of one saga, read by its deployed version. `stream` is taken for one that triggers it.

    Raises UnknownSaga where others are registered, and Failure where none is, or Postgres cannot be used.
    """
    async with servers.postgres() as connection:
        document = await deployed_document(connection, saga)
        known = await registered_names(connection) if document is None else []
    if known:
        raise UnknownSaga(saga, "registered in Postgres", known)
    if document is None:
        raise Failure(
            f"no saga '{saga}' is registered in Postgres, so no service that defines it has run",
            "set SAGA_DEFINITIONS, or look: saga-service list",
        )
    try:
        spec = saga_spec_from_document(document)
    except UnreadableDocument as error:
        raise Failure(str(error)) from None
    # Triggers are not part of what is registered.
    streams = () if stream is None else (StreamTrigger(stream, None),)
    return Catalog([replace(spec, event_types=(saga,), streams=streams)])
