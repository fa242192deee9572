"""Where everything that comes in waits for a lane.

Each source has an inlet with room for so much and no more, and reads only what there is room for: nothing is fetched
that nobody has time for. A lane takes from the inlets in the order of their priority (what goes on comes before what
begins), so that under load sagas end before new ones start.

Both are limited in bytes as well as in number, for a few entries can be as large as thousands of others. Redis is asked
for entries by their number alone, so an inlet tells its source how many have room if they are as large as those that
came last: it holds too much by one read at the most, and asks for few as long as large ones come.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable

from saga_service.engine.decode import Item
from saga_service.wire.entries import Entry


def _size_bytes(item: Item) -> int:
    """What counts towards the limits. Events that came by no entry are small."""
    return item.size_bytes if isinstance(item, Entry) else 0


class _Taken:
    """What one take comes to."""

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
    def __init__(self, intake: Intake, items_max: int, bytes_max: int) -> None:
        self.waiting: deque[Item] = deque()
        self._intake = intake
        self._items_max = items_max
        self._bytes_max = bytes_max
        self._waiting_bytes = 0
        self._expected_bytes = 0
        self._has_room = asyncio.Event()
        self._has_room.set()

    async def room(self) -> int:
        """How many items it takes now, if they are as large as those that came last; waits until it takes any, and is
        0 only once the intake fills no more."""
        while not self._intake.is_closing:
            free = self._free()
            if free > 0:
                return free
            self._has_room.clear()
            await self._has_room.wait()
        return 0

    def put(self, items: Iterable[Item]) -> None:
        sizes_bytes = []
        for item in items:
            self.waiting.append(item)
            sizes_bytes.append(_size_bytes(item))
        self._waiting_bytes += sum(sizes_bytes)
        # The largest, not the mean: one read of many small entries and some large ones must not be taken for small.
        self._expected_bytes = max(sizes_bytes, default=self._expected_bytes)
        self._intake.wake_a_lane()

    def move_to(self, taken: _Taken) -> None:
        """From the front, as long as there is room."""
        while self.waiting and taken.has_room_for(size_bytes := _size_bytes(self.waiting[0])):
            taken.add(self.waiting.popleft(), size_bytes)
            self._waiting_bytes -= size_bytes

    def wake_its_source(self) -> None:
        self._has_room.set()

    def _free(self) -> int:
        free_bytes = self._bytes_max - self._waiting_bytes
        if free_bytes <= 0:
            return 0
        return min(self._items_max - len(self.waiting), max(1, free_bytes // max(1, self._expected_bytes)))


class Intake:
    """`bytes_max` bounds what one take comes to, and what waits in one inlet."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self.is_closing = False
        self._inlets: list[Inlet] = []
        self._filled = asyncio.Event()
        self._is_closed = False

    def inlet(self, items_max: int) -> Inlet:
        """A new inlet; those made earlier go first."""
        inlet = Inlet(self, items_max, self._bytes_max)
        self._inlets.append(inlet)
        return inlet

    async def take(self, count_max: int) -> list[Item]:
        """Up to so many items as soon as there are any; none only once the intake is closed and empty."""
        while True:
            items = self._take_now(count_max)
            if items or self._is_closed:
                return items
            self._filled.clear()
            await self._filled.wait()

    def wake_a_lane(self) -> None:
        self._filled.set()

    def fill_no_more(self) -> None:
        """Sources that wait for room are let go; what is in stays to be taken."""
        self.is_closing = True
        for inlet in self._inlets:
            inlet.wake_its_source()

    def close(self) -> None:
        """All sources have ended: once it is empty, the lanes end too."""
        self._is_closed = True
        self._filled.set()

    def _take_now(self, count_max: int) -> list[Item]:
        taken = _Taken(count_max, self._bytes_max)
        for inlet in self._inlets:
            inlet.move_to(taken)
            inlet.wake_its_source()
        return taken.items
