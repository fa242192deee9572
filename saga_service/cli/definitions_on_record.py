"""The definition that a saga goes by, read from the contract's views."""

from __future__ import annotations

from typing import TYPE_CHECKING

from saga_service.cli.reading import SagaRow, definition_document
from saga_service.core.definition import NEVER_STARTED, Definition, never_started
from saga_service.definitions import definition_from_document

if TYPE_CHECKING:
    from asyncpg import Connection


async def definition_of(connection: Connection, saga: SagaRow) -> Definition | None:
    """None where it is not on record. Raises UnreadableDocument."""
    if saga.version == NEVER_STARTED:
        return never_started(saga.saga)
    document = await definition_document(connection, saga.saga, saga.version)
    return None if document is None else definition_from_document(document)
