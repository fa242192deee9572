"""The tokens of an expression. The library has compiled the text before, so each stands where it may."""

from __future__ import annotations

import re
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
