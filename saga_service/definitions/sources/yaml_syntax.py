"""Errors of YAML's syntax in an author's words: what is wrong in that line, and what to write."""

from __future__ import annotations

import re
from collections.abc import Sequence

import yaml

_QUOTE = "put the whole text between quotes"
_WORDS: Sequence[tuple[re.Pattern[str], str]] = tuple(
    (re.compile(pattern), text)
    for pattern, text in (
        (
            r"mapping values are not allowed here",
            "has a ':' where none may stand; see that it is indented as the keys above it, that the line above has its "
            "own ':', and that a text with ': ' in it has quotes",
        ),
        (
            r"expected <block end>, but found '(<scalar>|<anchor>|<alias>|<tag>)'",
            f"goes on after the value has ended; {_QUOTE}",
        ),
        (
            r"expected <block end>",
            "begins in a column that fits nothing above it: keys of one mapping, and the '-' of one list, each stand "
            "below one another",
        ),
        (r"character '\\t'", "has a tab; indent with spaces"),
        (r"unexpected end of stream", "has a quote above it that is never closed; look for the last \" or '"),
        (r"but got '<stream end>'", "ends while a '[' or '{' is open; close it"),
        (r"expected ',' or '([\]}])'", r"comes before the closing '\1' of a list or mapping in brackets; close it"),
        (
            r"undefined alias '(.+)'",
            r"has '*\1', and there is no '&\1' before it; a text that begins with * has quotes",
        ),
        (r"second occurrence", "has an anchor (&) that stands above already; give it another name"),
        (r"character '(.)' that cannot start", rf"has a value that begins with '\1', a sign of YAML's; {_QUOTE}"),
        (r"sequence entries are not allowed here", "has a '- ' behind a key; begin the list in the next line"),
        (r"chomping or indentation indicators", f"has a value that begins with '>' or '|', signs of YAML's; {_QUOTE}"),
        (r"unknown escape character '(.)'", r"has '\\\1' between double quotes; write '\\\\\1', or use single quotes"),
        (r"could not find expected ':'", "has no ':' after its key"),
        (r"expected '<document start>'", "goes on after the document has ended; begin another one with '---'"),
        (r"unacceptable character #x([0-9a-f]+)", r"has the character U+\1, which no text of YAML may have; remove it"),
    )
)


def yaml_problem(error: yaml.YAMLError) -> tuple[int | None, str]:
    """The line of the fault, from 1, where it is known; and what is wrong there."""
    match error:
        case yaml.MarkedYAMLError():
            mark = error.problem_mark or error.context_mark
            return None if mark is None else mark.line + 1, _in_words(error.problem or error.context or "")
        case yaml.reader.ReaderError():
            return None, _in_words(str(error))
        case _:
            return None, _in_words(" ".join(str(error).split()))


def _in_words(reported: str) -> str:
    for pattern, text in _WORDS:
        matched = pattern.search(reported)
        if matched:
            return f"is not valid YAML: the line {matched.expand(text)}"
    return f"is not valid YAML: {reported}"
