"""Workers described as data: the commands that each has a handler for, what these take, and what they return.

A description is what `check` compares with the definitions. It is plain JSON, so a running worker can tell others what
it has.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from saga_service.core.state import JsonObject


@dataclass(frozen=True, slots=True)
class HandlerDescription:
    """The handler of one command type. Of a handler that takes or returns a plain `dict` no schema is known."""

    type: str
    takes: JsonObject | None = None
    """The JSON Schema of the command's data; None where any object may come."""
    returns: JsonObject | None = None
    """The JSON Schema of the result as it is sent; None where nothing is known of it."""
    is_transactional: bool = False
    """True if the effect is written in the inbox's own transaction."""
    undoes: str | None = None
    """The action that the handler compensates, or of which the inbox answers probes; None where it was not named."""
    answers_probes: bool = False
    """True if the inbox answers this type, as the probe of `undoes`."""
    heartbeat_s: float | None = None
    """The seconds between two signs of life that the worker gives by itself; None where the handler gives its own."""


@dataclass(frozen=True, slots=True)
class WorkerDescription:
    """The handlers of one service."""

    service: str
    handlers: tuple[HandlerDescription, ...]

    def to_json(self) -> JsonObject:
        return {"service": self.service, "handlers": [asdict(handler) for handler in self.handlers]}


class UnreadableDescription(ValueError):
    """A description was not written by this release, or by nobody; the text says what is wrong with it."""


def worker_description_from_json(written: Mapping[str, Any]) -> WorkerDescription:
    """Read a description that `to_json` wrote. Fields of a later release are left out. Raises UnreadableDescription."""
    try:
        handlers = tuple(_handler(each) for each in written["handlers"])
        return WorkerDescription(_text(written["service"]), handlers)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise UnreadableDescription(f"the worker's description cannot be read: {error!r}") from None


def _handler(written: Mapping[str, Any]) -> HandlerDescription:
    undoes = written.get("undoes")
    return HandlerDescription(
        type=_text(written["type"]),
        takes=_schema(written.get("takes")),
        returns=_schema(written.get("returns")),
        is_transactional=written.get("is_transactional") is True,
        undoes=None if undoes is None else _text(undoes),
        answers_probes=written.get("answers_probes") is True,
        heartbeat_s=_seconds(written.get("heartbeat_s")),
    )


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is no text")
    return value


def _seconds(value: object) -> float | None:
    if value is not None and not isinstance(value, int | float):
        raise ValueError(f"{value!r} is no number of seconds")
    return value


def _schema(value: object) -> JsonObject | None:
    if value is not None and not isinstance(value, dict):
        raise ValueError(f"{value!r} is no schema")
    return value
