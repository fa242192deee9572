"""The references of an expression: the variables, properties and functions that its text names.

They are read from the tokens of a text that the library has compiled before, so no grammar is needed for them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from saga_service.definitions.expressions.parser import MACROS, Sort, Token, plain_text, tokens_of

VARIABLES = ("input", "outputs")
ORDERED_MACROS = frozenset({"filter", "map"})
"""Macros that make a list, in the order in which they find the entries."""
TYPE_NAMES = frozenset({"bool", "bytes", "double", "int", "list", "map", "null_type", "string", "type", "uint"})
FUNCTIONS = frozenset(
    {"bytes", "contains", "double", "duration", "dyn", "endsWith", "has", "int", "matches", "size", "startsWith"}
    | {"string", "timestamp", "type", "uint"}
    | {"getDate", "getDayOfMonth", "getDayOfWeek", "getDayOfYear", "getFullYear", "getHours", "getMilliseconds"}
    | {"getMinutes", "getMonth", "getSeconds"}
)

_KEYWORDS = frozenset({"true", "false", "null", "in"})
_BEFORE_A_PART = frozenset("([{,&|?:")
"""Signs that bind less than `in`, so that the text after one of them is the whole left side of `in`."""


@dataclass(frozen=True, slots=True)
class Reference:
    """A variable, with the names that follow it: `input.customer.name`, or `outputs["plan-route"]`."""

    variable: str
    path: tuple[str, ...]
    subtracted: tuple[str, ...] = ()
    """The names that stand after it with `-` between: `route` in `outputs.plan-route`."""
    macro: str | None = None
    """The macro that goes through the entries."""
    is_presence_test: bool = False
    """True if this only tests that the value is there: by `has(...)`, or by `"name" in ...`."""

    def __str__(self) -> str:
        return self.variable + "".join(f".{name}" if name.isidentifier() else f'["{name}"]' for name in self.path)


@dataclass(frozen=True, slots=True)
class References:
    """Everything that one expression refers to."""

    variables: tuple[Reference, ...]
    """Each use of a variable that no macro binds, in the text's order."""
    functions: tuple[str, ...]
    bound: frozenset[str]
    """The names that macros bind."""

    def of(self, variable: str) -> Iterator[Reference]:
        return (reference for reference in self.variables if reference.variable == variable)


def references_of(text: str) -> References:
    """The references of an expression; of a text that is none, whatever looks like one."""
    return _Reading(tokens_of(text)).references()


class _Reading:
    """Reads the tokens of one expression, and knows the stretches in which a macro binds a name."""

    def __init__(self, tokens: list[Token]) -> None:
        self._tokens = tokens
        self._scopes = list(self._found_scopes())

    def references(self) -> References:
        names = [place for place, token in enumerate(self._tokens) if token.sort is Sort.NAME]
        called = [self._tokens[place].text for place in names if self._is(place + 1, "(")]
        return References(
            variables=tuple(self._references(names)),
            functions=tuple(name for name in called if name not in MACROS),
            bound=frozenset(name for name, _ in self._scopes),
        )

    def _references(self, names: list[int]) -> Iterator[Reference]:
        passed_over = 0
        for place in names:
            if place < passed_over or not self._is_variable(place):
                continue
            path, after = self._path(place + 1)
            tested = () if path else self._tested_for(place, after)
            more: tuple[str, ...] = ()
            if path and self._tokens[after - 1].sort is Sort.NAME:
                more, passed_over = self._subtracted(after)
            is_presence_test = bool(tested) or (self._is(place - 1, "(") and self._tokens[place - 2].text == "has")
            yield Reference(self._tokens[place].text, path or tested, more, self._macro(after), is_presence_test)

    def _is_variable(self, place: int) -> bool:
        name = self._tokens[place].text
        return not (
            name in _KEYWORDS
            or self._is(place - 1, ".")
            or self._is(place + 1, "(")
            or (name in TYPE_NAMES and not self._is(place + 1, "."))
            or self._is_bound(place)
        )

    def _path(self, place: int) -> tuple[tuple[str, ...], int]:
        """The names from this token on, and where they end. A name that is called is a function, and no part of it."""
        path: list[str] = []
        while True:
            if self._is(place, ".") and self._sort(place + 1) is Sort.NAME and not self._is(place + 2, "("):
                path.append(self._tokens[place + 1].text)
                place += 2
            elif self._is(place, "[") and self._sort(place + 1) is Sort.TEXT and self._is(place + 2, "]"):
                name = plain_text(self._tokens[place + 1].text)
                if name is None:
                    return tuple(path), place
                path.append(name)
                place += 3
            else:
                return tuple(path), place

    def _tested_for(self, place: int, after: int) -> tuple[str, ...]:
        """The name in `"plan-route" in outputs`: a presence test, as `has` is one for names that can follow a point."""
        if self._sort(place - 2) is not Sort.TEXT or self._sort(place - 1) is not Sort.NAME:
            return ()
        begins = place == 2 or (self._sort(place - 3) is Sort.SIGN and self._tokens[place - 3].text in _BEFORE_A_PART)
        name = plain_text(self._tokens[place - 2].text)
        goes_on = self._is(after, "[") or self._is(after, ".")
        is_presence_test = begins and self._tokens[place - 1].text == "in" and not goes_on
        return (name,) if name is not None and is_presence_test else ()

    def _subtracted(self, place: int) -> tuple[tuple[str, ...], int]:
        """The names of no variable that are subtracted here."""
        found: list[str] = []
        while self._is(place, "-") and self._sort(place + 1) is Sort.NAME and self._is_variable(place + 1):
            if self._tokens[place + 1].text in VARIABLES:
                break
            found.append(self._tokens[place + 1].text)
            place += 2
        return tuple(found), place

    def _macro(self, place: int) -> str | None:
        if self._is(place, ".") and self._is(place + 2, "(") and self._tokens[place + 1].text in MACROS:
            return self._tokens[place + 1].text
        return None

    def _found_scopes(self) -> Iterator[tuple[str, range]]:
        for place, token in enumerate(self._tokens):
            is_called = token.text in MACROS and self._is(place - 1, ".") and self._is(place + 1, "(")
            if is_called and self._sort(place + 2) is Sort.NAME and self._is(place + 3, ","):
                yield self._tokens[place + 2].text, range(place + 2, self._closing(place + 1))

    def _closing(self, opening: int) -> int:
        depth = 0
        for place in range(opening, len(self._tokens)):
            if self._tokens[place].sort is Sort.SIGN:
                depth += {"(": 1, ")": -1}.get(self._tokens[place].text, 0)
            if depth == 0:
                return place
        return len(self._tokens)

    def _is_bound(self, place: int) -> bool:
        return any(name == self._tokens[place].text and place in scope for name, scope in self._scopes)

    def _is(self, place: int, sign: str) -> bool:
        return self._sort(place) is Sort.SIGN and self._tokens[place].text == sign

    def _sort(self, place: int) -> Sort | None:
        return self._tokens[place].sort if 0 <= place < len(self._tokens) else None
