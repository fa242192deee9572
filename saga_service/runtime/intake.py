"""Where everything that comes in waits for a lane.

Each source has an inlet with room for so much and no more, and reads only what there is room for: nothing is fetched
that nobody has time for. A lane takes from the inlets in the order of their priority (what goes on comes before what
begins), so that under load sagas end before new ones start.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable

from saga_service.engine.engine import Item


class Inlet:
    def __init__(self, intake: Intake, items_max: int) -> None:
        self.waiting: deque[Item] = deque()
        self._intake = intake
        self._items_max = items_max
        self._has_room = asyncio.Event()
        self._has_room.set()

    async def room(self) -> int:
        """How many items it takes now; waits until it takes any, and is 0 only once the intake fills no more."""
        while not self._intake.is_closing:
            free = self._items_max - len(self.waiting)
            if free > 0:
                return free
            self._has_room.clear()
            await self._has_room.wait()
        return 0

    def put(self, items: Iterable[Item]) -> None:
        self.waiting.extend(items)
        self._intake.wake_a_lane()

    def wake_its_source(self) -> None:
        self._has_room.set()


class Intake:
    def __init__(self) -> None:
        self.is_closing = False
        self._inlets: list[Inlet] = []
        self._filled = asyncio.Event()
        self._is_closed = False

    def inlet(self, items_max: int) -> Inlet:
        """A new inlet; those made earlier go first."""
        inlet = Inlet(self, items_max)
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
        items: list[Item] = []
        for inlet in self._inlets:
            while inlet.waiting and len(items) < count_max:
                items.append(inlet.waiting.popleft())
            inlet.wake_its_source()
        return items
