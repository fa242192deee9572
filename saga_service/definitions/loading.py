"""Loading: from the names of files, directories and modules to the catalog of all their sagas."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from saga_service.definitions.catalog import Catalog
from saga_service.definitions.checks.conflicts import conflicts
from saga_service.definitions.outline import outlines_of
from saga_service.definitions.problems import DefinitionErrors, Problem, shown
from saga_service.definitions.saga_spec import DefinedSaga
from saga_service.definitions.sources.python import read_python
from saga_service.definitions.sources.saga_source import SagaSource
from saga_service.definitions.sources.yaml import read_yaml_file
from saga_service.definitions.validation import check
from saga_service.wire.stream_names import StreamNames

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
        return "is a Python file; write the name of its module instead, such as 'shop.sagas'"
    if path.is_dir():
        return "is a directory without a .yaml or .yml file"
    return f"{shown(source)} is no YAML file, directory or module; write 'sagas/order.yaml', 'sagas/' or 'shop.sagas'"
