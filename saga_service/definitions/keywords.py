"""Which words belong to which kind of step, and what stands for those that are left out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Any

from saga_service.core.vocabulary import Kind, OnUnknown, Task
from saga_service.definitions.problems import shown

TASK_WORDS: dict[str, Task] = {
    "action": Task.COMMAND,
    "sleep": Task.SLEEP,
    "signal": Task.SIGNAL,
    "saga": Task.CHILD,
}
"""Each step has exactly one of these."""

CALLED = {
    Task.COMMAND: "a command",
    Task.SLEEP: "a sleep",
    Task.SIGNAL: "a wait for a signal",
    Task.CHILD: "a child saga",
}

_OF_ALL = {"name", "after", "when"}
_OF_WORK = {"input", "kind", "retry", "timeout", "on_unknown", "compensation_retry", "compensation_timeout"}
WORDS_OF: dict[Task, frozenset[str]] = {
    Task.COMMAND: frozenset(_OF_ALL | _OF_WORK | {"action", "compensation", "heartbeat", "probe", "output"}),
    Task.SLEEP: frozenset(_OF_ALL | {"sleep"}),
    Task.SIGNAL: frozenset(_OF_ALL | {"signal", "timeout", "default"}),
    Task.CHILD: frozenset(_OF_ALL | _OF_WORK | {"saga"}),
}

COMPENSATION_RETRY_DEFAULT: Mapping[str, Any] = {"attempts": 10, "first_delay": "1s", "max_delay": "5m"}
"""Longer than that of an action, since giving up means that a person has to act."""
_RETRIABLE: Mapping[str, Any] = {"attempts": 1_000, "max_delay": "5m"}
_ONCE: Mapping[str, Any] = {"attempts": 1}
_LONG = "7d"


def task_of(step: Mapping[str, Any]) -> Task | None:
    """What the step is by the words that it has; None where that is not one thing."""
    given = [task for word, task in TASK_WORDS.items() if step.get(word) is not None]
    return given[0] if len(given) == 1 else None


def kind_of(step: Mapping[str, Any]) -> Kind:
    """The step's kind, and that of any step where it is not known."""
    written = step.get("kind")
    return Kind(written) if written in list(Kind) else Kind.COMPENSATABLE


def defaults_of(step: Mapping[str, Any]) -> dict[str, Any]:
    """The words that are not the same for every step when they are left out."""
    task, kind = task_of(step), kind_of(step)
    found: dict[str, Any] = {}
    if task in (Task.SIGNAL, Task.CHILD):
        found["timeout"] = _LONG
    if task is Task.CHILD:
        found["compensation_timeout"] = _LONG
    if task is Task.CHILD or kind is Kind.PIVOT:
        found["on_unknown"] = OnUnknown.HOLD.value
    return found


def retry_defaults_of(step: Mapping[str, Any]) -> Mapping[str, Any]:
    if kind_of(step) is Kind.RETRIABLE:
        return _RETRIABLE
    return _ONCE if task_of(step) is Task.CHILD else {}


# MERGED from definitions.durations:
# Durations as people write them, and back.

UNITS_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
DURATION_MS_MAX = 365 * UNITS_MS["d"]

_TEXT = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,15})?) ?(ms|s|m|h|d)")
_HOW_TO_WRITE = "write a number with its unit, such as '200ms', '30s', '5m', '1h' or '7d', or a number of seconds"


def duration_ms(value: object) -> int:
    """Whole milliseconds of a text with a unit, a timedelta, or a number of seconds.

    Raises ValueError, with what to write, for anything else, for less than nothing and for more than a year.
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
    """The shortest exact text: `90s` for 90,000."""
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
