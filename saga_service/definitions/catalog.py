"""All sagas that this process can start, and what starts each. Fulfils `wire.blueprint.Catalog`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from saga_service.core.definition import NEVER_STARTED, Definition, never_started
from saga_service.definitions.saga_spec import SagaBlueprint


class Catalog:
    """Blueprints by name, by event type and by stream. Two of them never claim the same: see `conflicts`."""

    def __init__(self, blueprints: Iterable[SagaBlueprint]) -> None:
        self._by_name = {blueprint.name: blueprint for blueprint in blueprints}
        self._by_event_type = {
            event_type: blueprint for blueprint in self._by_name.values() for event_type in blueprint.event_types
        }
        self._by_stream = {
            trigger.stream: blueprint for blueprint in self._by_name.values() for trigger in blueprint.streams
        }

        self._waiting_for: dict[str, list[str]] = {}
        for blueprint in self._by_name.values():
            for signal in blueprint.definition.signals:
                self._waiting_for.setdefault(signal, []).append(blueprint.name)

    def by_name(self, name: str) -> SagaBlueprint | None:
        return self._by_name.get(name)

    def by_event_type(self, event_type: str) -> SagaBlueprint | None:
        return self._by_event_type.get(event_type)

    def by_stream(self, stream: str) -> SagaBlueprint | None:
        return self._by_stream.get(stream)

    def waiting_for(self, signal: str) -> Sequence[str]:
        return self._waiting_for.get(signal, ())

    def signals(self) -> Mapping[str, list[str]]:
        """The names of the sagas that wait for each signal, by its name."""
        return self._waiting_for

    def event_types(self) -> list[str]:
        return list(self._by_event_type)

    def blueprints(self) -> list[SagaBlueprint]:
        return list(self._by_name.values())

    def definitions(self) -> list[Definition]:
        return [blueprint.definition for blueprint in self.blueprints()]

    def definition(self, saga: str, version: str) -> Definition | None:
        """The saga's definition, where this process has that version of it."""
        if version == NEVER_STARTED:
            return never_started(saga)
        blueprint = self._by_name.get(saga)
        return blueprint.definition if blueprint is not None and blueprint.version == version else None

    def trigger_streams(self) -> list[tuple[str, str | None]]:
        """Other people's streams to read, each with its group; None for the service's own."""
        return [(trigger.stream, trigger.group) for blueprint in self.blueprints() for trigger in blueprint.streams]

    def documents(self) -> list[Mapping[str, Any]]:
        """What is to be kept of each saga; the name and the version are in it."""
        return [blueprint.document for blueprint in self.blueprints()]

    def services(self) -> list[str]:
        """Every service that some command goes to, by name."""
        return sorted({service for blueprint in self.blueprints() for service in blueprint.services()})
