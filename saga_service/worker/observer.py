"""What a worker tells an observer: the commands that it carries out, and what goes wrong beside them. Metrics are made
of it; the worker counts nothing itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from saga_service.wire.commands import ReceivedCommand
from saga_service.wire.entries import Entry, Message


class WorkerObserver(Protocol):
    """Whoever is told of what one worker does. Nothing of it may raise."""

    def began(self, command: ReceivedCommand, entry: Entry) -> None:
        """A handler is about to be called."""
        ...

    def ended(self, command: ReceivedCommand, reply: Message | None, seconds: float) -> None:
        """A handler is over after so many seconds; its reply, None where there is none."""
        ...

    def leases_lost(self, commands: int) -> None:
        """Commands in hand here are another worker's by now, or are gone with their stream."""
        ...

    def replies_retried(self, replies: int) -> None:
        """Redis failed, and these replies are sent again."""
        ...

    def inbox_answered(self, decision: str) -> None:
        """The inbox answered a command in its handler's place, by this decision."""
        ...

    def look_at(self, in_hand: Callable[[], int], slots: int, replies_waiting: Callable[[], int]) -> None:
        """The worker is about to run: its present load is told by these functions, whenever they are called."""
        ...


class NoWorkerObserver:
    """An observer that takes note of nothing."""

    def began(self, command: ReceivedCommand, entry: Entry) -> None: ...

    def ended(self, command: ReceivedCommand, reply: Message | None, seconds: float) -> None: ...

    def leases_lost(self, commands: int) -> None: ...

    def replies_retried(self, replies: int) -> None: ...

    def inbox_answered(self, decision: str) -> None: ...

    def look_at(self, in_hand: Callable[[], int], slots: int, replies_waiting: Callable[[], int]) -> None: ...


ObserverOf = Callable[[str], WorkerObserver]
"""The observer of the worker of a service."""
