"""Check that every text of a definition can be stored: Postgres takes neither a NUL nor half of a surrogate pair."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from saga_service.definitions.problems import Path, Violation

NUL = "\x00"


def check_texts(value: object, path: Path = ()) -> Iterator[Violation]:
    """The violations of all texts in plain values, names of fields among them."""
    match value:
        case str():
            if fault := _fault(value):
                yield path, f"holds {fault}, which cannot be stored; leave it out"
        case Mapping():
            for name, inner in value.items():
                # A name with such a character has no place in a path that is printed.
                if isinstance(name, str) and (fault := _fault(name)):
                    yield path, f"has the name {name!a}, with {fault}, which cannot be stored; leave it out"
                else:
                    yield from check_texts(inner, (*path, name))
        case list() | tuple():
            for place, inner in enumerate(value):
                yield from check_texts(inner, (*path, place))
        case _:
            return


def _fault(text: str) -> str | None:
    """The character that makes the text impossible to store, in words; None for nearly every text."""
    if NUL in text:
        return "a NUL character (\\u0000)"
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return f"half of a surrogate pair ({ascii(text[error.start])[1:-1]})"
    return None
