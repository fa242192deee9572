"""The validated model of what an author writes, in Python or in YAML.

Pydantic collects everything that is wrong, each with its path. Defaults stand in `keywords`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from saga_service.definitions.keywords import (
    COMPENSATION_RETRY_DEFAULTS,
    RETRY_DEFAULTS,
    UNDO_DEFAULT,
    defaults_of,
    duration_text,
    retry_defaults_of,
)
from saga_service.definitions.problems import Path, Violation, shown
from saga_service.definitions.synonyms import unknown_keyword
from saga_service.definitions.values import (
    Attempts,
    AttemptTimeoutMs,
    BudgetMs,
    Codes,
    CommandType,
    Compensation,
    DeadlineMs,
    DelayMs,
    Description,
    ExpressionText,
    Factor,
    HeartbeatMs,
    JsonMapping,
    Name,
    OneKind,
    OneOnError,
    OneOnUnknown,
    OneUndoOrder,
    SagaName,
    SignalName,
    SleepMs,
    StepNames,
    Text,
    TimeoutMs,
    Truth,
    invalid,
)

STEPS_MAX = 100


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class RetryModel(_Model):
    attempts: Attempts
    first_delay: DelayMs
    factor: Factor
    max_delay: DelayMs
    jitter: Truth
    budget: BudgetMs = None
    never: Codes = frozenset()

    @model_validator(mode="after")
    def _check_delays(self) -> RetryModel:
        if self.first_delay > self.max_delay:
            first, longest = duration_text(self.first_delay), duration_text(self.max_delay)
            raise invalid(f"'first_delay' ({first}) is above 'max_delay' ({longest}); write 'max_delay' as well")
        return self


def _with_policies(written: dict[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """What is written, with its policies completed."""
    completed = dict(written)
    for keyword, of_policy in (("retry", defaults), ("compensation_retry", COMPENSATION_RETRY_DEFAULTS)):
        policy = written.get(keyword)
        if isinstance(policy, dict):
            completed[keyword] = {**of_policy, **policy}
    return completed


class DefaultsModel(_Model):
    """The saga's own defaults of its commands. `keywords.with_defaults` gives them to the steps."""

    retry: RetryModel | None = None
    timeout: AttemptTimeoutMs | None = None
    compensation_retry: RetryModel | None = None
    compensation_timeout: AttemptTimeoutMs | None = None

    @model_validator(mode="before")
    @classmethod
    def _with_defaults(cls, written: Any) -> Any:
        return _with_policies(written, RETRY_DEFAULTS) if isinstance(written, dict) else written


class StepModel(_Model):
    """One step. Which keywords go together is checked elsewhere, of all steps at once: see `checks`."""

    name: Name
    action: CommandType = None
    sleep: SleepMs = None
    signal: SignalName = None
    saga: SagaName = None
    compensation: Compensation = None
    after: StepNames = None
    when: ExpressionText = None
    input: Any = None  # a mapping with expressions: read by `saga_service.definitions.checks.expressions`
    kind: OneKind
    retry: RetryModel
    timeout: TimeoutMs
    heartbeat: HeartbeatMs = None
    on_unknown: OneOnUnknown
    on_error: OneOnError
    probe: CommandType = None
    compensation_retry: RetryModel
    compensation_timeout: AttemptTimeoutMs
    default: JsonMapping = None
    output: Any = None  # a JSON Schema or a pydantic class: read by `saga_service.definitions.schema.source`
    description: Description = None

    @model_validator(mode="before")
    @classmethod
    def _with_defaults(cls, written: Any) -> Any:
        if not isinstance(written, dict):
            return written
        completed = {**defaults_of(written), "retry": {}, "compensation_retry": {}, **written}
        return _with_policies(completed, retry_defaults_of(written))


class TriggerModel(_Model):
    event_type: Text | None = None
    stream: Text | None = None
    group: Text | None = None

    @model_validator(mode="after")
    def _check_kind(self) -> TriggerModel:
        if (self.event_type is None) == (self.stream is None):
            raise invalid("must have either 'event_type' or 'stream', and not both")
        if self.group is not None and self.stream is None:
            raise invalid("'group' belongs to a 'stream'; the common events stream has a group of its own")
        return self


class SagaModel(_Model):
    name: Name
    steps: list[StepModel] = Field(min_length=1, max_length=STEPS_MAX)
    input: Any = None  # a JSON Schema or a pydantic class: read by `saga_service.definitions.schema.source`
    key: Text | None = None
    triggers: list[TriggerModel] = Field(default=[], max_length=STEPS_MAX)
    deadline: DeadlineMs = None
    undo: OneUndoOrder = UNDO_DEFAULT
    defaults: DefaultsModel | None = None
    description: Description = None


_MODELS: dict[Path, type[BaseModel]] = {
    (): SagaModel,
    ("steps",): StepModel,
    ("steps", "retry"): RetryModel,
    ("steps", "compensation_retry"): RetryModel,
    ("triggers",): TriggerModel,
    ("defaults",): DefaultsModel,
    ("defaults", "retry"): RetryModel,
    ("defaults", "compensation_retry"): RetryModel,
}
_PLACES: dict[type[BaseModel], str] = {
    SagaModel: "saga",
    StepModel: "step",
    RetryModel: "retry",
    TriggerModel: "trigger",
    DefaultsModel: "defaults",
}
"""By model: the place by whose name `synonyms` knows the keywords of others."""

_REQUIRED = {
    "name": "write a name of small letters, digits, '-' and '_', such as 'order'",
    "steps": "write the list of steps, in the order in which they are done",
}


def _missing(details: ErrorDetails) -> str:
    return f"is missing; {_REQUIRED[str(details['loc'][-1])]}"


def _unknown(details: ErrorDetails) -> str:
    *parents, keyword = details["loc"]
    model = _MODELS[tuple(part for part in parents if isinstance(part, str))]
    return unknown_keyword(str(keyword), list(model.model_fields), _PLACES[model])


def _not_a_mapping(details: ErrorDetails) -> str:
    model = _MODELS[tuple(part for part in details["loc"] if isinstance(part, str))]
    return f"must be a mapping with the keys {', '.join(model.model_fields)}, but is {shown(details['input'])}"


# The kinds of error that pydantic reports for these models, in an author's words.
_TEXTS: dict[str, Callable[[ErrorDetails], str]] = {
    "invalid": lambda details: details["msg"],
    "missing": _missing,
    "extra_forbidden": _unknown,
    "model_type": _not_a_mapping,
    "list_type": lambda details: f"must be a list, but is {shown(details['input'])}",
    "too_short": lambda details: "must have at least one entry, but is empty",
    "too_long": lambda details: f"must have at most {STEPS_MAX} entries, but has {len(details['input'])}",
}


def read_model(written: object) -> tuple[SagaModel | None, list[Violation]]:
    """The validated model, or every value that is wrong, each with its path and what to write instead."""
    try:
        return SagaModel.model_validate(written), []
    except ValidationError as error:
        return None, [(details["loc"], _TEXTS[details["type"]](details)) for details in error.errors(include_url=False)]


def readable_defaults(written: Mapping[str, Any]) -> Mapping[str, Any]:
    """The `defaults` of a saga as they are written; nothing where there are none, or none that are right."""
    defaults = written.get("defaults")
    try:
        DefaultsModel.model_validate(defaults)
    except ValidationError:
        return {}
    assert isinstance(defaults, dict), "a mapping was validated"
    return defaults
