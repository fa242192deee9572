"""The queue in which everything that comes in waits for a lane.

Each source has an inlet of limited size, and reads only what there is room for, so that entries that would have to
wait are left to other replicas. A lane takes from the inlets in the order of their priority (what goes on comes before
what begins), so that under load sagas end before new ones start.

Inlets and batches are limited in bytes as well as in number, because a few entries can be as large as thousands of
others. Redis is asked for entries by their number alone, so an inlet tells its source how many have room if they are
as large as those that came last: it holds too much by one read at the most, and asks for few as long as large ones
come.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from saga_service.base.lifecycle import Milestone, Shutdown
from saga_service.base.liveness import moved, waiting
from saga_service.engine.batch import Item
from saga_service.wire.entries import Entry


def _size_bytes(item: Item) -> int:
    """The size that counts towards the limits. Events that came by no entry are small, and count nothing."""
    return item.size_bytes if isinstance(item, Entry) else 0


class _Taken:
    """The items of one take, and the room that is left in it."""

    def __init__(self, count_max: int, bytes_max: int) -> None:
        self.items: list[Item] = []
        self._count_max = count_max
        self._bytes_left = bytes_max

    def has_room_for(self, size_bytes: int) -> bool:
        """An item that is larger than the limit has room if it is the only one."""
        return len(self.items) < self._count_max and (size_bytes <= self._bytes_left or not self.items)

    def add(self, item: Item, size_bytes: int) -> None:
        self.items.append(item)
        self._bytes_left -= size_bytes


class Inlet:
    """The part of the intake that one source fills."""

    def __init__(self, intake: Intake, items_max: int, bytes_max: int, shutdown: Shutdown) -> None:
        self.full = Milestone()
        self.waiting: deque[Item] = deque()
        self._intake = intake
        self._items_max = items_max
        self._bytes_max = bytes_max
        self._shutdown = shutdown
        self._waiting_bytes = 0
        self._expected_bytes = 0
        self._has_room = shutdown.wakes(asyncio.Event())

    async def room(self) -> int:
        """How many items fit now, if they are as large as those that came last; waits until any fit.

        It is 0 only once shutdown was requested.
        """
        moved()
        while not self._shutdown:
            free = self._free()
            if free > 0:
                return free
            self._has_room.clear()
            self.full.reached()
            with waiting():
                await self._has_room.wait()
        return 0

    def put(self, items: Iterable[Item]) -> None:
        """Add items and wake the lanes. The limits bind callers of `room`; nothing is refused here."""
        sizes_bytes = []
        for item in items:
            self.waiting.append(item)
            sizes_bytes.append(_size_bytes(item))
        self._waiting_bytes += sum(sizes_bytes)
        # The largest, not the mean: one read of many small entries and some large ones must not be taken for small.
        self._expected_bytes = max(sizes_bytes, default=self._expected_bytes)
        self._intake.wake_lanes()

    def move_to(self, taken: _Taken) -> None:
        """Move items from the front, as long as there is room, and wake the source."""
        while self.waiting and taken.has_room_for(size_bytes := _size_bytes(self.waiting[0])):
            taken.add(self.waiting.popleft(), size_bytes)
            self._waiting_bytes -= size_bytes
        self._has_room.set()

    def _free(self) -> int:
        free_bytes = self._bytes_max - self._waiting_bytes
        if free_bytes <= 0:
            return 0
        return min(self._items_max - len(self.waiting), max(1, free_bytes // max(1, self._expected_bytes)))


class Intake:
    """`bytes_max` bounds one take, and what waits in one inlet.

    The sources end on `shutdown`. The lanes end on a shutdown of their own, `drained`, which is requested when the
    last source has ended: until then a source may still bring what it has read.
    """

    def __init__(self, bytes_max: int, shutdown: Shutdown) -> None:
        self.idle = Milestone()
        self.drained = Shutdown()
        self._bytes_max = bytes_max
        self._shutdown = shutdown
        self._inlets: list[Inlet] = []
        self._filled = self.drained.wakes(asyncio.Event())

    def inlet(self, items_max: int) -> Inlet:
        """A new inlet; lanes take from those that were made earlier first."""
        inlet = Inlet(self, items_max, self._bytes_max, self._shutdown)
        self._inlets.append(inlet)
        return inlet

    async def take(self, count_max: int) -> list[Item]:
        """Up to `count_max` items as soon as there are any; none only once `drained` is requested and all is taken."""
        moved()
        while True:
            items = self._take_now(count_max)
            if items or self.drained:
                return items
            self._filled.clear()
            self.idle.reached()
            with waiting():
                await self._filled.wait()

    @property
    def waiting(self) -> int:
        """How many items wait for a lane."""
        return sum(len(inlet.waiting) for inlet in self._inlets)

    def wake_lanes(self) -> None:
        self._filled.set()

    def _take_now(self, count_max: int) -> list[Item]:
        taken = _Taken(count_max, self._bytes_max)
        for inlet in self._inlets:
            inlet.move_to(taken)
        return taken.items


@dataclass(frozen=True, slots=True)
class Inlets:
    """The inlets of the intake, in the order in which lanes take from them.

    What begins sagas comes last: those that run are kept moving however many starts pile up.
    """

    replies: Inlet
    timers: Inlet
    requests: Inlet
    beginnings: tuple[Inlet, ...]
