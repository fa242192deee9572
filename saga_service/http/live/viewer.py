"""A viewer: one open stream of events, with what it was told and has not sent yet.

The reader tells all viewers and waits for none. One that takes in less than it is told is dropped, and costs the others
nothing: it goes on from its `Last-Event-ID`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from saga_service.admin.payloads import PayloadView
from saga_service.http.live.server_sent_events import BEHIND

WAITING_BYTES_MAX = 1024 * 1024
"""What a viewer may have been told and not have sent. Texts are shared by all who are told them."""


class Viewer:
    """What a stream of events is told. `payloads` is what its caller sees."""

    def __init__(self, payloads: PayloadView) -> None:
        self.payloads = payloads
        self.is_over = False
        self._texts: list[bytes] = []
        self._bytes = 0
        self._woken = asyncio.Event()

    def tell(self, text: bytes) -> None:
        """Send this when the stream has room for it, or end the stream where too much waits already."""
        if self.is_over or not text:
            return
        self._texts.append(text)
        self._bytes += len(text)
        if self._bytes > WAITING_BYTES_MAX:
            self._texts.clear()
            self.end(BEHIND)
        self._woken.set()

    def end(self, last: bytes = b"") -> None:
        """End the stream once what waits is sent, and this."""
        if not self.is_over:
            self._texts.append(last)
            self.is_over = True
            self._woken.set()

    async def told(self) -> AsyncIterator[bytes]:
        """Whatever waits, as one text, until the stream ends."""
        while True:
            await self._woken.wait()
            self._woken.clear()
            text, self._bytes = b"".join(self._texts), 0
            self._texts.clear()
            is_over = self.is_over
            if text:
                yield text
            if is_over:
                return
