"""What a handler may know of the command that it carries out, beyond the data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import structlog
from structlog.typing import FilteringBoundLogger

from saga_service.core.vocabulary import Direction
from saga_service.wire.commands import OUTPUTS_FIELD, ReceivedCommand


class StepContext:
    """The command's circumstances, for the time that its handler runs."""

    __slots__ = ("_command", "_logger", "_report_progress")

    def __init__(self, command: ReceivedCommand, report_progress: Callable[[ReceivedCommand], None]) -> None:
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
        """Whether the step is to be done or undone."""
        return self._command.direction

    @property
    def attempt(self) -> int:
        """1 at the first try; the two directions count apart."""
        return self._command.attempt

    @property
    def command_id(self) -> str:
        """Different for each attempt, the same for a repeated delivery of one."""
        return self._command.id

    @property
    def idempotency_key(self) -> str:
        """The same over all attempts of this step and direction: give it to a provider, so that it knows a repeat."""
        return self._command.idempotency_key

    @property
    def deadline(self) -> datetime:
        """When the saga gives up on this attempt, in UTC.

        A second later a handler that still runs is cancelled: `asyncio.CancelledError` comes up where it waits, and it
        has a second to clean up. What it returns then is still sent; otherwise there is no reply, and to the saga the
        outcome is unknown. A handler that goes on all the same is abandoned. One that never waits (a computation, a
        call that is not async) cannot be cancelled.
        """
        return datetime.fromtimestamp(self._command.deadline_ms / 1000, UTC)

    @property
    def remaining_seconds(self) -> float:
        """Until the deadline, by this machine's clock; 0 when it has passed: the handler is cancelled any moment."""
        return max(0.0, self._command.deadline_ms / 1000 - datetime.now(UTC).timestamp())

    @property
    def outputs(self) -> Mapping[str, Any]:
        """What earlier steps returned, by step name; in a compensation, its own action's result as well."""
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
        """Tell the saga that the work goes on.

        It does not wait for Redis; calls that come faster than they can be sent count as one. It keeps a saga that
        waits for signs of life from counting this attempt as lost; the deadline stays where it is.
        """
        self.progress_now()

    def progress_now(self) -> None:
        """The same, for callers that are not async."""
        self._report_progress(self._command)
