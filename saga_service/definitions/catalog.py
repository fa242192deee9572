"""The catalog: the sagas that this process can start, and what starts each. Fulfils `wire.saga_spec.Catalog`.

`load_definitions` makes it from the names of files, directories and modules.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from saga_service.core.definition import TOMBSTONE, Definition, tombstone
from saga_service.definitions.checks.conflicts import conflicts
from saga_service.definitions.document import DefinedSaga
from saga_service.definitions.outline import outlines_of
from saga_service.definitions.problems import DefinitionErrors, Problem, SagaSource, shown
from saga_service.definitions.sources.python import read_python
from saga_service.definitions.sources.yaml import read_yaml_file
from saga_service.definitions.validation import check
from saga_service.wire.transport import StreamNames


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


_YAML_SUFFIXES = (".yaml", ".yml")
_MODULE = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*(?::[A-Za-z_]\w*)?")
_NAMES_DEFAULT = StreamNames()


def load_definitions(sources: Sequence[str], names: StreamNames = _NAMES_DEFAULT) -> Catalog:
    """Every saga of every source: a YAML file, a directory of them, a Python `module`, or `module:attribute`.

    `names` are the service's own streams, which no saga may have as a trigger. Raises DefinitionErrors with every
    problem of every source.
    """
    readings = [_read(source) for source in dict.fromkeys(sources)]
    sagas = [saga for found, _ in readings for saga in found]
    outlines = outlines_of([saga.content for saga in sagas])
    checked = iter([check(saga, outline) for saga, outline in zip(sagas, outlines, strict=True)])
    specs: list[DefinedSaga] = []
    problems: list[Problem] = []
    for found, unreadable in readings:
        problems += unreadable
        for spec, of_saga in islice(checked, len(found)):
            problems += of_saga
            specs += [spec] if spec else []
    problems += conflicts(sagas, names)
    if problems:
        raise DefinitionErrors(problems)
    return Catalog(specs)


def _read(source: str) -> tuple[list[SagaSource], list[Problem]]:
    path = Path(source)
    if path.suffix in _YAML_SUFFIXES:
        return read_yaml_file(path)
    if path.is_dir() and _yaml_files(path):
        return _read_directory(path)
    if _MODULE.fullmatch(source) and path.suffix != ".py":
        return read_python(source)
    return [], [Problem(source, "", _not_a_source(source, path))]


def _read_directory(directory: Path) -> tuple[list[SagaSource], list[Problem]]:
    sagas: list[SagaSource] = []
    problems: list[Problem] = []
    for file in _yaml_files(directory):
        found, unreadable = read_yaml_file(file)
        sagas += found
        problems += unreadable
    return sagas, problems


def _yaml_files(directory: Path) -> list[Path]:
    # Deeper files are left out: a mounted ConfigMap holds every file a second time in a hidden directory.
    return sorted(file for file in directory.iterdir() if file.suffix in _YAML_SUFFIXES and file.is_file())


def _not_a_source(source: str, path: Path) -> str:
    if path.suffix == ".py":
        module = ".".join(path.with_suffix("").parts)
        name = f"'{module}'" if _MODULE.fullmatch(module) else "such as 'shop.sagas'"
        return f"is a Python file; write the name of its module instead, {name}"
    if path.is_dir():
        return "is a directory without a .yaml or .yml file"
    return f"{shown(source)} is no YAML file, directory or module; write 'sagas/order.yaml', 'sagas/' or 'shop.sagas'"
