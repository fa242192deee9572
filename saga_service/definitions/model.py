"""The one validated model of what an author writes, in Python or in YAML.

Each field says in its own words what is wrong with a value; pydantic gathers all that is wrong, each with its path.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, ValidationError, model_validator
from pydantic_core import ErrorDetails, PydanticCustomError

from saga_service.definitions.durations import duration_ms, duration_text
from saga_service.definitions.problems import Path, shown, unknown_word

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


def _timeout_ms(value: object) -> int:
    milliseconds = _delay_ms(value)
    if milliseconds == 0:
        raise _wrong("must be more than nothing; write how long one attempt may take, such as '30s'")
    return milliseconds


Name = Annotated[str, PlainValidator(_name)]
CommandType = Annotated[str, PlainValidator(_command_type)]
Compensation = Annotated[str | None, PlainValidator(_compensation)]
Text = Annotated[str, PlainValidator(_text)]
Attempts = Annotated[int, PlainValidator(_attempts)]
Factor = Annotated[float, PlainValidator(_factor)]
Codes = Annotated[frozenset[str], PlainValidator(_codes)]
DelayMs = Annotated[int, PlainValidator(_delay_ms)]
TimeoutMs = Annotated[int, PlainValidator(_timeout_ms)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class RetryModel(_Model):
    attempts: Attempts = 3
    first_delay: DelayMs = 200
    factor: Factor = 2.0
    max_delay: DelayMs = 30_000
    never: Codes = frozenset()

    @model_validator(mode="after")
    def _the_first_delay_is_within_the_longest(self) -> RetryModel:
        if self.first_delay > self.max_delay:
            first, longest = duration_text(self.first_delay), duration_text(self.max_delay)
            raise _wrong(f"'first_delay' ({first}) is above 'max_delay' ({longest}); write 'max_delay' as well")
        return self


class CompensationRetryModel(RetryModel):
    """Longer, since giving up means that a person has to act."""

    attempts: Attempts = 10
    first_delay: DelayMs = 1_000
    max_delay: DelayMs = 300_000


class StepModel(_Model):
    name: Name
    action: CommandType
    compensation: Compensation = None
    retry: RetryModel = RetryModel()
    timeout: TimeoutMs = TIMEOUT_MS_DEFAULT
    compensation_retry: CompensationRetryModel = CompensationRetryModel()
    compensation_timeout: TimeoutMs = TIMEOUT_MS_DEFAULT


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
    input: Any = None  # a JSON Schema or a pydantic class: read by `saga_service.definitions.schema`
    key: Text | None = None
    triggers: list[TriggerModel] = Field(default=[], max_length=STEPS_MAX)


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
    "action": "write the type of the command that does the step, such as 'payment.charge'",
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
