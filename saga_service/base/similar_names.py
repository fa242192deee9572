"""Names that somebody has written otherwise than they are, and what may be meant."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches


def closest(written: str, known: Sequence[str]) -> str:
    """A question with the known name nearest to what was written, to end a text with; empty where none is near."""
    close = get_close_matches(written, known, n=1)
    return f"; did you mean '{close[0]}'?" if close else ""


def closest_or_all(written: str, known: Sequence[str], are: str = "known") -> str:
    """A question with the nearest known name, or all of them where none is near: `; known: order, trip`.

    Empty where nothing is known. `are` says what the names are.
    """
    if not known:
        return ""
    return closest(written, known) or f"; {are}: {', '.join(known)}"
