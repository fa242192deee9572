"""The word that it is time to stop, and waiting with an ear for it."""

from __future__ import annotations

import asyncio


class Shutdown:
    """Said once, heard by every loop."""

    def __init__(self, event: asyncio.Event | None = None) -> None:
        self._event = event or asyncio.Event()

    def __bool__(self) -> bool:
        return self._event.is_set()

    def say(self) -> None:
        self._event.set()

    async def wait(self) -> None:
        await self._event.wait()

    async def pause(self, seconds: float) -> None:
        """Wait so long, or until it is time to stop."""
        try:
            async with asyncio.timeout(seconds):
                await self._event.wait()
        except TimeoutError:
            return
