"""An expression's parts, as far as it matters which are looked at. The library that evaluates it does not tell.

`a && b` and `a || b` are settled by either side, `a ? b : c` looks at one branch, `has(a.b)` asks and takes nothing, a
macro looks at its body once an entry. In all else each part is looked at.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from saga_service.definitions.expressions.references import MACROS
from saga_service.definitions.expressions.tokens import Sort, Token, tokens_of

DEEPEST = 40
"""Brackets in one another. What is deeper is left whole: nobody writes it, and to go down costs stack."""


class Form(StrEnum):
    AND = "&&"
    OR = "||"
    CHOICE = "?:"
    HAS = "has"
    MACRO = "macro"
    """Its first part is what it goes through, the others are its body."""
    PLAIN = "plain"


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    text: str
    form: Form = Form.PLAIN
    parts: tuple[Node, ...] = ()

    @property
    def has_conditions(self) -> bool:
        """Whether it has parts that are not always looked at."""
        left = [self]
        while left:
            node = left.pop()
            if node.form in (Form.AND, Form.OR, Form.CHOICE, Form.MACRO):
                return True
            left += node.parts
        return False


def tree_of(text: str) -> Node:
    """The whole expression, with its parts below it; one part where the text is no expression."""
    try:
        return _Parser(text).whole()
    except (_TooDeep, IndexError, ValueError):
        return Node(text)


class _TooDeep(Exception):
    pass


_LEVELS: tuple[tuple[str, ...], ...] = (
    ("||",),
    ("&&",),
    ("==", "!=", "<=", ">=", "<", ">", "in"),
    ("+", "-"),
    ("*", "/", "%"),
)
"""The operators that stand between two parts, those that bind least first."""
_CHAINS = {0: Form.OR, 1: Form.AND}
_CLOSING = {"(": ")", "[": "]", "{": "}"}


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = tokens_of(text)
        self._place = 0
        self._depth = 0

    def whole(self) -> Node:
        """Raises ValueError where something is left over that this does not read."""
        found = self._choice()
        if self._place < len(self._tokens):
            raise ValueError(f"'{self._text}' goes on after what was read of it")
        return found

    def _choice(self) -> Node:
        start = self._place
        condition = self._between(0)
        if not self._takes("?"):
            return condition
        first = self._between(0)
        self._takes(":")
        return self._node(start, Form.CHOICE, condition, first, self._choice())

    def _between(self, level: int) -> Node:
        """Parts with operators of this level between them, or one part alone."""
        if level == len(_LEVELS):
            return self._signed()
        start = self._place
        found = [self._between(level + 1)]
        while self._takes(*_LEVELS[level]):
            found.append(self._between(level + 1))
            if level not in _CHAINS:
                found = [self._node(start, Form.PLAIN, *found)]
        return found[0] if len(found) == 1 else self._node(start, _CHAINS[level], *found)

    def _signed(self) -> Node:
        start = self._place
        while self._takes("!", "-"):
            pass
        signed = self._place > start
        inner = self._member()
        return self._node(start, Form.PLAIN, inner) if signed else inner

    def _member(self) -> Node:
        """Something with names, calls and indexes after it."""
        start = self._place
        found = self._primary()
        while True:
            if self._takes("."):
                name = self._next().text
                found = self._called(start, name, (found,)) if self._at("(") else self._node(start, Form.PLAIN, found)
            elif self._at("["):
                found = self._node(start, Form.PLAIN, found, *self._bracketed())
            else:
                return found

    def _primary(self) -> Node:
        start = self._place
        if self._at("("):
            [inner] = self._bracketed()
            return self._node(start, inner.form, *(inner.parts or (inner,)))
        if self._at("[") or self._at("{"):
            return self._node(start, Form.PLAIN, *self._bracketed())
        self._takes(".")
        name = self._next()
        return self._called(start, name.text, ()) if name.sort is Sort.NAME and self._at("(") else self._node(start)

    def _called(self, start: int, name: str, target: tuple[Node, ...]) -> Node:
        arguments = self._bracketed()
        if name == "has" and not target:
            return self._node(start, Form.HAS)
        if name in MACROS and target:
            return self._node(start, Form.MACRO, *target, *arguments[1:])
        return self._node(start, Form.PLAIN, *target, *arguments)

    def _bracketed(self) -> list[Node]:
        """What stands in these brackets, with `,` or `:` between."""
        self._depth += 1
        if self._depth > DEEPEST:
            raise _TooDeep
        closing, found = _CLOSING[self._next().text], []
        while not self._takes(closing):
            found.append(self._choice())
            self._takes(",", ":")
        self._depth -= 1
        return found

    # ------------------------------------------------------------------------------------------------- its words

    def _node(self, start: int, form: Form = Form.PLAIN, *parts: Node) -> Node:
        first, last = self._tokens[start], self._tokens[self._place - 1]
        return Node(self._text[first.start : last.end], form, parts)

    def _next(self) -> Token:
        self._place += 1
        return self._tokens[self._place - 1]

    def _at(self, sign: str) -> bool:
        """Whether this comes next. A sign of two characters is two tokens that stand together."""
        found = self._tokens[self._place : self._place + (len(sign) if not sign.isalpha() else 1)]
        return "".join(token.text for token in found if token.sort in (Sort.SIGN, Sort.NAME)) == sign

    def _takes(self, *signs: str) -> bool:
        for sign in signs:
            if self._at(sign):
                self._place += 1 if sign.isalpha() else len(sign)
                return True
        return False
