r"""Texts of others as a terminal may show them: on one line, without control characters, and ready to be pasted.

A key is whatever its producer chose. Where a text cannot be shown as it is, it is written as `$'…'`, which bash, zsh
and ksh read back as the text itself. Its octets are `\xHH`, which those shells read in every locale.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime


def harmless(text: str) -> str:
    """The text on one line, with control characters escaped: any producer could otherwise steer the terminal."""
    # Nearly every text is printable as a whole, and asking that at once is quick.
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in text)


def harmless_lines(text: str) -> str:
    """The text with its line breaks, and with every other control character escaped."""
    return "\n".join(map(harmless, text.split("\n")))


def at_time(moment: datetime) -> str:
    """The time of day to the second, in UTC."""
    return f"{moment.astimezone(UTC):%H:%M:%S} UTC"


def shell_word(text: str) -> str:
    """The text as one word of a shell's command: as it is, or in quotes where a shell would read it otherwise.

    An empty text stays empty: it is the cell of a saga without a key.
    """
    return text if text.isprintable() and _NO_QUOTES_NEEDED.fullmatch(text) else quoted(text)


_NO_QUOTES_NEEDED = re.compile(r"[\w@%+=:,./-]*")


def quoted(text: str) -> str:
    """The text in quotes that a shell takes off again."""
    if text.isprintable() and "'" not in text:
        return f"'{text}'"
    return f"$'{''.join(map(_escaped, text))}'"


def _escaped(character: str) -> str:
    if character in _ESCAPES:
        return _ESCAPES[character]
    if character.isprintable():
        return character
    # An octet that is not UTF-8 comes from the system as a lone surrogate, and goes out as that octet.
    return "".join(f"\\x{octet:02x}" for octet in character.encode("utf-8", "surrogateescape"))


_ESCAPES = {"\\": "\\\\", "'": "\\'", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
