"""The keywords of a step: which belong to which kind of step, and what stands for one that is left out.

All defaults of a definition stand here. The model (`model`) fills them in, and the checks (`outline`, `checks`) ask for
them, so that both speak of the same saga. They are written as an author would write them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from saga_service.core.vocabulary import Kind, OnUnknown, Task, UndoOrder

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

_OF_EVERY_STEP = {"name", "after", "when"}
_OF_EFFECTS = {"input", "kind", "retry", "timeout", "on_unknown", "compensation_retry", "compensation_timeout"}
KEYWORDS_OF: dict[Task, frozenset[str]] = {
    Task.COMMAND: frozenset(
        _OF_EVERY_STEP | _OF_EFFECTS | {"action", "compensation", "heartbeat", "probe", "output"},
    ),
    Task.SLEEP: frozenset(_OF_EVERY_STEP | {"sleep"}),
    Task.SIGNAL: frozenset(_OF_EVERY_STEP | {"signal", "timeout", "default"}),
    Task.CHILD: frozenset(_OF_EVERY_STEP | _OF_EFFECTS | {"saga"}),
}

UNDO_DEFAULT = UndoOrder.REVERSE
_KIND_DEFAULT = Kind.COMPENSATABLE
_ATTEMPT_TIMEOUT = "60s"
_LONG_TIMEOUT = "7d"
"""A person sends a signal, and a child saga has steps of its own."""

_RETRY: Mapping[str, Any] = {
    "attempts": 3,
    "first_delay": "200ms",
    "factor": 2,
    "max_delay": "30s",
    "jitter": True,
}
_RETRY_OF_RETRIABLE: Mapping[str, Any] = {**_RETRY, "attempts": 1_000, "max_delay": "5m"}
_RETRY_OF_CHILD: Mapping[str, Any] = {**_RETRY, "attempts": 1}
COMPENSATION_RETRY_DEFAULTS: Mapping[str, Any] = {**_RETRY, "attempts": 10, "first_delay": "1s", "max_delay": "5m"}
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
        "compensation_timeout": _LONG_TIMEOUT if is_child else _ATTEMPT_TIMEOUT,
    }


def retry_defaults_of(step: Mapping[str, Any]) -> Mapping[str, Any]:
    """The values of `retry` that the step has when they are left out."""
    if kind_of(step) is Kind.RETRIABLE:
        return _RETRY_OF_RETRIABLE
    return _RETRY_OF_CHILD if task_of(step) is Task.CHILD else _RETRY
