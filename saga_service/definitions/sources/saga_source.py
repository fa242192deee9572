"""A saga as it was written, before anything is known to be right with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from saga_service.definitions.problems import Path, Problem, path_text


@dataclass(frozen=True, slots=True)
class SagaSource:
    """`content` is what YAML would give, `place` is where it stands, and `lines` has the line of each path in it."""

    content: object
    place: str
    lines: Mapping[Path, int] = field(default_factory=dict)

    def problem(self, path: Path, text: str) -> Problem:
        return Problem(self.place_of(path), path_text(path), text)

    def place_of(self, path: Path) -> str:
        """Where a value stands. Something that is missing is reported where it ought to be: at what would hold it."""
        line = self.line_of(path)
        return f"{self.place}:{line}" if line else self.place

    def line_of(self, path: Path) -> int:
        """0 where there are no lines."""
        known = path
        while known and known not in self.lines:
            known = known[:-1]
        return self.lines.get(known, 0)


def mappings(entries: object) -> list[dict[str, Any]]:
    """Each entry of a list in its place; what is no mapping, or no list, counts as empty: the model tells of it."""
    if not isinstance(entries, list):
        return []
    return [entry if isinstance(entry, dict) else {} for entry in entries]
