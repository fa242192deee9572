"""The context of a handler's call: the command's ids, deadline and logger, and signs of life."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import structlog
from structlog.typing import FilteringBoundLogger

from saga_service.base import clock
from saga_service.core.vocabulary import Direction
from saga_service.wire.commands import OUTPUTS_FIELD, ReceivedCommand


class StepContext:
    """The context of one command, for as long as its handler runs."""

    __slots__ = ("_command", "_logger", "_now_ms", "_report_progress")

    def __init__(
        self,
        command: ReceivedCommand,
        report_progress: Callable[[ReceivedCommand], None],
        now_ms: Callable[[], int] = clock.now_ms,
    ) -> None:
        self._now_ms = now_ms
        self._command = command
        self._report_progress = report_progress
        self._logger: FilteringBoundLogger | None = None

    @property
    def saga_id(self) -> str:
        return self._command.saga_id

    @property
    def saga(self) -> str:
        """The saga's name, as its definition has it."""
        return self._command.saga

    @property
    def step(self) -> str:
        return self._command.step

    @property
    def direction(self) -> Direction:
        """The direction of the step: `action`, `compensation` or `probe`."""
        return self._command.direction

    @property
    def attempt(self) -> int:
        """The number of this attempt, 1 for the first; each direction counts its own."""
        return self._command.attempt

    @property
    def command_id(self) -> str:
        """The command's id: different for each attempt, equal for a redelivery of one."""
        return self._command.id

    @property
    def idempotency_key(self) -> str:
        """A key that all attempts of this step and direction share, by which a provider can tell a repeat."""
        return self._command.idempotency_key

    @property
    def deadline(self) -> datetime:
        """The moment at which the saga gives up on this attempt, in UTC.

        A second later a handler that still runs is cancelled: `asyncio.CancelledError` is raised where it waits, and it
        has a second to clean up. A result that it returns then is still sent; otherwise there is no reply, and the
        outcome is unknown to the saga. A handler that ignores the cancellation is abandoned. A handler that never waits
        (a computation, a call that is not async) cannot be cancelled.
        """
        return datetime.fromtimestamp(self._command.deadline_ms / 1000, UTC)

    @property
    def remaining_seconds(self) -> float:
        """The time until the deadline, by Redis' clock; 0 once it has passed."""
        return max(0.0, (self._command.deadline_ms - self._now_ms()) / 1000)

    @property
    def outputs(self) -> Mapping[str, Any]:
        """The results of earlier steps, by step name; in a compensation, its own action's result as well."""
        outputs = self._command.data.get(OUTPUTS_FIELD)
        return outputs if isinstance(outputs, dict) else {}

    @property
    def traceparent(self) -> str | None:
        """The W3C trace context that the saga was started with."""
        return self._command.traceparent

    @property
    def logger(self) -> FilteringBoundLogger:
        """A structlog logger that names saga, step and command in every line."""
        # Made at first use: most commands never log.
        if self._logger is None:
            command = self._command
            self._logger = structlog.get_logger("saga_service.worker").bind(
                saga_id=command.saga_id,
                saga=command.saga,
                step=command.step,
                command_id=command.id,
                direction=command.direction.value,
                attempt=command.attempt,
            )
        return self._logger

    async def progress(self) -> None:
        """Send the saga a sign of life, which keeps it from counting this attempt as lost.

        The call does not wait for Redis; calls that come faster than they can be sent count as one. The deadline stays
        where it is.
        """
        self.progress_now()

    def progress_now(self) -> None:
        """Send the saga a sign of life, from code that is not async; see `progress`."""
        self._report_progress(self._command)
