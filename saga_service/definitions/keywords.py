"""The keywords of a step: which belong to which kind of step, how durations are written, and every default.

All defaults of a definition stand here. The model (`model`) fills them in, and the checks (`outline`, `checks`) ask for
them, so that both speak of the same saga. They are written as an author would write them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Any

from saga_service.core.vocabulary import Kind, OnError, OnUnknown, Task, UndoOrder
from saga_service.definitions.problems import shown

UNITS_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
"""The units that a duration may be written in, each in milliseconds."""
DURATION_MS_MAX = 365 * UNITS_MS["d"]
"""The longest duration of any kind: a year."""

_TEXT = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,15})?) ?(ms|s|m|h|d)")
_HOW_TO_WRITE = "write a number with its unit, such as '200ms', '30s', '5m', '1h' or '7d', or a number of seconds"


def duration_ms(value: object) -> int:
    """A text with a unit, a timedelta or a number of seconds, in whole milliseconds.

    Raises ValueError, which says what to write, for anything else, for less than nothing and for more than a year.
    """
    milliseconds = _milliseconds(value)
    if milliseconds is None:
        raise ValueError(f"must be a duration, but is {shown(value)}; {_HOW_TO_WRITE}")
    if milliseconds != milliseconds.to_integral_value():
        raise ValueError(f"must be whole milliseconds, but is {shown(value)}")
    if not 0 <= milliseconds <= DURATION_MS_MAX:
        raise ValueError(f"must be from 0 to {duration_text(DURATION_MS_MAX)}, but is {shown(value)}")
    return int(milliseconds)


def duration_text(milliseconds: int) -> str:
    """The shortest text that is exact: `90s` for 90,000."""
    for unit, unit_ms in reversed(UNITS_MS.items()):
        if milliseconds and milliseconds % unit_ms == 0:
            return f"{milliseconds // unit_ms}{unit}"
    return "0s"


def _milliseconds(value: object) -> Decimal | None:
    match value:
        case bool():
            return None
        case int() | float():
            seconds = Decimal(str(value))
            return seconds * 1_000 if seconds.is_finite() else None
        case timedelta():
            return Decimal(value // timedelta(microseconds=1)) / 1_000
        case str():
            matched = _TEXT.fullmatch(value.strip())
            return Decimal(matched[1]) * UNITS_MS[matched[2]] if matched else None
        case _:
            return None


TASK_KEYWORDS: dict[str, Task] = {
    "action": Task.COMMAND,
    "sleep": Task.SLEEP,
    "signal": Task.SIGNAL,
    "saga": Task.CHILD,
}
"""The keywords of which each step has exactly one."""

TASK_NAMES = {
    Task.COMMAND: "a command",
    Task.SLEEP: "a sleep",
    Task.SIGNAL: "a wait for a signal",
    Task.CHILD: "a child saga",
}

_OF_EVERY_STEP = {"name", "after", "when", "description"}
_OF_EFFECTS = {"input", "kind", "retry", "timeout", "on_unknown", "compensation_retry", "compensation_timeout"}
KEYWORDS_OF: dict[Task, frozenset[str]] = {
    Task.COMMAND: frozenset(
        _OF_EVERY_STEP | _OF_EFFECTS | {"action", "compensation", "heartbeat", "on_error", "probe", "output"},
    ),
    Task.SLEEP: frozenset(_OF_EVERY_STEP | {"sleep"}),
    Task.SIGNAL: frozenset(_OF_EVERY_STEP | {"signal", "timeout", "default", "output"}),
    Task.CHILD: frozenset(_OF_EVERY_STEP | _OF_EFFECTS | {"saga"}),
}

UNDO_DEFAULT = UndoOrder.REVERSE
_KIND_DEFAULT = Kind.COMPENSATABLE
_ATTEMPT_TIMEOUT = "60s"
_LONG_TIMEOUT = "7d"
"""A person sends a signal, and a child saga has steps of its own."""

RETRY_DEFAULTS: Mapping[str, Any] = {
    "attempts": 3,
    "first_delay": "200ms",
    "factor": 2,
    "max_delay": "30s",
    "jitter": True,
}
_RETRY_OF_RETRIABLE: Mapping[str, Any] = {**RETRY_DEFAULTS, "attempts": 1_000, "max_delay": "5m"}
_RETRY_OF_CHILD: Mapping[str, Any] = {**RETRY_DEFAULTS, "attempts": 1}
COMPENSATION_RETRY_DEFAULTS: Mapping[str, Any] = {
    **RETRY_DEFAULTS,
    "attempts": 10,
    "first_delay": "1s",
    "max_delay": "5m",
}
"""More attempts than an action has: a compensation that is given up has to be taken on by a person."""


def task_of(step: Mapping[str, Any]) -> Task | None:
    """The step's task by its keywords; None where they name none, or more than one."""
    given = [task for keyword, task in TASK_KEYWORDS.items() if step.get(keyword) is not None]
    return given[0] if len(given) == 1 else None


def kind_of(step: Mapping[str, Any]) -> Kind:
    """The step's kind; the default where none is written, or none that exists."""
    written = step.get("kind")
    return Kind(written) if written in list(Kind) else _KIND_DEFAULT


def defaults_of(step: Mapping[str, Any]) -> dict[str, Any]:
    """The values of the step's optional keywords that have one when they are left out. Retries have their own."""
    task, kind = task_of(step), kind_of(step)
    is_child = task is Task.CHILD
    return {
        "kind": _KIND_DEFAULT.value,
        "timeout": _LONG_TIMEOUT if is_child or task is Task.SIGNAL else _ATTEMPT_TIMEOUT,
        "on_unknown": OnUnknown.HOLD.value if is_child or kind is Kind.PIVOT else OnUnknown.RETRY.value,
        "on_error": (OnError.UNKNOWN if step.get("compensation") else OnError.FAILED).value,
        "compensation_timeout": _LONG_TIMEOUT if is_child else _ATTEMPT_TIMEOUT,
    }


def retry_defaults_of(step: Mapping[str, Any]) -> Mapping[str, Any]:
    """The values of `retry` that the step has when they are left out."""
    if kind_of(step) is Kind.RETRIABLE:
        return _RETRY_OF_RETRIABLE
    return _RETRY_OF_CHILD if task_of(step) is Task.CHILD else RETRY_DEFAULTS


def with_defaults(step: Mapping[str, Any], defaults: Mapping[str, Any]) -> Mapping[str, Any]:
    """The step with what it leaves out of the saga's own `defaults`, which are those of commands.

    A retriable step keeps its number of attempts: it is tried until it is done.
    """
    if task_of(step) is not Task.COMMAND:
        return step
    may_have = {"timeout", "retry"} | (
        {"compensation_timeout", "compensation_retry"} if step.get("compensation") else set()
    )
    spread = {keyword: value for keyword, value in defaults.items() if keyword in may_have and keyword not in step}
    for keyword in ("retry", "compensation_retry"):
        policy, own = defaults.get(keyword), step.get(keyword, {})
        if keyword in may_have and isinstance(policy, dict) and isinstance(own, dict):
            keeps_attempts = keyword == "retry" and kind_of(step) is Kind.RETRIABLE
            spread[keyword] = {**_without_attempts(policy, keeps_attempts), **own}
    return {**step, **spread}


def _without_attempts(policy: Mapping[str, Any], is_without: bool) -> dict[str, Any]:
    return {keyword: value for keyword, value in policy.items() if not (is_without and keyword == "attempts")}
