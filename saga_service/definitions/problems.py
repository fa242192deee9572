"""What is wrong with a definition, and where."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

Path = tuple[str | int, ...]
"""The way from a saga to one of its values: `("steps", 1, "retry", "attempts")`."""

SHOWN_CHARACTERS_MAX = 80


@dataclass(frozen=True, slots=True)
class Problem:
    """`place` is a file and line, or a module and a saga; `path` is the way to the value, empty for the whole saga."""

    place: str
    path: str
    text: str

    def __str__(self) -> str:
        return ": ".join(part for part in (self.place, self.path, self.text) if part)


class DefinitionErrors(Exception):
    """All that is wrong with the definitions, over every source."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__(self.problems)

    def __str__(self) -> str:
        count = len(self.problems)
        head = "1 problem" if count == 1 else f"{count} problems"
        return "\n".join([f"{head} in the saga definitions:", *(f"  {problem}" for problem in self.problems)])


def path_text(path: Path) -> str:
    """As an author reads it: `steps[1].retry.attempts`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.removeprefix(".")


def shown(value: object) -> str:
    """A value in an author's words, short enough for one line."""
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


def closest(written: str, known: Sequence[str]) -> str:
    """A question to end a text with; nothing where nothing that is known comes near."""
    close = get_close_matches(written, known, n=1)
    return f"; did you mean '{close[0]}'?" if close else ""


def unknown_word(word: str, known: Sequence[str]) -> str:
    """The text for a key that nobody knows."""
    close = get_close_matches(word, known, n=1)
    if close:
        return f"is not a known key; did you mean '{close[0]}'?"
    return f"is not a known key; known here: {', '.join(known)}"
