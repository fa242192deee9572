"""Two JSON Schemas compared: can a value that fits the one be read by a reader of the other?

A pydantic model converts by default: `1` is taken for a number, and "12" for an integer. A difference is
certain where no value of the sent schema can be read. A schema that says nothing differs from none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from enum import IntEnum
from typing import Any

from saga_service.base.similar_names import closest_or_all
from saga_service.definitions.problems import Path, path_text
from saga_service.definitions.schema.json_schema import (
    alternatives,
    always_needed,
    is_closed,
    is_open,
    item_schemas,
    may_lack,
    properties_of,
    types_of,
    values_of,
)

LEVELS_MAX = 6
MISSPELT_RATIO_MIN = 0.85
"""As difflib measures it: `amont` is `amount` misspelt, and `account` is another word."""


class Reads(IntEnum):
    """How many values of one type are read as another."""

    ALL = 0
    SOME = 1
    NONE = 2


@dataclass(frozen=True, slots=True)
class Part:
    """A schema, with the one in which its references are looked up."""

    schema: Any
    root: Mapping[str, Any]
    converts: bool = True
    """True for a pydantic model as a reader; False for one that knows no more than that numbers may be whole."""

    def inner(self, schema: Any) -> Part:
        return replace(self, schema=schema)

    @property
    def types(self) -> frozenset[str]:
        return types_of(self.schema, self.root)


@dataclass(frozen=True, slots=True)
class Difference:
    """A value that cannot be read, with the way to it from the whole."""

    path: Path
    text: str
    is_certain: bool
    """False where other values at this place can be read."""

    @property
    def where(self) -> str:
        return f"'{path_text(self.path)}'"

    def perhaps(self) -> Difference:
        return Difference(self.path, self.text, is_certain=False)


def differences(sent: Part, taken: Part, path: Path = ()) -> list[Difference]:
    """Find what a reader of `taken` cannot read of values that fit `sent`."""
    sent_options, taken_options = _options(sent), _options(taken)
    if not sent_options or not taken_options or len(path) > LEVELS_MAX:
        return []
    of_options = [
        min((list(_of_one(option, each, path)) for each in taken_options), key=_severity) for option in sent_options
    ]
    if all(_severity(each) == Reads.NONE for each in of_options):
        return of_options[0]
    return [each.perhaps() if len(of_options) > 1 else each for found in of_options for each in found]


def _options(part: Part) -> list[Part]:
    """The schemas of which a value fits one; none where that is not known."""
    return [part.inner(each) for each in alternatives(part.schema, part.root) or ()]


def _severity(found: Sequence[Difference]) -> Reads:
    if not found:
        return Reads.ALL
    return Reads.NONE if any(each.is_certain for each in found) else Reads.SOME


def _of_one(sent: Part, taken: Part, path: Path) -> Iterator[Difference]:
    unread = list(_of_types(sent, taken, path))
    yield from unread or _of_values(sent, taken, path)
    if "object" in sent.types & taken.types:
        yield from _of_properties(sent, taken, path)
    if "array" in sent.types & taken.types:
        yield from (each.perhaps() for each in _of_items(sent, taken, path))


def _of_types(sent: Part, taken: Part, path: Path) -> Iterator[Difference]:
    if not sent.types or not taken.types:
        return
    by_type = {kind: min(_reads(kind, wanted, taken) for wanted in taken.types) for kind in sorted(sent.types)}
    unread = [kind for kind, reads in by_type.items() if reads is not Reads.ALL]
    if unread:
        is_certain = all(reads is Reads.NONE for reads in by_type.values())
        given, wanted = " or ".join(unread), " or ".join(sorted(taken.types))
        if not is_certain and len(unread) == len(by_type):
            yield Difference(path, f"is {given}, of which not every value is read as {wanted}", is_certain)
        else:
            yield Difference(path, f"{'is' if is_certain else 'may be'} {given}, not {wanted}", is_certain)


def _reads(sent: str, wanted: str, taken: Part) -> Reads:
    if sent == wanted:
        return Reads.ALL
    if not taken.converts and {sent, wanted} != {"integer", "number"}:
        return Reads.NONE
    written_as = taken.schema.get("format") if wanted == "string" and isinstance(taken.schema, Mapping) else None
    return _AS_TEXT.get((sent, written_as)) or _CONVERTED.get((sent, wanted), Reads.NONE)


_MOMENTS = ("date-time", "date", "time", "duration")
_ADDRESSES = ("ipv4", "ipv6", "ipvanyaddress", "ipv4network", "ipv6network", "ipvanynetwork")
_AS_TEXT: Mapping[tuple[str, Any], Reads] = {  # Any: whatever stands at `format`
    **{(sent, moment): Reads.SOME for sent in ("integer", "number") for moment in _MOMENTS},
    **{(sent, address): Reads.SOME for sent in ("boolean", "integer") for address in _ADDRESSES},
}
"""Formats of text that are read from other types as well."""
_CONVERTED = {
    ("integer", "number"): Reads.ALL,
    ("boolean", "integer"): Reads.ALL,
    ("boolean", "number"): Reads.ALL,
    ("number", "integer"): Reads.SOME,
    ("string", "integer"): Reads.SOME,
    ("string", "number"): Reads.SOME,
    ("string", "boolean"): Reads.SOME,
    ("integer", "boolean"): Reads.SOME,
    ("number", "boolean"): Reads.SOME,
}


def _of_values(sent: Part, taken: Part, path: Path) -> Iterator[Difference]:
    """Texts of an enumeration that the other one has not."""
    given, known = _texts(sent), _texts(taken)
    unknown = [text for text in given if text not in known]
    if known and unknown:
        is_certain = len(unknown) == len(given) and sent.types == frozenset({"string"})
        text = f"{'is' if is_certain else 'may be'} '{unknown[0]}', which is none of: {', '.join(known)}"
        yield Difference(path, text, is_certain)


def _texts(part: Part) -> list[str]:
    values = values_of(part.schema, part.root)
    return [value for value in values if isinstance(value, str)] if all(isinstance(v, str) for v in values) else []


def _of_items(sent: Part, taken: Part, path: Path) -> Iterator[Difference]:
    given, wanted = item_schemas(sent.schema, sent.root), item_schemas(taken.schema, taken.root)
    if given and wanted and len(given) == len(wanted) == 1:
        yield from differences(sent.inner(given[0]), taken.inner(wanted[0]), (*path, 0))


def _of_properties(sent: Part, taken: Part, path: Path) -> Iterator[Difference]:
    given, wanted = properties_of(sent.schema, sent.root), properties_of(taken.schema, taken.root)
    for name in sorted(always_needed(taken.schema, taken.root)):
        if name not in given:
            yield from _missing(name, sent, list(given), [each for each in given if each not in wanted], path)
        elif may_lack(sent.schema, name, sent.root):
            yield Difference((*path, name), "may be missing", is_certain=False)
    for name in given:
        if name in wanted:
            found = differences(sent.inner(given[name]), taken.inner(wanted[name]), (*path, name))
            is_there = not may_lack(sent.schema, name, sent.root)
            yield from (each if is_there else each.perhaps() for each in found)
        elif is_closed(taken.schema, taken.root):
            is_certain = not may_lack(sent.schema, name, sent.root)
            yield Difference((*path, name), "is not among the fields that are allowed", is_certain)


def _missing(name: str, sent: Part, given: list[str], unread: list[str], path: Path) -> Iterator[Difference]:
    """The difference of a needed property that is not among the given ones. `unread` are those that nobody asks for."""
    if is_open(sent.schema, sent.root):
        return
    where, meant_or_there = (*path, name), closest_or_all(name, given, "there")
    if is_closed(sent.schema, sent.root):
        yield Difference(where, f"is missing{meant_or_there}", is_certain=True)
    elif meant := _misspelt(name, unread):
        # A producer might add the one beside the other. It is far likelier that one is the other's misspelling.
        yield Difference(where, f"is not among the named properties; did you mean '{meant}'?", is_certain=True)
    else:
        text = "is not among the named properties, and may be missing"
        yield Difference(where, f"{text}{meant_or_there}", is_certain=False)


def _misspelt(name: str, known: Sequence[str]) -> str | None:
    """The known name of which this one is a misspelling; None without one."""
    by_letters = {_letters(each): each for each in known}
    near = get_close_matches(_letters(name), by_letters, n=1, cutoff=MISSPELT_RATIO_MIN)
    return by_letters[near[0]] if near else None


def _letters(name: str) -> str:
    return name.casefold().replace("_", "").replace("-", "")
