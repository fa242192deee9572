"""Problems of definitions: what is wrong, where, and what to write instead.

`SagaSource` is a saga as its author wrote it, with the place of each value, before anything is known to be right
with it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

Path = tuple[str | int, ...]
"""The way from a saga to one of its values: `("steps", 1, "retry", "attempts")`."""

Violation = tuple[Path, str]
"""Where in the saga something is wrong, and what; a Problem once its file and line are known."""

SHOWN_CHARACTERS_MAX = 80
_OF_STEP = re.compile(r"^steps\[[0-9]+\]\.?")


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a definition."""

    place: str
    """A file and line, or a module and a saga."""
    path: str
    """The way to the value; empty for the whole saga."""
    text: str
    """The fault of the value, and what to write instead."""
    step: str | None = None
    """The name of the step that has the value, where one step has that name."""

    def __str__(self) -> str:
        return ": ".join(part for part in (self.place, self._where(), self.text) if part)

    def _where(self) -> str:
        if self.step is None:
            return self.path
        # A place among twenty steps is not one that people count to.
        within = _OF_STEP.sub("", self.path, count=1)
        return f"step '{self.step}', {within}" if within else f"step '{self.step}'"


class DefinitionErrors(Exception):
    """Every problem of the definitions, over all sources."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__(self.problems)

    def __str__(self) -> str:
        count = len(self.problems)
        head = "1 problem" if count == 1 else f"{count} problems"
        return "\n".join([f"{head} in the saga definitions:", *(f"  {problem}" for problem in self.problems)])


def path_text(path: Path) -> str:
    """The path as an author reads it: `steps[1].retry.attempts`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.removeprefix(".")


def shown(value: object) -> str:
    """A value as an author would call it, short enough for one line."""
    match value:
        case None:
            return "empty"
        case bool():
            return str(value).lower()
        case str():
            return f"'{value}'" if len(value) <= SHOWN_CHARACTERS_MAX else f"'{value[:SHOWN_CHARACTERS_MAX]}…'"
        case dict():
            return "a mapping"
        case list() | tuple():
            return "a list"
        case _:
            return repr(value)[:SHOWN_CHARACTERS_MAX]


@dataclass(frozen=True, slots=True)
class SagaSource:
    """One saga in a file or a module."""

    content: object
    """The saga as plain values, as YAML gives them."""
    place: str
    """The file, or the module and the saga's name."""
    lines: Mapping[Path, int] = field(default_factory=dict)
    """The line of each path in the content; empty for a saga in Python."""

    def problem(self, path: Path, text: str) -> Problem:
        return Problem(self.place_of(path), path_text(path), text, self._step_at(path))

    def _step_at(self, path: Path) -> str | None:
        """The name of the step that the path leads through; None where it is no name, or that of two steps."""
        if path[:1] != ("steps",) or len(path) < 2 or not isinstance(self.content, dict):
            return None
        steps = mappings(self.content.get("steps"))
        names = [step.get("name") for step in steps]
        name = names[path[1]] if isinstance(path[1], int) and path[1] < len(names) else None
        is_name = isinstance(name, str) and name.isprintable() and len(name) <= SHOWN_CHARACTERS_MAX
        return name if is_name and names.count(name) == 1 else None

    def place_of(self, path: Path) -> str:
        """The place of the value at this path; of a value that is missing, the place of what would hold it."""
        line = self.line_of(path)
        return f"{self.place}:{line}" if line else self.place

    def line_of(self, path: Path) -> int:
        """The line of the value at this path; 0 where there are no lines."""
        known = path
        while known and known not in self.lines:
            known = known[:-1]
        return self.lines.get(known, 0)


def mappings(entries: object) -> list[dict[str, Any]]:
    """The entries of a list. An entry that is no mapping counts as an empty one, and the model reports it."""
    if not isinstance(entries, list):
        return []
    return [entry if isinstance(entry, dict) else {} for entry in entries]
