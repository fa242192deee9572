"""A worker's handler carried out in virtual time, as a worker process would: its deadline, its heartbeats, its one
reply.

The inbox has its rows in memory, and its decisions are the real inbox's. Handlers of a simulation run one after the
other, so no other command comes between a mark and its result.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from saga_service.core.ids import SagaId
from saga_service.core.vocabulary import Direction, Outcome
from saga_service.testing.virtual_loop import run_virtually
from saga_service.wire.commands import ReceivedCommand
from saga_service.wire.entries import Message
from saga_service.worker.context import StepContext
from saga_service.worker.errors import Rejected
from saga_service.worker.execution import ExactlyOnce, body_of, execute, failure, success
from saga_service.worker.inbox.deduplication import (
    NO_RECORD,
    Attempt,
    Decision,
    Row,
    Run,
    after_rejection,
    after_success,
    decide,
    reply_to,
)
from saga_service.worker.lease import CANCELLED_HANDLER_WAIT_S, DEADLINE_GRACE_MS
from saga_service.worker.options import WorkerOptions
from saga_service.worker.registration import Handler


class MemoryExactlyOnce:
    """Fulfils `worker.execution.ExactlyOnce`. `connection` is what transactional handlers are given."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._rows: dict[tuple[SagaId, str], Row] = {}

    async def carry_out(
        self, handler: Handler, command: ReceivedCommand, argument: object, context: StepContext, reply_bytes_max: int
    ) -> Message | None:
        async def call() -> Message:
            connection = self._connection if handler.takes_connection else None
            return success(command, await handler.call(argument, context, connection), reply_bytes_max)

        if command.direction is Direction.PROBE and not handler.answers_probes:
            return await call()
        place = (command.saga_id, command.step)
        absence_is_proof = handler.absence_is_proof(command)
        attempt = Attempt(command.direction, command.attempt, command.deadline_ms, absence_is_proof)
        before = self._rows.get(place, NO_RECORD)
        decided = decide(before, attempt)
        if decided.decision is not Decision.RUN:
            self._rows[place] = decided.row
            return reply_to(command, decided.decision, decided.row)
        if not handler.takes_connection:
            # Of a transactional one mark and result are one commit: one that dies leaves nothing behind.
            self._rows[place] = decided.row
        run = Run(attempt, before)
        try:
            reply = await call()
        except Rejected as error:
            rejection = body_of(failure(command, Outcome.REJECTED, error.code, error.message))
            self._rows[place] = after_rejection(decided.row, run, rejection).row
            raise
        self._rows[place] = after_success(decided.row, run, body_of(reply)).row
        return reply


_REPLY_BYTES_MAX = WorkerOptions(consumer_name="simulated").reply_bytes_max


@dataclass(slots=True)
class Handled:
    """The result of one command. Times are counted from its delivery."""

    reply: Message | None = None
    """None where the handler did not answer in time, so that its effect is in doubt."""
    took_ms: int = 0
    heartbeats_ms: list[int] = field(default_factory=list)


class VirtualContext(StepContext):
    """The handler's context, with the simulation's time in the place of the machine's."""

    __slots__ = ("_began_ms", "_virtual")

    def __init__(
        self, command: ReceivedCommand, report_progress: Callable[[ReceivedCommand], None], began_ms: int
    ) -> None:
        super().__init__(command, report_progress)
        self._virtual = command
        self._began_ms = began_ms

    @property
    def remaining_seconds(self) -> float:
        return max(0.0, (self._virtual.deadline_ms - self._began_ms) / 1000 - asyncio.get_running_loop().time())


def carry_out(handler: Handler, command: ReceivedCommand, now_ms: int, exactly_once: ExactlyOnce | None) -> Handled:
    """Run the handler to its end. What it raises becomes its reply. Raises NeverEnds."""
    return run_virtually(lambda: _carry_out(handler, command, now_ms, exactly_once))


async def _carry_out(
    handler: Handler, command: ReceivedCommand, now_ms: int, exactly_once: ExactlyOnce | None
) -> Handled:
    handled, asked_to_end = Handled(), asyncio.Event()

    def beat(_: object = None) -> None:
        handled.heartbeats_ms.append(_passed_ms())

    context = VirtualContext(command, beat, now_ms)
    work = execute(handler, command, context, _REPLY_BYTES_MAX, lambda _: asked_to_end.is_set(), exactly_once)
    task = asyncio.create_task(work)
    await asyncio.wait([task], timeout=(command.deadline_ms + DEADLINE_GRACE_MS - now_ms) / 1000)
    if not task.done():
        asked_to_end.set()
        task.cancel()
        await asyncio.wait([task], timeout=CANCELLED_HANDLER_WAIT_S)
    handled.took_ms = _passed_ms()
    if task.done() and not task.cancelled():
        handled.reply = task.result()
    return handled


def _passed_ms() -> int:
    return round(asyncio.get_running_loop().time() * 1000)
