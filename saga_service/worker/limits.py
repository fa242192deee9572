"""How much of one command type at once, and how often.

A command over its type's limit waits here, and takes no slot meanwhile, so others pass it by. Its entry stays in our
hands and is renewed; its deadline counts on. A limit is that of one process: four replicas may do four times as much.
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

CAUGHT_UP_S_MAX = 0.05
"""A rate is kept by even distances. Of what was missed, so much is caught up at once: a timer is never quite exact."""
_UNITS_S = {"s": 1.0, "m": 60.0, "h": 3600.0}
_RATE = re.compile(r"(\d+)\s*/\s*([smh])")


def seconds_between(rate: str) -> float:
    """Of `50/s`, `20/m` or `100/h`. Raises ValueError."""
    found = _RATE.fullmatch(rate.strip())
    if found is None or int(found[1]) < 1:
        raise ValueError(f"a rate is written '50/s', '20/m' or '100/h', but is '{rate}'")
    return _UNITS_S[found[2]] / int(found[1])


class Waiting(NamedTuple):
    handler: Handler
    command: ReceivedCommand
    entry: Entry


@dataclass(slots=True)
class Limit:
    """What one type may do, and what of it waits, in the order in which it came."""

    running_max: float
    distance_s: float
    running: int = 0
    next_at_s: float = 0.0

    def allows_at(self, now_s: float) -> bool:
        return self.running < self.running_max and self.next_at_s <= now_s

    def begun(self, now_s: float) -> None:
        self.running += 1
        self.next_at_s = max(self.next_at_s, now_s - CAUGHT_UP_S_MAX) + self.distance_s


class Limits:
    """All types of a worker that have limits, and the commands that wait, of any type."""

    def __init__(self, handlers: Iterable[Handler], now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self._limits = {
            handler.command_type: Limit(handler.concurrency or float("inf"), handler.seconds_between)
            for handler in handlers
            if handler.is_limited
        }
        self._waiting: dict[str, dict[CommandId, Waiting]] = {}
        self._turns: deque[str] = deque()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __contains__(self, command: ReceivedCommand) -> bool:
        return command.id in self._waiting.get(command.type, ())

    def may_begin(self, command_type: str) -> bool:
        """Whether a command of this type may begin now, others of it not waiting before it."""
        limit = self._limits.get(command_type)
        return command_type not in self._waiting and (limit is None or limit.allows_at(self._now_s()))

    def begun(self, command_type: str) -> None:
        if (limit := self._limits.get(command_type)) is not None:
            limit.begun(self._now_s())

    def ended(self, command_type: str) -> None:
        if (limit := self._limits.get(command_type)) is not None:
            limit.running -= 1

    def wait(self, waiting: Waiting) -> None:
        command = waiting.command
        if command.type not in self._waiting:
            self._waiting[command.type] = {}
            self._turns.append(command.type)
        self._waiting[command.type][command.id] = waiting
        self._count += 1

    def next(self) -> Waiting | None:
        """One that may begin now; the types take turns. None where there is none."""
        now_s = self._now_s()
        for _ in range(len(self._turns)):
            command_type = self._turns[0]
            self._turns.rotate(-1)
            limit = self._limits.get(command_type)
            if limit is None or limit.allows_at(now_s):
                first = next(iter(self._waiting[command_type].values()))
                self.drop(first.command)
                return first
        return None

    def drop(self, command: ReceivedCommand) -> Waiting:
        """It waits no more."""
        of_type = self._waiting[command.type]
        dropped = of_type.pop(command.id)
        self._count -= 1
        if not of_type:
            del self._waiting[command.type]
            self._turns.remove(command.type)
        return dropped

    def find(self, command_id: CommandId) -> Waiting | None:
        return next((found for of_type in self._waiting.values() if (found := of_type.get(command_id))), None)

    def clear(self) -> list[Waiting]:
        """Nobody waits any more; who did."""
        waited = [waiting for of_type in self._waiting.values() for waiting in of_type.values()]
        self._waiting, self._count = {}, 0
        self._turns.clear()
        return waited

    def next_in_s(self) -> float | None:
        """When the earliest of those that only wait for their rate may begin; None where none does."""
        soonest = [
            limit.next_at_s
            for command_type in self._waiting
            if (limit := self._limits.get(command_type)) is not None and limit.running < limit.running_max
        ]
        return max(0.0, min(soonest) - self._now_s()) if soonest else None
