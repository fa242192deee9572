"""An event loop in virtual time: `asyncio.sleep(60)` returns at once, and the loop's clock is a minute further.

Where tasks only wait for time to pass, the loop puts its clock forward instead of waiting. Sockets and threads are
really waited for, and no virtual time passes meanwhile.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from typing import Any, TypeVar, TypeVarTuple

SOCKETS_WAIT_S = 1.0
"""The longest real wait for sockets before virtual time goes on, since an idle socket never becomes ready."""
TURNS_MAX = 100_000
"""The most turns of the loop without any time passing. More of them mean a handler that never waits."""

T = TypeVar("T")
Arguments = TypeVarTuple("Arguments")


class NeverEnds(Exception):
    """Something repeats without end. The text says what."""


def run_virtually(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """The coroutine's result. In an async test the test's own loop stands still meanwhile."""
    if _in_a_loop():
        with ThreadPoolExecutor(max_workers=1) as thread:
            return thread.submit(copy_context().run, _run, work).result()
    return _run(work)


def _in_a_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _run(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(work())


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose `time` begins at 0 and passes without waiting."""

    def __init__(self) -> None:
        self._passed_s = 0.0
        self._selector_of_time = _PassingSelector(self._pass)
        super().__init__(self._selector_of_time)
        self._selector_of_time.own_sockets = len(self._selector_of_time.get_map())

    def time(self) -> float:
        return self._passed_s

    def _pass(self, seconds: float) -> None:
        self._passed_s += seconds

    def run_in_executor(
        self,
        executor: Executor | None,
        func: Callable[[*Arguments], T],
        *args: *Arguments,
    ) -> asyncio.Future[T]:
        running = super().run_in_executor(executor, func, *args)
        self._selector_of_time.threads += 1
        running.add_done_callback(lambda _: self._selector_of_time.a_thread_ended())
        return running

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        with self._selector_of_time.waiting_for_a_thread():
            await super().shutdown_default_executor()


class _PassingSelector(selectors.DefaultSelector):
    """A selector that lets virtual time pass instead of waiting, unless a socket or a thread is waited for."""

    def __init__(self, passes: Callable[[float], None]) -> None:
        super().__init__()
        self._passes = passes
        self._turns = 0
        self.own_sockets = 0
        self.threads = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(self._really_waits_s(timeout))
        if ready or timeout is None or timeout <= 0:
            self._count_turn()
            return ready
        if not self.threads:
            self._turns = 0
            self._passes(timeout)
        return []

    def _really_waits_s(self, timeout: float | None) -> float | None:
        if timeout is None or (self.threads and timeout > 0):
            return None
        has_sockets = len(self.get_map()) > self.own_sockets
        return min(timeout, SOCKETS_WAIT_S) if has_sockets else 0

    def _count_turn(self) -> None:
        self._turns += 1
        if self._turns > TURNS_MAX:
            self._turns = 0
            raise NeverEnds(f"a handler went on for {TURNS_MAX:,} turns of the event loop, and no time passed")

    def a_thread_ended(self) -> None:
        self.threads -= 1

    @contextmanager
    def waiting_for_a_thread(self) -> Iterator[None]:
        self.threads += 1
        try:
            yield
        finally:
            self.a_thread_ended()
