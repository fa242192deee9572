"""What a worker does, counted."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from saga_service.base.clock import now_ms
from saga_service.metrics import declarations
from saga_service.metrics.measurements import Measurements
from saga_service.wire.commands import ReceivedCommand
from saga_service.wire.entries import Entry, Message
from saga_service.wire.replies import outcome_of
from saga_service.worker.observer import ObserverOf

NO_REPLY = "none"


class WorkerMetrics:
    """Fulfils `worker.observer.WorkerObserver`, for the worker of one service."""

    def __init__(self, measurements: Measurements, service: str) -> None:
        self._measurements = measurements
        self._service = service
        self._of_service = (service,)
        self._commands = measurements.counter(declarations.COMMANDS)
        self._duration = measurements.histogram(declarations.HANDLER_DURATION)
        self._wait = measurements.histogram(declarations.COMMAND_WAIT).series_of(self._of_service)
        self._leases_lost = measurements.counter(declarations.LEASES_LOST)
        self._replies_retried = measurements.counter(declarations.REPLIES_RETRIED)
        self._inbox_answers = measurements.counter(declarations.INBOX_ANSWERS)
        self._leases_lost[self._of_service] = self._replies_retried[self._of_service] = 0

    def began(self, command: ReceivedCommand, entry: Entry) -> None:
        added_ms = int(entry.id.partition("-")[0])
        self._wait.add((now_ms() - added_ms) / 1000)

    def ended(self, command: ReceivedCommand, reply: Message | None, seconds: float) -> None:
        outcome = NO_REPLY if reply is None else outcome_of(reply)
        self._commands[self._service, command.type, outcome] += 1
        self._duration.observe((self._service, command.type), seconds)

    def leases_lost(self, commands: int) -> None:
        self._leases_lost[self._of_service] += commands

    def replies_retried(self, replies: int) -> None:
        self._replies_retried[self._of_service] += replies

    def inbox_answered(self, decision: str) -> None:
        self._inbox_answers[self._service, decision] += 1

    def look_at(self, in_hand: Callable[[], int], slots: int, replies_waiting: Callable[[], int]) -> None:
        gauge = self._measurements.labelled_gauge
        gauge(declarations.IN_HAND, lambda: [(self._of_service, in_hand())])
        gauge(declarations.SLOTS, lambda: [(self._of_service, slots)])
        gauge(declarations.REPLIES_WAITING, lambda: [(self._of_service, replies_waiting())])


def worker_metrics(measurements: Measurements | None) -> ObserverOf | None:
    """What makes an observer for each worker; None where nothing is measured."""
    return None if measurements is None else partial(WorkerMetrics, measurements)
