"""A saga as its author wrote it, with the place of each value, before anything is known to be right with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from saga_service.definitions.problems import Path, Problem, path_text


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
        return Problem(self.place_of(path), path_text(path), text)

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
