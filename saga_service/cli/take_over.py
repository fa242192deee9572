"""Steps that nobody can take over in time from a worker that was killed: they count as not answered before."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from saga_service.cli.reading import newest_documents

if TYPE_CHECKING:
    from asyncpg import Connection

    from saga_service.core.definition import Definition


async def steps_not_taken_over(connection: Connection, taken_over_after_ms: int) -> list[str]:
    """`saga.step` of each, in the newest version on record of every saga."""
    from saga_service.definitions import UnreadableDocument, definition_from_document

    found: list[str] = []
    for document in await newest_documents(connection):
        try:
            found += _given_up_before(definition_from_document(document), taken_over_after_ms)
        except UnreadableDocument:
            # Of a later release, whose own doctor knows.
            continue
    return found


def _given_up_before(definition: Definition, taken_over_after_ms: int) -> Iterator[str]:
    from saga_service.core.definition import Task

    for step in definition.steps:
        if step.task is Task.COMMAND and step.timeout_ms <= taken_over_after_ms:
            yield f"{definition.name}.{step.name}"
