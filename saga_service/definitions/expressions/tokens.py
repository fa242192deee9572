"""The words of an expression. The text has been found to be CEL before, so each stands where it may."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import NamedTuple

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
    """Where it stands in the text."""

    @property
    def end(self) -> int:
        return self.start + len(self.text)


def tokens_of(text: str) -> list[Token]:
    return [
        Token(Sort(matched.lastgroup), matched.group(), matched.start())
        for matched in _TOKEN.finditer(text)
        if matched.lastgroup not in (None, "space")
    ]
