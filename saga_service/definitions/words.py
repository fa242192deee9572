"""Which words belong to which kind of step, and what stands for those that are left out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from saga_service.core.definition import Kind, OnUnknown, Task

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
