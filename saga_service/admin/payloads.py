"""Payloads as a reader sees them: hidden as a whole from some, redacted field by field for others.

A column of a view that holds payloads is marked where its row is declared (`views`). `PayloadView.shown` finds the
marks in whatever is answered, however deep, so that no route and no stream of events has a list of its own.

What is hidden or redacted says so, and nobody takes it for the value. A field is redacted by its name or the end of its
path. A text for people has no fields: it is redacted as a whole where it mentions one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from datetime import datetime
from enum import Enum, auto
from functools import cache
from typing import Any, TypeVar, get_type_hints

import orjson
from pydantic import BaseModel

from saga_service.settings.roles import Role

Shown = TypeVar("Shown")
Json = Any  # whatever JSON can hold

REDACTED = "[redacted]"
NESTING_MAX = 100
"""Levels of a payload that are looked through. A deeper one is in no saga, and stands in a dead letter at most."""
_PLAIN = frozenset((str, int, float, bool, type(None), datetime))


class PayloadMark(Enum):
    """A mark in the type of a column, `Annotated[str, PayloadMark.TEXT]`: the column holds payloads of this form."""

    DATA = auto()
    """The author's data, as JSON."""
    ENTRY = auto()
    """The fields of a stream entry: texts by name, some of which are JSON."""
    TEXT = auto()
    """A text for people that may repeat the author's data."""


class RedactedFields:
    """The fields of payloads that are redacted: `card_number`, `customer.iban`, `*.token`.

    A pattern is the end of a field's path: a name counts wherever it stands. Case is ignored, and `*` is any one name.
    """

    def __init__(self, patterns: Iterable[str] = ()) -> None:
        self._patterns = [tuple(pattern.lower().split(".")) for pattern in patterns]
        self._names = frozenset(pattern[-1] for pattern in self._patterns)

    def __bool__(self) -> bool:
        return bool(self._patterns)

    def has(self, path: tuple[str, ...]) -> bool:
        """True for the path of a field that is redacted, in lower case."""
        if path[-1] not in self._names and "*" not in self._names:
            return False
        return any(
            len(path) >= len(pattern)
            and all(part in ("*", name) for part, name in zip(pattern, path[-len(pattern) :], strict=True))
            for pattern in self._patterns
        )

    def are_in(self, text: str) -> bool:
        """True where a text mentions such a field."""
        lower = text.lower()
        return any(all(part in lower for part in pattern if part != "*") for pattern in self._patterns)


@dataclasses.dataclass(frozen=True, slots=True)
class PayloadView:
    """What a reader sees of payloads: all of it, unless anything is said here."""

    needs: Role | None = None
    """The role that payloads are hidden from whoever has a lower one; None where this reader sees them."""
    redacted: RedactedFields = RedactedFields()  # noqa: RUF009  # it never changes

    def shown(self, value: Shown) -> Shown:
        """A row, or anything that holds rows, as this reader sees it. The value itself stays as it is."""
        if self.needs is None and not self.redacted:
            return value
        shown: Shown = self._shown(value)
        return shown

    def _shown(self, value: Any) -> Any:  # Any: whatever a route returns
        # Nearly every column is one of these, and a look at what a class inherits takes longer than all else.
        if type(value) in _PLAIN:
            return value
        if isinstance(value, BaseModel):
            return value.model_copy(update=self._columns(value))
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return dataclasses.replace(value, **self._columns(value))
        if isinstance(value, Mapping):
            return {name: self._shown(each) for name, each in value.items()}
        if isinstance(value, list | tuple) and not hasattr(value, "_fields"):
            return type(value)(self._shown(each) for each in value)
        return value

    def _columns(self, row: Any) -> dict[str, Any]:  # Any: of any type, and its columns too
        kind: Any = type(row)
        return {
            name: self._shown(getattr(row, name)) if mark is None else self.payload(getattr(row, name), mark)
            for name, mark in _marks(kind).items()
        }

    def payload(self, value: Json, mark: PayloadMark = PayloadMark.DATA) -> Json:
        """One payload as this reader sees it. Null stays null."""
        if value is None:
            return None
        if self.needs is not None:
            return f"[hidden: needs {self.needs}]"
        if mark is PayloadMark.TEXT:
            return self._text(value)
        if mark is PayloadMark.ENTRY:
            return {
                name: REDACTED if self.redacted.has((name.lower(),)) else self._field(str(each))
                for name, each in value.items()
            }
        return self._redacted(value, ())

    def _redacted(self, value: Json, path: tuple[str, ...], depth: int = 0) -> Json:
        if depth > NESTING_MAX:
            return REDACTED
        if isinstance(value, dict):
            paths = {name: (*path, name.lower()) for name in value}
            return {
                name: REDACTED if self.redacted.has(paths[name]) else self._redacted(each, paths[name], depth + 1)
                for name, each in value.items()
            }
        if isinstance(value, list):
            return [self._redacted(each, path, depth + 1) for each in value]
        if isinstance(value, str):
            within = self._redacted_json(value, path, depth + 1)
            return value if within is None else within
        return value

    def _field(self, text: str) -> str:
        """A field of an entry. One that is JSON stays JSON; a part of JSON, or none, is a text."""
        within = self._redacted_json(text, ())
        return self._text(text) if within is None else within

    def _redacted_json(self, text: str, path: tuple[str, ...], depth: int = 0) -> str | None:
        """A text that is an object or a list of JSON, as programs put one into another; None for any other text."""
        if text.lstrip()[:1] not in ("{", "["):
            return None
        try:
            value = orjson.loads(text)
        except orjson.JSONDecodeError:
            return None
        redacted = self._redacted(value, path, depth)
        return text if redacted == value else orjson.dumps(redacted).decode()

    def _text(self, text: str) -> str:
        return REDACTED if self.redacted.are_in(text) else text


EVERYTHING, NOTHING = PayloadView(), PayloadView(needs=Role.ADMIN)


@cache
def _marks(kind: Any) -> dict[str, PayloadMark | None]:  # Any: the type of a row, a dataclass or a model
    """The mark of each column of a row; None where it has none, and may hold other rows."""
    if issubclass(kind, BaseModel):
        return {name: _mark_in(field.metadata) for name, field in kind.model_fields.items()}
    hints = get_type_hints(kind, include_extras=True)
    return {
        field.name: _mark_in(getattr(hints[field.name], "__metadata__", ()))
        for field in dataclasses.fields(kind)
        if field.init
    }


def _mark_in(metadata: Iterable[object]) -> PayloadMark | None:
    return next((each for each in metadata if isinstance(each, PayloadMark)), None)
