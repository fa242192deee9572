"""Times that stand beside one another make sense together."""

from __future__ import annotations

from collections.abc import Iterator

from saga_service.core.definition import Task
from saga_service.definitions.durations import duration_text
from saga_service.definitions.model import TIMEOUT_MS_DEFAULT
from saga_service.definitions.outline import Outline, StepOutline, Wrong, milliseconds_of


def wrong_times(outline: Outline) -> Iterator[Wrong]:
    deadline_ms = milliseconds_of(outline.written, "deadline")
    for step in outline.steps:
        yield from _slow_heartbeat(step)
        yield from _long_sleep(step, deadline_ms)


def _slow_heartbeat(step: StepOutline) -> Iterator[Wrong]:
    heartbeat_ms = milliseconds_of(step.written, "heartbeat")
    timeout_ms = milliseconds_of(step.written, "timeout") or TIMEOUT_MS_DEFAULT
    if step.task is Task.COMMAND and heartbeat_ms is not None and heartbeat_ms >= timeout_ms:
        told = f"is {duration_text(heartbeat_ms)}, and must be less than the timeout of {duration_text(timeout_ms)}"
        yield step.path("heartbeat"), f"{told}; write less, or a longer 'timeout'"


def _long_sleep(step: StepOutline, deadline_ms: int | None) -> Iterator[Wrong]:
    sleep_ms = milliseconds_of(step.written, "sleep")
    if sleep_ms is not None and deadline_ms and sleep_ms >= deadline_ms:
        told = f"is {duration_text(sleep_ms)}, and the saga's deadline is {duration_text(deadline_ms)}"
        yield step.path("sleep"), f"{told}: it would end in the sleep; write less, or a later 'deadline'"
