"""Errors of syntax in an expression, in an author's words and not in the parser's."""

from __future__ import annotations

import re
from collections.abc import Sequence

from saga_service.definitions.expressions.parser import Sort, Token, tokens_of

_PLACE = re.compile(r"ERROR: <input>:([0-9]+):([0-9]+): (.*)")
_LAST_SIGN = re.compile(r"(?:&&|\|\||[<>=!]=|\w+|.)\Z", re.DOTALL)
_CLOSING = {")": "(", "]": "[", "}": "{"}
_FOREIGN: Sequence[tuple[re.Pattern[str], str]] = tuple(
    (re.compile(pattern), text)
    for pattern, text in (
        (r"\{\{|\$\{|\{%", "an expression is written without braces or '$' around it, such as input.amount > 100.0"),
        (r"!==|<>", "write '!=' for unequal"),
        (r"===", "write '==' for equal"),
        (r"=>|->", "CEL has no functions of your own; lists have all, exists, filter and map"),
        (r"(?<![=!<>])=(?!=)", "write '==' to compare; nothing is set in an expression"),
        (r"\bis\s+not\b", "write '!=', as in input.note != null"),
        (r"\bis\b", "write '==', as in input.note == null"),
        (r"\band\b|\bAND\b", "write '&&' for and"),
        (r"\bor\b|\bOR\b", "write '||' for or"),
        (r"\bnot\s+in\b", "write '!(a in b)'"),
        (r"\bnot\b|\bNOT\b", "write '!' for not"),
        (r"\bif\b|\belse\b|\bthen\b", "write 'condition ? value : other value'"),
        (r"\?\.|\?\?", "ask has(...) first, as in has(input.note) ? input.note : ''"),
        (r"`|@|\#|;|\$", "leave it out, or put a text between quotes"),
    )
)
"""Words and signs of other languages, and what to write for them."""


def syntax_error(text: str, reported: str) -> str:
    """The fault of a text that is no expression. `reported` is the parser's own report, which has the place."""
    if not text:
        return "is empty; write an expression, such as input.amount > 100.0"
    tokens = tokens_of(text)
    for pattern, advice in _FOREIGN:
        found = pattern.search(_without_texts(text, tokens))
        if found:
            return f"{_at(text, found.start())}: '{found[0]}' is not CEL; {advice}"
    return _unbalanced(text, tokens) or _unexpected(text, tokens, reported)


def _without_texts(text: str, tokens: Sequence[Token]) -> str:
    """The text with spaces in the place of what is quoted."""
    for token in tokens:
        if token.sort is Sort.TEXT:
            text = text[: token.start] + " " * len(token.text) + text[token.end :]
    return text


def _unbalanced(text: str, tokens: Sequence[Token]) -> str | None:
    """The first quote or bracket that is not closed, or that closes nothing; None where all fit."""
    opened: list[Token] = []
    for token in tokens:
        if token.sort is not Sort.SIGN:
            continue
        if token.text in "\"'":
            return (
                f"{_at(text, token.start)}: the text that begins here is not closed; its last character is {token.text}"
            )
        if token.text in "([{":
            opened.append(token)
        elif token.text in _CLOSING and (not opened or opened.pop().text != _CLOSING[token.text]):
            return f"{_at(text, token.start)}: '{token.text}' closes nothing that is open"
    if opened:
        return f"{_at(text, opened[-1].start)}: '{opened[-1].text}' is not closed"
    questions = [token for token in tokens if token.sort is Sort.SIGN and token.text == "?"]
    if questions and not any(token.text == ":" for token in tokens):
        return f"{_at(text, questions[0].start)}: '?' has no ':'; write 'condition ? value : other value'"
    return None


def _unexpected(text: str, tokens: Sequence[Token], reported: str) -> str:
    place = _PLACE.search(reported)
    if place is None:
        first_line = reported.strip().partition("\n")[0]
        return f"cannot be read as CEL: {first_line}"
    line, column = int(place[1]), int(place[2])
    start = sum(len(each) + 1 for each in text.split("\n")[: line - 1]) + column - 1
    at = next((token for token in tokens if token.start >= start), None)
    before = next((token for token in reversed(tokens) if token.end <= start), None)
    last = _LAST_SIGN.search(text[: before.end]) if before else None
    after = f" after '{last[0]}'" if last else ""
    if at is None:
        return f"ends too early: something is missing{after}"
    if place[3].startswith("invalid "):
        what = "a number beyond 64 bits" if "int literal" in place[3] else place[3]
        return f"{_at(text, at.start)}: '{at.text}' is {what}"
    if before is not None and Sort.SIGN not in (at.sort, before.sort):
        return f"{_at(text, at.start)}: '{at.text}' follows '{before.text}' with no operator between them"
    return f"{_at(text, at.start)}: '{at.text}' cannot stand here{after}"


def _at(text: str, start: int) -> str:
    line = text.count("\n", 0, start) + 1
    column = start - text.rfind("\n", 0, start)
    return f"line {line}, column {column}" if "\n" in text else f"column {column}"
