"""Business keys: the text of one field of a start's data, by a rule that Postgres follows as well.

`saga.start` returns the id of a saga whose input no replica has read yet, so the key is a text that both sides make of
the field as it was sent. `saga_private.key_text` in `schema.sql` is this rule in SQL; a test holds the two together.

- A text is itself, in the form of the key's type. A key that is a UUID is written in small letters with hyphens,
  whatever spelling it was sent in. A key that is a whole number has no leading zeros, no plus and no `.0`.
- A whole number is its shortest text: 5 and 5.0 are `5`.
- Anything else is no key.

A schema that reads another text in the field than was sent there would give one saga two keys. Such a start is refused
(`SagaSpec.business_key`).
"""

from __future__ import annotations

import re
from enum import StrEnum

_WHOLE_MIN, _WHOLE_MAX = -(2**63), 2**64 - 1
_EXACT_MAX = 2**53
"""Below it every whole number has a float of its own."""
_INTEGER = re.compile(r"([+-]?[0-9]{1,40})(?:\.0*)?")
_HEX = "[0-9a-fA-F]"
_UUID = re.compile(rf"(?:urn:uuid:)?\{{?({_HEX}{{8}})-?({_HEX}{{4}})-?({_HEX}{{4}})-?({_HEX}{{4}})-?({_HEX}{{12}})\}}?")


class KeyForm(StrEnum):
    """The type of a definition's key, which decides how its text is written."""

    TEXT = "text"
    INTEGER = "integer"
    UUID = "uuid"


def key_text(form: KeyForm, value: object) -> str | None:
    """The key that a field's value is; None for a value that can be none. An empty text stays empty."""
    match value:
        case str():
            return written_key(form, value)
        case bool():
            return None
        case int() if _WHOLE_MIN <= value <= _WHOLE_MAX:
            return str(value)
        case float() if value.is_integer() and abs(value) < _EXACT_MAX:
            return str(int(value))
        case _:
            return None


def written_key(form: KeyForm, text: str) -> str:
    """The text in the key's form. A text that is not of the key's type stays as it is."""
    match form:
        case KeyForm.INTEGER:
            whole = _INTEGER.fullmatch(text)
            return text if whole is None else str(int(whole[1]))
        case KeyForm.UUID:
            parts = _UUID.fullmatch(text)
            return text if parts is None else "-".join(parts.groups()).lower()
        case KeyForm.TEXT:
            return text
