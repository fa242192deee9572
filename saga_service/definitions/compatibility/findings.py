"""The form of what a comparison of definitions and workers finds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that does not fit, or may not."""

    is_problem: bool
    """True for what is certain to go wrong; False for a hint, at what may go wrong or may be meant so."""
    text: str
    """The fault, and what to do about it."""
    saga: str | None = None
    step: str | None = None
    command: str | None = None
    """The command type at fault."""
    place: str | None = None
    """The file or module of the definition."""

    def __str__(self) -> str:
        step = None if self.step is None else f"step '{self.step}'"
        return ": ".join(part for part in (self.place, self.saga, step, self.text) if part)
