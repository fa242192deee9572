"""What the wire must know of a saga to read the entry that starts one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from saga_service.core.definition import Definition
from saga_service.core.events import Replied
from saga_service.core.state import JsonObject
from saga_service.wire.entries import Malformed

KEY_CHARACTERS_MAX = 500
"""Of a business key, which Postgres has to index."""


class InvalidInput(Exception):
    """The input does not fit the saga's schema; the text names each field and what is wrong with it.

    That may hold what was given. `fields` are names alone: all that is told of data that came encrypted.
    """

    def __init__(self, text: str, fields: Sequence[str] = ()) -> None:
        super().__init__(text)
        self.fields = fields

    @property
    def without_values(self) -> str:
        at_fault = f"{', '.join(self.fields)}; " if self.fields else ""
        return f"{at_fault}more is not told, for the data is encrypted"


class NotDeployedHere(Malformed):
    """No definition that is deployed here has the name. One that other replicas have, or had, may: what is on record
    in Postgres tells. The text is the reason where that does not know it either."""

    def __init__(self, reason: str, *, child: str = "", event_type: str = "", otherwise: Replied | None = None) -> None:
        super().__init__(reason)
        self.child = child
        """The name of a child saga."""
        self.event_type = event_type
        """The type of an event: the name of a signal, or of a saga."""
        self.otherwise = otherwise
        """What the entry means where nobody knows the name; None for nothing."""


class SagaSpec(Protocol):
    """A definition with its input schema and business key."""

    @property
    def definition(self) -> Definition: ...

    def read_input(self, data: JsonObject) -> JsonObject:
        """The input as the schema has it (defaults filled in). Raises InvalidInput."""
        ...

    def read_fields(self, fields: Mapping[str, str]) -> JsonObject:
        """The input from a stream entry's flat text fields, coerced by the schema. Raises InvalidInput."""
        ...

    def business_key(self, saga_input: JsonObject) -> str | None:
        """The value by which the outside knows this saga, where the definition names one. Raises InvalidInput."""
        ...


class Catalog(Protocol):
    """Which sagas can be started, and by what."""

    def by_event_type(self, event_type: str) -> SagaSpec | None: ...

    def by_name(self, name: str) -> SagaSpec | None: ...

    def by_stream(self, stream: str) -> SagaSpec | None: ...

    def waiting_for(self, signal: str) -> Sequence[str]:
        """The names of the sagas that have a step which waits for such a signal."""
        ...

    def event_types(self) -> list[str]:
        """All that `by_event_type` knows, for an error that helps."""
        ...
