"""Noticing that a handler blocks the event loop: a computation, or a call that is not async.

Nothing else of the process runs meanwhile: no other handler, no sign of life, no renewal of leases. A thread looks on.
The event loop moves a mark a few times a second; where the mark stands still, the thread notes which task runs and at
which line. When the loop turns again, one warning tells of it. While all goes well that costs a timer.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import NamedTuple

from structlog.typing import FilteringBoundLogger

from saga_service.base.liveness import waiting

MARK_EVERY_S = 0.25
BLOCKED_S = 1.0
"""How long the loop may stand still without a word."""
_PACKAGES = ("site-packages", "dist-packages")
_STANDARD_LIBRARY = os.path.dirname(os.__file__) + os.sep


class _Culprit(NamedTuple):
    handler: str
    place: str


class LoopWatch:
    """Watches the running event loop. `name_of` returns the name of a task's handler, None for any other task."""

    def __init__(self, name_of: Callable[[asyncio.Task[object]], str | None], log: FilteringBoundLogger) -> None:
        self._name_of = name_of
        self._log = log
        self._marked_at_s = time.monotonic()
        self._culprit: _Culprit | None = None
        self._over = threading.Event()

    async def run(self) -> None:
        """Watch until cancelled."""
        thread = threading.Thread(
            target=self._look_on,
            args=(asyncio.get_running_loop(), threading.get_ident()),
            name="saga_service loop watch",
            daemon=True,
        )
        self._marked_at_s = time.monotonic()
        thread.start()
        try:
            while True:
                with waiting():
                    await asyncio.sleep(MARK_EVERY_S)
                self._mark()
        finally:
            self._over.set()

    def _mark(self) -> None:
        now_s = time.monotonic()
        blocked_s, self._marked_at_s = now_s - self._marked_at_s - MARK_EVERY_S, now_s
        culprit, self._culprit = self._culprit, None
        # Without a culprit the whole process stood still (a paused machine), or it was no handler.
        if culprit is not None and blocked_s > BLOCKED_S:
            self._log.warning(
                f"handler '{culprit.handler}' blocked the event loop for {blocked_s:.1f} s, and no other command went"
                " on meanwhile: make the call async, or use asyncio.to_thread(...)",
                at=culprit.place,
            )

    def _look_on(self, loop: asyncio.AbstractEventLoop, thread_id: int) -> None:
        while not self._over.wait(BLOCKED_S / 2):
            if self._culprit is None and time.monotonic() - self._marked_at_s > MARK_EVERY_S + BLOCKED_S:
                # The handler may be forgotten by the time the loop turns again, so it is named now.
                task, frame = asyncio.current_task(loop), sys._current_frames().get(thread_id)
                handler = None if task is None else self._name_of(task)
                if handler is not None and frame is not None:
                    self._culprit = _Culprit(handler, _place(frame))


def _place(frame: FrameType) -> str:
    """Return where the author's code stands: the nearest line that is not of an installed package or of Python."""
    at: FrameType | None = frame
    while at is not None and _is_of_others(at.f_code.co_filename):
        at = at.f_back
    shown = at or frame
    return f"{shown.f_code.co_filename}:{shown.f_lineno}"


def _is_of_others(file: str) -> bool:
    # Not by Python's prefix: that may be a folder which has the author's code too.
    return file.startswith(("<", _STANDARD_LIBRARY)) or any(folder in file for folder in _PACKAGES)
