"""The single values that an author writes: names, durations, texts, choices.

Each type says what is wrong with a value and what to write instead.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Annotated, Any

from pydantic import PlainValidator, ValidationInfo
from pydantic_core import PydanticCustomError

from saga_service.base.similar_names import closest
from saga_service.core.vocabulary import Kind, OnError, OnUnknown, UndoOrder
from saga_service.definitions.keywords import duration_ms
from saga_service.definitions.problems import shown
from saga_service.wire.entries import Malformed
from saga_service.wire.json import read_object, write_object

ATTEMPTS_MAX = 1_000
FACTOR_MAX = 100
NAME_CHARACTERS_MAX = 100
TEXT_CHARACTERS_MAX = 500
DESCRIPTION_CHARACTERS_MAX = 2_000

_NAME = re.compile(r"[a-z][a-z0-9_-]*")
_COMMAND_TYPE = re.compile(r"[a-z][a-z0-9_-]*\.[a-z][a-z0-9_-]*")


def invalid(text: str) -> PydanticCustomError:
    """The error about a value, in words that a reader of the definition may see as they are."""
    # The text goes in as a value: as a template its braces would be read.
    return PydanticCustomError("invalid", "{text}", {"text": text})


def _name(value: object) -> str:
    if isinstance(value, str) and _NAME.fullmatch(value):
        return _not_too_long(value, NAME_CHARACTERS_MAX)
    raise invalid(
        "must be a name of small letters, digits, '-' and '_' that begins with a letter, "
        f"but is {shown(value)}{_perhaps(value)}"
    )


def _perhaps(value: object) -> str:
    likely = likely_name(value)
    return f"; write '{likely}'" if likely else ""


def likely_name(value: object) -> str:
    """The name that could have been meant by what is none; empty where no such name is found."""
    if not isinstance(value, str):
        return ""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", value).lower()
    return re.sub(r"[^a-z0-9_]+", "-", spaced).lstrip("-_0123456789").rstrip("-_")


def _command_type(value: object) -> str:
    if isinstance(value, str) and _COMMAND_TYPE.fullmatch(value):
        return _not_too_long(value, NAME_CHARACTERS_MAX)
    raise invalid(
        f"must be 'service.verb' in small letters, such as 'payment.charge' ({_COMMAND_TYPE.pattern}), "
        f"but is {shown(value)}"
    )


def _compensation(value: object) -> str | None:
    if value is None:
        return None
    if value in ("", "none", "None", "null"):
        raise invalid(f"is {shown(value)}; leave the key out where there is nothing to undo")
    return _command_type(value)


def _text(value: object) -> str:
    if isinstance(value, str) and value.strip() and value.isprintable():
        return _not_too_long(value, TEXT_CHARACTERS_MAX)
    raise invalid(f"must be text, but is {shown(value)}")


def _description(value: object) -> str | None:
    if value is None or (isinstance(value, str) and "\0" not in value):
        return None if value is None else _not_too_long(value.strip(), DESCRIPTION_CHARACTERS_MAX)
    raise invalid(f"must be text for people, but is {shown(value)}")


def _not_too_long(value: str, characters_max: int) -> str:
    if len(value) > characters_max:
        raise invalid(f"must have at most {characters_max} characters, but has {len(value)}")
    return value


def _attempts(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= ATTEMPTS_MAX:
        return value
    raise invalid(f"must be a whole number from 1 to {ATTEMPTS_MAX}, but is {shown(value)}; write 1 for no retry")


def _factor(value: object) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and 1 <= value <= FACTOR_MAX:
        return float(value)
    raise invalid(f"must be a number from 1 to {FACTOR_MAX}, but is {shown(value)}; write 1 for equal waits")


def _codes(value: object) -> frozenset[str]:
    if isinstance(value, list) and any("*" in code for code in value if isinstance(code, str)):
        raise invalid("has no patterns, and '*' is in no code; write 'attempts: 1' for no retry after any error")
    if isinstance(value, list) and all(isinstance(code, str) and code for code in value):
        return frozenset(value)
    example = value if isinstance(value, str) and value else "out_of_stock"
    raise invalid(f"must be a list of error codes, each a text, but is {shown(value)}; write ['{example}']")


def _delay_ms(value: object) -> int:
    try:
        return duration_ms(value)
    except ValueError as error:
        raise invalid(str(error)) from None


def _more_than_nothing(what_to_write: str) -> Callable[[object], int]:
    def read(value: object) -> int:
        milliseconds = _delay_ms(value)
        if milliseconds == 0:
            raise invalid(f"must be more than nothing; write {what_to_write}")
        return milliseconds

    return read


_TIMEOUTS = {
    "signal": "how long the signal is waited for, such as '7d'",
    "saga": "how long the child saga may take, such as '7d'",
}


def _timeout(value: object, info: ValidationInfo) -> int:
    kinds = [text for keyword, text in _TIMEOUTS.items() if info.data.get(keyword) is not None]
    return _more_than_nothing(kinds[0] if kinds else "how long one attempt may take, such as '30s'")(value)


def _truth(value: object) -> bool:
    if isinstance(value, bool):
        return value
    raise invalid(f"must be true or false, but is {shown(value)}")


def _one_of(choices: type[StrEnum]) -> Callable[[object], StrEnum]:
    names = [choice.value for choice in choices]

    def read(value: object) -> StrEnum:
        if isinstance(value, str) and value in names:
            return choices(value)
        hint = closest(str(value), names)
        raise invalid(f"must be one of {', '.join(names)}, but is {shown(value)}{hint}")

    return read


def _step_names(value: object) -> tuple[str, ...]:
    names = [value] if isinstance(value, str) else value
    if isinstance(names, list) and all(isinstance(name, str) for name in names):
        return tuple(names)
    raise invalid(f"must be the name of a step or a list of names, but is {shown(value)}; write [] to begin at once")


def _expression(value: object) -> str:
    if isinstance(value, str):
        return value
    raise invalid(f"must be a CEL expression, such as 'input.amount > 100.0', but is {shown(value)}")


def _json_object(value: object) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise invalid(f"must be a mapping, such as {{approved: false}}, but is {shown(value)}")
    try:
        read = read_object(write_object(dict(value), "default").encode(), "default")
    except Malformed as error:
        raise invalid(f"must be plain JSON: {error}") from None
    if read != value:
        raise invalid("must be plain JSON, but holds a number that is not finite, or what is no JSON")
    return read


Name = Annotated[str, PlainValidator(_name)]
Compensation = Annotated[str | None, PlainValidator(_compensation)]
Text = Annotated[str, PlainValidator(_text)]
Description = Annotated[str | None, PlainValidator(_description)]
Attempts = Annotated[int, PlainValidator(_attempts)]
Factor = Annotated[float, PlainValidator(_factor)]
Codes = Annotated[frozenset[str], PlainValidator(_codes)]
DelayMs = Annotated[int, PlainValidator(_delay_ms)]
# A keyword that may be left out has None for a default, and an author cannot write None.
AttemptTimeoutMs = Annotated[int, PlainValidator(_more_than_nothing("how long one attempt may take, such as '30s'"))]
TimeoutMs = Annotated[int, PlainValidator(_timeout)]
SleepMs = Annotated[int | None, PlainValidator(_more_than_nothing("how long to wait, such as '24h'"))]
HeartbeatMs = Annotated[
    int | None, PlainValidator(_more_than_nothing("how long a worker may be silent, such as '10s'"))
]
BudgetMs = Annotated[
    int | None, PlainValidator(_more_than_nothing("how long there may be new attempts, such as '10m'"))
]
DeadlineMs = Annotated[int | None, PlainValidator(_more_than_nothing("how long the saga may take, such as '2h'"))]
CommandType = Annotated[str | None, PlainValidator(_command_type)]
SignalName = Annotated[str | None, PlainValidator(_text)]
SagaName = Annotated[str | None, PlainValidator(_name)]
Truth = Annotated[bool, PlainValidator(_truth)]
OneKind = Annotated[Kind, PlainValidator(_one_of(Kind))]
OneOnError = Annotated[OnError, PlainValidator(_one_of(OnError))]
OneOnUnknown = Annotated[OnUnknown, PlainValidator(_one_of(OnUnknown))]
OneUndoOrder = Annotated[UndoOrder, PlainValidator(_one_of(UndoOrder))]
StepNames = Annotated[tuple[str, ...] | None, PlainValidator(_step_names)]
ExpressionText = Annotated[str | None, PlainValidator(_expression)]
JsonMapping = Annotated[dict[str, Any] | None, PlainValidator(_json_object)]
