"""Sagas in Python: those of a module, or those at one name in it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import fields
from difflib import get_close_matches
from pathlib import Path as FilePath
from types import ModuleType

from saga_service.base.user_modules import NoSuchModule, import_user_module, place_of
from saga_service.definitions.authoring import Defaults, Retry, Saga, Step, Trigger, as_mapping, written_at
from saga_service.definitions.problems import Path, Problem, SagaSource, shown
from saga_service.definitions.synonyms import unknown_keyword

_CLASSES: dict[str, type[Saga | Step | Retry | Trigger | Defaults]] = {
    "Saga": Saga,
    "Step": Step,
    "Retry": Retry,
    "Trigger": Trigger,
    "Defaults": Defaults,
}
_UNKNOWN_ARGUMENT = re.compile(rf"({'|'.join(_CLASSES)})\.__init__\(\) got an unexpected keyword argument '(\w+)'")


def read_python(source: str) -> tuple[list[SagaSource], list[Problem]]:
    """Every saga of `module`, or those at `module:attribute`, and the problem where there is none.

    The working directory is searched for the module as well.
    """
    module_name, _, attribute = source.partition(":")
    try:
        module = import_user_module(module_name)
    except Exception as error:  # noqa: BLE001 - the module is the author's, and what it raises is reported with its place
        return [], [_not_importable(module_name, error)]
    sagas, problem = _at_attribute(module, attribute) if attribute else (_of_module(module), None)
    if problem is None and not sagas:
        problem = "holds no saga; write `order = Saga(...)` at the top level of the module"
    sources = [source_of(saga) for saga in sagas]
    return sources, [Problem(source, "", problem)] if problem else []


def source_of(saga: Saga) -> SagaSource:
    """The saga as plain values, each with the line of the Saga, Step, Retry or Trigger that it was given to."""
    at = written_at(saga)
    assert at is not None, "a Saga keeps its place"
    return SagaSource(as_mapping(saga), _shown_file(at.file), dict(_lines(saga, (), at.file)))


def _lines(value: object, path: Path, file: str) -> Iterator[tuple[Path, int]]:
    """The lines of an object and of its parts. A part in another file has that of what holds it."""
    at = written_at(value)
    if isinstance(value, Saga | Step | Retry | Trigger | Defaults):
        if at is not None and at.file == file:
            yield path, at.line
        for part in fields(value):
            yield from _lines(getattr(value, part.name), (*path, part.name), file)
    elif isinstance(value, list | tuple):
        for position, each in enumerate(value):
            yield from _lines(each, (*path, position), file)


def _shown_file(file: str) -> str:
    """The file's name from the working directory on, where it lies below it."""
    here = f"{FilePath.cwd()}{os.sep}"
    return file.removeprefix(here)


def _of_module(module: ModuleType) -> list[Saga]:
    """Each saga of the module once, whatever names it has there, alone or in a list."""
    found = [saga for value in vars(module).values() for saga in _sagas_in(value)]
    return list({id(saga): saga for saga in found}.values())


def _sagas_in(value: object) -> Iterator[Saga]:
    if isinstance(value, Saga):
        yield value
    elif isinstance(value, list | tuple):
        yield from (part for part in value if isinstance(part, Saga))


def _at_attribute(module: ModuleType, attribute: str) -> tuple[list[Saga], str | None]:
    value = getattr(module, attribute, None)
    if value is None:
        return [], f"module '{module.__name__}' has no '{attribute}'{_perhaps(attribute, module)}"
    parts = list(value) if isinstance(value, list | tuple) else [value]
    sagas = [part for part in parts if isinstance(part, Saga)]
    if len(sagas) < len(parts):
        return sagas, f"must be a Saga or a list of them, but is {shown(value)}"
    return sagas, None


def _perhaps(attribute: str, module: ModuleType) -> str:
    holding = [name for name, value in vars(module).items() if any(_sagas_in(value))]
    close = get_close_matches(attribute, holding, n=1)
    if close:
        return f"; did you mean '{close[0]}'?"
    return f"; its sagas: {', '.join(holding)}" if holding else "; it has no saga at its top level"


def _not_importable(module_name: str, error: Exception) -> Problem:
    if isinstance(error, NoSuchModule):
        return Problem(module_name, "", str(error))
    text = _unknown_argument(error) or f"cannot be imported: {type(error).__name__}: {error}"
    return Problem(place_of(error) or module_name, "", text)


def _unknown_argument(error: Exception) -> str | None:
    """The text about a keyword argument that does not exist; None for any other error."""
    matched = _UNKNOWN_ARGUMENT.match(str(error)) if isinstance(error, TypeError) else None
    if matched is None:
        return None
    argument, known = matched[2], [part.name for part in fields(_CLASSES[matched[1]])]
    return f"{matched[1]}(... {argument}=...): {unknown_keyword(argument, known, matched[1].lower())}"
