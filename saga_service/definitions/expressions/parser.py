"""The tokens and the parts of an expression: which parts are evaluated, and how often.

The library has compiled the text before, so each token stands where it may. `a && b` and `a || b` are settled by either
side, `a ? b : c` evaluates one branch, `has(a.b)` tests and takes nothing, a macro evaluates its body once for each
entry. Everything else evaluates each of its parts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import NamedTuple

MACROS = frozenset({"all", "exists", "exists_one", "filter", "map"})
"""They bind a name of the author's to each entry of a list, or to each key of a mapping."""

_PLAIN_TEXT = re.compile(r"""(["'])([^\\]*)\1""")
_TOKEN = re.compile(
    r"""
    (?P<space>\s+|//[^\n]*)
    |(?P<text>(?i:rb?|br)(?:\"\"\"[\s\S]*?\"\"\"|\'\'\'[\s\S]*?\'\'\'|"[^"]*"|\'[^\']*\')
        |[bB]?(?:\"\"\"(?:\\.|[^\\])*?\"\"\"|\'\'\'(?:\\.|[^\\])*?\'\'\'|"(?:\\.|[^"\\])*"|\'(?:\\.|[^\'\\])*\'))
    |(?P<number>0[xX][0-9a-fA-F]+[uU]?|(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?[uU]?)
    |(?P<name>[A-Za-z_][A-Za-z_0-9]*)
    |(?P<sign>.)
    """,
    re.VERBOSE | re.DOTALL,
)


class Sort(StrEnum):
    TEXT = "text"
    NUMBER = "number"
    NAME = "name"
    SIGN = "sign"


class Token(NamedTuple):
    sort: Sort
    text: str
    start: int
    """Its place in the text, in characters."""

    @property
    def end(self) -> int:
        return self.start + len(self.text)


def tokens_of(text: str) -> list[Token]:
    return [
        Token(Sort(matched.lastgroup), matched.group(), matched.start())
        for matched in _TOKEN.finditer(text)
        if matched.lastgroup not in (None, "space")
    ]


def plain_text(token: str) -> str | None:
    """The text that a constant stands for; None for any other token, and for one with escapes."""
    matched = _PLAIN_TEXT.fullmatch(token)
    return matched[2] if matched else None


BRACKETS_DEEP_MAX = 40
"""Brackets within one another. An expression that is deeper is left whole, for each level takes stack."""


class Form(StrEnum):
    """The form of an expression, or of a part of one."""

    AND = "&&"
    OR = "||"
    CHOICE = "?:"
    HAS = "has"
    """Its one part is the value that is tested for."""
    MACRO = "macro"
    """Its first part is what it goes through, the others are its body."""
    NAME = "name"
    """A variable, or a name that a macro binds."""
    SELECT = "select"
    """The property `name` of its one part."""
    SUM = "+"
    MAKE = "make"
    """A list or a mapping of its parts."""
    CALL = "call"
    CONSTANT = "constant"
    INDEX = "[]"
    """An entry of its first part."""
    PLAIN = "plain"
    """An operator with its operands."""
    UNREAD = "unread"
    """Something that this parser does not read."""


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """An expression, or a part of one."""

    text: str
    form: Form = Form.PLAIN
    parts: tuple[Node, ...] = ()
    name: str = ""
    """The variable, the property that is selected, or the function or macro that is called."""
    bound: str = ""
    """The name that a macro binds to each entry."""

    @property
    def has_conditions(self) -> bool:
        """True if it has parts that are not always evaluated."""
        left = [self]
        while left:
            node = left.pop()
            if node.form in (Form.AND, Form.OR, Form.CHOICE, Form.MACRO):
                return True
            if node.form is not Form.HAS:
                left += node.parts
        return False


def tree_of(text: str) -> Node:
    """The whole expression with its parts below it; one unread part where this parser does not read it."""
    try:
        return _Parser(text).whole()
    except (_TooDeep, IndexError, ValueError):
        return Node(text, Form.UNREAD)


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
    """A recursive descent over the tokens of one expression, by the precedence of CEL's operators."""

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
        while operator := self._takes(*_LEVELS[level]):
            found.append(self._between(level + 1))
            if level not in _CHAINS:
                found = [self._node(start, Form.SUM if operator == "+" else Form.PLAIN, *found)]
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
                if self._at("("):
                    found = self._called(start, name, (found,))
                else:
                    found = self._node(start, Form.SELECT, found, name=name)
            elif self._at("["):
                found = self._indexed(start, found, *self._bracketed())
            else:
                return found

    def _primary(self) -> Node:
        start = self._place
        if self._at("("):
            [inner] = self._bracketed()
            return replace(inner, text=self._node(start).text)
        if self._at("[") or self._at("{"):
            return self._node(start, Form.MAKE, *self._bracketed())
        self._takes(".")
        name = self._next()
        if name.sort is not Sort.NAME:
            return self._node(start, Form.CONSTANT)
        return self._called(start, name.text, ()) if self._at("(") else self._node(start, Form.NAME, name=name.text)

    def _called(self, start: int, name: str, target: tuple[Node, ...]) -> Node:
        arguments = self._bracketed()
        if name == "has" and not target:
            return self._node(start, Form.HAS, *arguments)
        if name in MACROS and target:
            return self._node(start, Form.MACRO, *target, *arguments[1:], name=name, bound=arguments[0].text)
        return self._node(start, Form.CALL, *target, *arguments, name=name)

    def _indexed(self, start: int, held: Node, *index: Node) -> Node:
        name = plain_text(index[0].text) if index else None
        if name is None:
            return self._node(start, Form.INDEX, held, *index)
        return self._node(start, Form.SELECT, held, name=name)

    def _bracketed(self) -> list[Node]:
        """The parts in these brackets, with `,` or `:` between them."""
        self._depth += 1
        if self._depth > BRACKETS_DEEP_MAX:
            raise _TooDeep
        closing, found = _CLOSING[self._next().text], []
        while not self._takes(closing):
            found.append(self._choice())
            self._takes(",", ":")
        self._depth -= 1
        return found

    def _node(self, start: int, form: Form = Form.PLAIN, *parts: Node, name: str = "", bound: str = "") -> Node:
        first, last = self._tokens[start], self._tokens[self._place - 1]
        return Node(self._text[first.start : last.end], form, parts, name, bound)

    def _next(self) -> Token:
        self._place += 1
        return self._tokens[self._place - 1]

    def _at(self, sign: str) -> bool:
        """True if this comes next. A sign of two characters is two tokens that stand together."""
        found = self._tokens[self._place : self._place + (len(sign) if not sign.isalpha() else 1)]
        return "".join(token.text for token in found if token.sort in (Sort.SIGN, Sort.NAME)) == sign

    def _takes(self, *signs: str) -> str:
        """The sign of these that comes next, which is passed over; empty where none of them does."""
        for sign in signs:
            if self._at(sign):
                self._place += 1 if sign.isalpha() else len(sign)
                return sign
        return ""
