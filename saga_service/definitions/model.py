"""The one validated model of what an author writes, in Python or in YAML.

Each field says in its own words what is wrong with a value; pydantic gathers all that is wrong, each with its path.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Annotated, Any

import orjson
from pydantic import BaseModel, ConfigDict, Field, PlainValidator, ValidationError, model_validator
from pydantic_core import ErrorDetails, PydanticCustomError

from saga_service.core.vocabulary import Kind, OnUnknown, UndoOrder
from saga_service.definitions.keywords import (
    COMPENSATION_RETRY_DEFAULT,
    defaults_of,
    duration_ms,
    duration_text,
    retry_defaults_of,
)
from saga_service.definitions.problems import Path, closest, shown, unknown_word
from saga_service.wire.entries import Malformed
from saga_service.wire.json import read_object

ATTEMPTS_MAX = 1_000
FACTOR_MAX = 100
NAME_CHARACTERS_MAX = 100
STEPS_MAX = 100
TEXT_CHARACTERS_MAX = 500
TIMEOUT_MS_DEFAULT = 60_000

_NAME = re.compile(r"[a-z][a-z0-9_-]*")
_COMMAND_TYPE = re.compile(r"[a-z][a-z0-9_-]*\.[a-z][a-z0-9_-]*")


def _wrong(text: str) -> PydanticCustomError:
    # The text goes in as a value: as a template its braces would be read.
    return PydanticCustomError("wrong", "{text}", {"text": text})


def _name(value: object) -> str:
    if isinstance(value, str) and _NAME.fullmatch(value):
        return _not_too_long(value, NAME_CHARACTERS_MAX)
    raise _wrong(
        "must be a name of small letters, digits, '-' and '_' that begins with a letter, "
        f"but is {shown(value)}{_perhaps(value)}"
    )


def _perhaps(value: object) -> str:
    """A name that could have been meant."""
    if not isinstance(value, str):
        return ""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", value).lower()
    likely = re.sub(r"[^a-z0-9_]+", "-", spaced).lstrip("-_0123456789").rstrip("-_")
    return f"; write '{likely}'" if likely else ""


def _command_type(value: object) -> str:
    if isinstance(value, str) and _COMMAND_TYPE.fullmatch(value):
        return _not_too_long(value, NAME_CHARACTERS_MAX)
    raise _wrong(
        f"must be 'service.verb' in small letters, such as 'payment.charge' ({_COMMAND_TYPE.pattern}), "
        f"but is {shown(value)}"
    )


def _compensation(value: object) -> str | None:
    if value is None:
        return None
    if value in ("", "none", "None", "null"):
        raise _wrong(f"is {shown(value)}; leave the key out where there is nothing to undo")
    return _command_type(value)


def _text(value: object) -> str:
    if isinstance(value, str) and value.strip() and value.isprintable():
        return _not_too_long(value, TEXT_CHARACTERS_MAX)
    raise _wrong(f"must be text, but is {shown(value)}")


def _not_too_long(value: str, characters_max: int) -> str:
    if len(value) > characters_max:
        raise _wrong(f"must have at most {characters_max} characters, but has {len(value)}")
    return value


def _attempts(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= ATTEMPTS_MAX:
        return value
    raise _wrong(f"must be a whole number from 1 to {ATTEMPTS_MAX}, but is {shown(value)}; write 1 for no retry")


def _factor(value: object) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and 1 <= value <= FACTOR_MAX:
        return float(value)
    raise _wrong(f"must be a number from 1 to {FACTOR_MAX}, but is {shown(value)}; write 1 for equal waits")


def _codes(value: object) -> frozenset[str]:
    if isinstance(value, list) and all(isinstance(code, str) and code for code in value):
        return frozenset(value)
    example = value if isinstance(value, str) and value else "out_of_stock"
    raise _wrong(f"must be a list of error codes, each a text, but is {shown(value)}; write ['{example}']")


def _delay_ms(value: object) -> int:
    try:
        return duration_ms(value)
    except ValueError as error:
        raise _wrong(str(error)) from None


def _more_than_nothing(what_to_write: str) -> Callable[[object], int]:
    def read(value: object) -> int:
        milliseconds = _delay_ms(value)
        if milliseconds == 0:
            raise _wrong(f"must be more than nothing; write {what_to_write}")
        return milliseconds

    return read


def _truth(value: object) -> bool:
    if isinstance(value, bool):
        return value
    raise _wrong(f"must be true or false, but is {shown(value)}")


def _one_of(choices: type[StrEnum]) -> Callable[[object], StrEnum]:
    names = [choice.value for choice in choices]

    def read(value: object) -> StrEnum:
        if isinstance(value, str) and value in names:
            return choices(value)
        hint = closest(str(value), names)
        raise _wrong(f"must be one of {', '.join(names)}, but is {shown(value)}{hint}")

    return read


def _step_names(value: object) -> tuple[str, ...]:
    names = [value] if isinstance(value, str) else value
    if isinstance(names, list) and all(isinstance(name, str) for name in names):
        return tuple(names)
    raise _wrong(f"must be the name of a step or a list of names, but is {shown(value)}; write [] to begin at once")


def _expression(value: object) -> str:
    if isinstance(value, str):
        return value
    raise _wrong(f"must be a CEL expression, such as 'input.amount > 100.0', but is {shown(value)}")


def _json_object(value: object) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise _wrong(f"must be a mapping, such as {{approved: false}}, but is {shown(value)}")
    try:
        read = read_object(orjson.dumps(dict(value)), "default")
    except (TypeError, Malformed) as error:
        raise _wrong(f"must be plain JSON: {error}") from None
    if read != value:
        raise _wrong("must be plain JSON, but holds a number that is not finite, or what is no JSON")
    return read


Name = Annotated[str, PlainValidator(_name)]
Compensation = Annotated[str | None, PlainValidator(_compensation)]
Text = Annotated[str, PlainValidator(_text)]
Attempts = Annotated[int, PlainValidator(_attempts)]
Factor = Annotated[float, PlainValidator(_factor)]
Codes = Annotated[frozenset[str], PlainValidator(_codes)]
DelayMs = Annotated[int, PlainValidator(_delay_ms)]
# Where a word may be left out but not be empty, None is its default and nothing that can be written.
TimeoutMs = Annotated[int, PlainValidator(_more_than_nothing("how long one attempt may take, such as '30s'"))]
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
OneOnUnknown = Annotated[OnUnknown, PlainValidator(_one_of(OnUnknown))]
OneUndoOrder = Annotated[UndoOrder, PlainValidator(_one_of(UndoOrder))]
StepNames = Annotated[tuple[str, ...] | None, PlainValidator(_step_names)]
ExpressionText = Annotated[str | None, PlainValidator(_expression)]
JsonMapping = Annotated[dict[str, Any] | None, PlainValidator(_json_object)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class RetryModel(_Model):
    attempts: Attempts = 3
    first_delay: DelayMs = 200
    factor: Factor = 2.0
    max_delay: DelayMs = 30_000
    jitter: Truth = True
    budget: BudgetMs = None
    never: Codes = frozenset()

    @model_validator(mode="after")
    def _the_first_delay_is_within_the_longest(self) -> RetryModel:
        if self.first_delay > self.max_delay:
            first, longest = duration_text(self.first_delay), duration_text(self.max_delay)
            raise _wrong(f"'first_delay' ({first}) is above 'max_delay' ({longest}); write 'max_delay' as well")
        return self


class StepModel(_Model):
    """Which words go together is not asked here, but of all steps at once: see `check`."""

    name: Name
    action: CommandType = None
    sleep: SleepMs = None
    signal: SignalName = None
    saga: SagaName = None
    compensation: Compensation = None
    after: StepNames = None
    when: ExpressionText = None
    input: Any = None  # a mapping with expressions: read by `saga_service.definitions.checks.expressions`
    kind: OneKind = Kind.COMPENSATABLE
    retry: RetryModel = RetryModel()
    timeout: TimeoutMs = TIMEOUT_MS_DEFAULT
    heartbeat: HeartbeatMs = None
    on_unknown: OneOnUnknown = OnUnknown.RETRY
    probe: CommandType = None
    compensation_retry: RetryModel = RetryModel()
    compensation_timeout: TimeoutMs = TIMEOUT_MS_DEFAULT
    default: JsonMapping = None
    output: Any = None  # a JSON Schema or a pydantic class: read by `saga_service.definitions.schema.source`

    @model_validator(mode="before")
    @classmethod
    def _what_is_left_out_has_the_default_of_its_place(cls, written: Any) -> Any:
        if not isinstance(written, dict):
            return written
        completed = {**defaults_of(written), **written}
        for word, defaults in (
            ("retry", retry_defaults_of(written)),
            ("compensation_retry", COMPENSATION_RETRY_DEFAULT),
        ):
            policy = written.get(word, {})
            completed[word] = {**defaults, **policy} if isinstance(policy, dict) else policy
        return completed


class TriggerModel(_Model):
    event_type: Text | None = None
    stream: Text | None = None
    group: Text | None = None

    @model_validator(mode="after")
    def _is_one_kind_of_trigger(self) -> TriggerModel:
        if (self.event_type is None) == (self.stream is None):
            raise _wrong("must have either 'event_type' or 'stream', and not both")
        if self.group is not None and self.stream is None:
            raise _wrong("'group' belongs to a 'stream'; the common events stream has a group of its own")
        return self


class SagaModel(_Model):
    name: Name
    steps: list[StepModel] = Field(min_length=1, max_length=STEPS_MAX)
    input: Any = None  # a JSON Schema or a pydantic class: read by `saga_service.definitions.schema.source`
    key: Text | None = None
    triggers: list[TriggerModel] = Field(default=[], max_length=STEPS_MAX)
    deadline: DeadlineMs = None
    undo: OneUndoOrder = UndoOrder.REVERSE


# ------------------------------------------------------------------------------------------ pydantic's words to ours

_MODELS: dict[Path, type[BaseModel]] = {
    (): SagaModel,
    ("steps",): StepModel,
    ("steps", "retry"): RetryModel,
    ("steps", "compensation_retry"): RetryModel,
    ("triggers",): TriggerModel,
}

_REQUIRED = {
    "name": "write a name of small letters, digits, '-' and '_', such as 'order'",
    "steps": "write the list of steps, in the order in which they are done",
}


def _missing(details: ErrorDetails) -> str:
    return f"is missing; {_REQUIRED[str(details['loc'][-1])]}"


def _unknown(details: ErrorDetails) -> str:
    *parents, word = details["loc"]
    model = _MODELS[tuple(part for part in parents if isinstance(part, str))]
    return unknown_word(str(word), list(model.model_fields))


def _not_a_mapping(details: ErrorDetails) -> str:
    model = _MODELS[tuple(part for part in details["loc"] if isinstance(part, str))]
    return f"must be a mapping with the keys {', '.join(model.model_fields)}, but is {shown(details['input'])}"


_TEXTS: dict[str, Callable[[ErrorDetails], str]] = {
    "wrong": lambda details: details["msg"],
    "missing": _missing,
    "extra_forbidden": _unknown,
    "model_type": _not_a_mapping,
    "list_type": lambda details: f"must be a list, but is {shown(details['input'])}",
    "too_short": lambda details: "must have at least one entry, but is empty",
    "too_long": lambda details: f"must have at most {STEPS_MAX} entries, but has {len(details['input'])}",
}


def read_model(written: object) -> tuple[SagaModel | None, list[tuple[Path, str]]]:
    """The validated model, or what is wrong: the path of each bad value and what to write."""
    try:
        return SagaModel.model_validate(written), []
    except ValidationError as error:
        return None, [(details["loc"], _TEXTS[details["type"]](details)) for details in error.errors(include_url=False)]
