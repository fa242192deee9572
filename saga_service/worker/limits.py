"""Limits of one command type: how many at once, and how often.

A command over its type's limit is queued here and takes no slot, so other types pass it by. Its entry stays pending and
is renewed; its deadline counts on. A limit holds for one process: four replicas may do four times as much.
"""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

from saga_service.core.ids import CommandId
from saga_service.wire.commands import ReceivedCommand
from saga_service.wire.entries import Entry
from saga_service.worker.registration import Handler

CATCH_UP_S_MAX = 0.05
"""A rate is kept by even distances. This much of what was missed is caught up at once: a timer is never quite exact."""
_UNITS_S = {"s": 1.0, "m": 60.0, "h": 3600.0}
_RATE = re.compile(r"(\d+)\s*/\s*([smh])")


def seconds_between(rate: str) -> float:
    """Return the distance between two commands at a rate such as `50/s`, `20/m` or `100/h`. Raises ValueError."""
    found = _RATE.fullmatch(rate.strip())
    if found is None or int(found[1]) < 1:
        raise ValueError(f"a rate is written '50/s', '20/m' or '100/h', but is '{rate}'")
    return _UNITS_S[found[2]] / int(found[1])


class QueuedCommand(NamedTuple):
    handler: Handler
    command: ReceivedCommand
    entry: Entry


@dataclass(slots=True)
class Limit:
    """The limits of one command type, and how far they are used."""

    running_max: float
    distance_s: float
    running: int = 0
    next_start_at_s: float = 0.0

    def allows_start(self, now_s: float) -> bool:
        return self.running < self.running_max and self.next_start_at_s <= now_s

    def count_start(self, now_s: float) -> None:
        self.running += 1
        self.next_start_at_s = max(self.next_start_at_s, now_s - CATCH_UP_S_MAX) + self.distance_s


class Limits:
    """The limits of a worker's command types, and the queue of commands of any type."""

    def __init__(self, handlers: Iterable[Handler], now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self._limits = {
            handler.command_type: Limit(handler.concurrency or float("inf"), handler.seconds_between)
            for handler in handlers
            if handler.is_limited
        }
        self._queues: dict[str, dict[CommandId, QueuedCommand]] = {}
        self._turns: deque[str] = deque()
        self._queued = 0

    def __len__(self) -> int:
        return self._queued

    def __contains__(self, command: ReceivedCommand) -> bool:
        return command.id in self._queues.get(command.type, ())

    @property
    def are_set(self) -> bool:
        """True if any type has a limit at all; without one no command is ever queued."""
        return bool(self._limits)

    def allow_start(self, command_type: str) -> bool:
        """True if a command of this type may start now, with none of its type queued before it."""
        limit = self._limits.get(command_type)
        return command_type not in self._queues and (limit is None or limit.allows_start(self._now_s()))

    def count_start(self, command_type: str) -> None:
        if (limit := self._limits.get(command_type)) is not None:
            limit.count_start(self._now_s())

    def count_end(self, command_type: str) -> None:
        if (limit := self._limits.get(command_type)) is not None:
            limit.running -= 1

    def enqueue(self, queued: QueuedCommand) -> None:
        command = queued.command
        if command.type not in self._queues:
            self._queues[command.type] = {}
            self._turns.append(command.type)
        self._queues[command.type][command.id] = queued
        self._queued += 1

    def dequeue(self) -> QueuedCommand | None:
        """Take out a command that may start now; the types take turns. None where no command may."""
        now_s = self._now_s()
        for _ in range(len(self._turns)):
            command_type = self._turns[0]
            self._turns.rotate(-1)
            limit = self._limits.get(command_type)
            if limit is None or limit.allows_start(now_s):
                first = next(iter(self._queues[command_type].values()))
                return self.remove(first.command)
        return None

    def remove(self, command: ReceivedCommand) -> QueuedCommand:
        of_type = self._queues[command.type]
        removed = of_type.pop(command.id)
        self._queued -= 1
        if not of_type:
            del self._queues[command.type]
            self._turns.remove(command.type)
        return removed

    def find(self, command_id: CommandId) -> QueuedCommand | None:
        return next((found for of_type in self._queues.values() if (found := of_type.get(command_id))), None)

    def clear(self) -> list[QueuedCommand]:
        """Empty the queue; returns the commands that were in it."""
        queued = [each for of_type in self._queues.values() for each in of_type.values()]
        self._queues, self._queued = {}, 0
        self._turns.clear()
        return queued

    def next_start_in_s(self) -> float | None:
        """Return when the first queued command that waits for its rate alone may start; None where there is none."""
        soonest = [
            limit.next_start_at_s
            for command_type in self._queues
            if (limit := self._limits.get(command_type)) is not None and limit.running < limit.running_max
        ]
        return max(0.0, min(soonest) - self._now_s()) if soonest else None
