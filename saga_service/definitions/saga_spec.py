"""A saga that was read and checked: its definition, the reader of its input, and what starts it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from saga_service.core.definition import Definition
from saga_service.core.state import JsonObject
from saga_service.core.vocabulary import Task
from saga_service.definitions.document import definition_from_document
from saga_service.definitions.schema.inputs import Input, SchemaInput
from saga_service.wire.commands import service_of
from saga_service.wire.saga_spec import KEY_CHARACTERS_MAX, InvalidInput, UnreadableDocument

ON_RECORD = "on record"
"""The place of a saga that is stored, and not deployed here."""


@dataclass(frozen=True, slots=True)
class StreamTrigger:
    """A stream of others whose entries start the saga, and its consumer group; None for the service's own group."""

    stream: str
    group: str | None


def saga_spec_from_document(document: Mapping[str, Any]) -> DefinedSaga:
    """The stored saga as far as it can be started by its name alone, as a child. Raises UnreadableDocument."""
    definition = definition_from_document(document)
    return DefinedSaga(definition, SchemaInput(document["input"]), document["key"], (), (), document, ON_RECORD)


def readable_saga_spec(document: Mapping[str, Any]) -> DefinedSaga | None:
    """The stored saga, as `saga_spec_from_document` reads it; None where this release cannot read it."""
    try:
        return saga_spec_from_document(document)
    except UnreadableDocument:
        return None


@dataclass(frozen=True, slots=True)
class DefinedSaga:
    """A saga that can be started. Fulfils `wire.saga_spec.SagaSpec`."""

    definition: Definition
    input: Input
    key: str | None
    event_types: tuple[str, ...]
    streams: tuple[StreamTrigger, ...]
    document: Mapping[str, Any]
    """The form in which the definition is stored."""
    place: str
    """The file or module that the saga was read from."""

    @property
    def name(self) -> str:
        return self.definition.name

    @property
    def version(self) -> str:
        return self.definition.version

    def read_input(self, data: JsonObject) -> JsonObject:
        return self.input.read_input(data)

    def read_fields(self, fields: Mapping[str, str]) -> JsonObject:
        return self.input.read_fields(fields)

    def business_key(self, saga_input: JsonObject) -> str | None:
        """The key of a saga with this input; None where its definition names none. Raises InvalidInput."""
        if self.key is None:
            return None
        value = saga_input.get(self.key)
        if value is None or value == "":
            raise InvalidInput(f"{self.key}: is missing or empty, and it is the saga's key")
        if not isinstance(value, str | int) or isinstance(value, bool):
            raise InvalidInput(f"{self.key}: must be text or a whole number, since it is the saga's key")
        key = str(value)
        if len(key) > KEY_CHARACTERS_MAX:
            raise InvalidInput(f"{self.key}: has {len(key)} characters, and a key may have {KEY_CHARACTERS_MAX}")
        return key

    def services(self) -> Iterable[str]:
        return services_of(self.definition)


def services_of(definition: Definition) -> Iterable[str]:
    """The services whose workers carry out the saga's commands."""
    for step in definition.steps:
        if step.task is Task.COMMAND:
            commands = (step.action, step.compensation, step.probe)
            yield from (service_of(command) for command in commands if command is not None)
