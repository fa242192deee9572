"""The sagas that this process can start, and what starts each. Fulfils `wire.saga_spec.Catalog`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from saga_service.core.definition import TOMBSTONE, Definition, tombstone
from saga_service.definitions.saga_spec import DefinedSaga


class Catalog:
    """Sagas by name, by event type and by stream. No two of them claim the same one: see `checks.conflicts`."""

    def __init__(self, specs: Iterable[DefinedSaga]) -> None:
        self._by_name = {spec.name: spec for spec in specs}
        self._by_event_type = {event_type: spec for spec in self._by_name.values() for event_type in spec.event_types}
        self._by_stream = {trigger.stream: spec for spec in self._by_name.values() for trigger in spec.streams}

        self._waiting_for: dict[str, list[str]] = {}
        for spec in self._by_name.values():
            for signal in spec.definition.signals:
                self._waiting_for.setdefault(signal, []).append(spec.name)

    def by_name(self, name: str) -> DefinedSaga | None:
        return self._by_name.get(name)

    def by_event_type(self, event_type: str) -> DefinedSaga | None:
        return self._by_event_type.get(event_type)

    def by_stream(self, stream: str) -> DefinedSaga | None:
        return self._by_stream.get(stream)

    def waiting_for(self, signal: str) -> Sequence[str]:
        return self._waiting_for.get(signal, ())

    def signals(self) -> Mapping[str, list[str]]:
        """The names of the sagas that wait for each signal, by its name."""
        return self._waiting_for

    def event_types(self) -> list[str]:
        return list(self._by_event_type)

    def specs(self) -> list[DefinedSaga]:
        return list(self._by_name.values())

    def definitions(self) -> list[Definition]:
        return [spec.definition for spec in self.specs()]

    def definition(self, saga: str, version: str) -> Definition | None:
        """The saga's definition; None where this process does not have that version."""
        if version == TOMBSTONE:
            return tombstone(saga)
        spec = self._by_name.get(saga)
        return spec.definition if spec is not None and spec.version == version else None

    def trigger_streams(self) -> list[tuple[str, str | None]]:
        """The streams of others to read, each with its consumer group; None for the service's own group."""
        return [(trigger.stream, trigger.group) for spec in self.specs() for trigger in spec.streams]

    def documents(self) -> list[Mapping[str, Any]]:
        """The document to store of each saga, with its name and version."""
        return [spec.document for spec in self.specs()]

    def services(self) -> list[str]:
        """The names of all services that commands go to."""
        return sorted({service for spec in self.specs() for service in spec.services()})
