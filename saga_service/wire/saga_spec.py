"""The part of a definition that the wire needs to read the entry that starts a saga."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from saga_service.core.definition import Definition
from saga_service.core.events import Replied
from saga_service.core.state import JsonObject
from saga_service.wire.entries import Malformed

KEY_CHARACTERS_MAX = 500
"""The longest business key, which Postgres has to index."""


class InvalidInput(Exception):
    """The input does not fit the saga's schema. The text names each field and what is wrong with it.

    The text may repeat the values that were given. `fields` has names alone, for data that came encrypted.
    """

    def __init__(self, text: str, fields: Sequence[str] = ()) -> None:
        super().__init__(text)
        self.fields = fields

    @property
    def without_values(self) -> str:
        """The names of the fields at fault, without what is wrong with them."""
        at_fault = f"{', '.join(self.fields)}; " if self.fields else ""
        return f"{at_fault}the values are not shown, because the data is encrypted"


class UnreadableDocument(Exception):
    """This release cannot drive a saga by a stored document; the text says why, and what to do."""


class NotDeployedHere(Malformed):
    """No definition that is deployed here has the name.

    A definition of another replica may have it, and is found in the registry. The text is the reason that is given
    where the registry has none either.
    """

    def __init__(self, reason: str, *, child: str = "", event_type: str = "", fallback: Replied | None = None) -> None:
        super().__init__(reason)
        self.child = child
        """The name of a child saga; empty where the entry starts none."""
        self.event_type = event_type
        """The type of an event, which names a signal or a saga; empty where the entry has none."""
        self.fallback = fallback
        """The event that the entry means where no replica knows the name; None where it means nothing."""


class SagaSpec(Protocol):
    """A definition with its input schema and business key."""

    @property
    def definition(self) -> Definition: ...

    def read_input(self, data: JsonObject) -> JsonObject:
        """The input as the schema has it, with its defaults filled in. Raises InvalidInput."""
        ...

    def read_fields(self, fields: Mapping[str, str]) -> JsonObject:
        """The input from a stream entry's flat text fields, coerced by the schema. Raises InvalidInput."""
        ...

    def business_key(self, data: JsonObject, saga_input: JsonObject) -> str | None:
        """The business key in the data as it was sent, which was read as this input; None where there is none.

        Raises InvalidInput, also where the schema reads another key than was sent.
        """
        ...

    def sent_key(self, data: JsonObject) -> str | None:
        """The business key in data that may be unreadable otherwise; None where none can be told."""
        ...

    def written_key(self, key: str) -> str:
        """A key that was given beside the input, in the form in which the definition's keys are written."""
        ...


class Catalog(Protocol):
    """The sagas that can be started, and the events and streams that start them."""

    def by_event_type(self, event_type: str) -> SagaSpec | None: ...

    def by_name(self, name: str) -> SagaSpec | None: ...

    def by_stream(self, stream: str) -> SagaSpec | None: ...

    def waiting_for(self, signal: str) -> Sequence[str]:
        """The names of the sagas with a step that waits for a signal of this name."""
        ...

    def event_types(self) -> list[str]:
        """Every type that `by_event_type` knows, for an error message that lists them."""
        ...


def written_key(catalog: Catalog, saga: str, key: str) -> str:
    """A key of a saga as its definition writes it; the key as it was given where that definition is not known here."""
    spec = catalog.by_name(saga)
    return key if spec is None else spec.written_key(key)
