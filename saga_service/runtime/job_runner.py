"""Jobs that people have confirmed, carried on: one operation on many sagas or dead letters.

A replica takes a turn of each running job again and again: it notes the answers that have come, and requests what comes
next. Only so many requests are open at once, so that sagas that nobody operates have their turn beside them. Nothing of
a job is in one process's memory, so any replica goes on with it after a crash.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import structlog

from saga_service.base.clock import Backoff
from saga_service.base.lifecycle import Milestone, Shutdown
from saga_service.engine.failures import StoreUnavailable
from saga_service.engine.ports import Jobs, JobTurn, LetterOperation
from saga_service.wire.encryption import DecryptionFailed
from saga_service.wire.transport import TransportError

log = structlog.get_logger(__name__)
LOOK_PERIOD_S = 1.0
"""How often a replica looks for a job, while it knows of none."""
TURN_PAUSE_S = 0.1
"""The wait between two turns of one job, for the answers to what was requested."""
OPEN_MAX = 500
"""Requests of all jobs that are open at once, at most: one batch has them all, and other entries come with the next."""


class LetterReplay(Protocol):
    """Puts dead letters back where they came from."""

    async def put_back(self, turn: JobTurn, now_ms: int) -> None:
        """Put back those of the turn, and note what became of each.

        Raises TransportError where Redis does not do its part, and StoreUnavailable.
        """
        ...


class JobRunner:
    """`period_s` is the time between two looks for a job. At most `open_max` requests are open at once."""

    def __init__(
        self,
        jobs: Jobs,
        letters: LetterReplay,
        *,
        period_s: float = LOOK_PERIOD_S,
        open_max: int = OPEN_MAX,
        now_ms: Callable[[], int],
        shutdown: Shutdown,
    ) -> None:
        self.name = "jobs"
        self.started = Milestone()
        self._jobs = jobs
        self._letters = letters
        self._period_s = period_s
        self._open_max = open_max
        self._now_ms = now_ms
        self._shutdown = shutdown
        self._backoff = Backoff()

    async def run(self) -> None:
        self.started.reached()
        while not self._shutdown:
            await self._shutdown.pause(await self._round())

    async def _round(self) -> float:
        """Carry on every job whose turn it is; the wait before the next round, in seconds."""
        pause_s = self._period_s
        try:
            while not self._shutdown and (turn := await self._next_turn()) is not None:
                pause_s = TURN_PAUSE_S
                await self._carry_on(turn)
        except StoreUnavailable as error:
            log.warning(f"{error.summary}; jobs wait, and are carried on later", error=str(error))
            return self._backoff.next_s()
        self._backoff.reset()
        return pause_s

    async def _next_turn(self) -> JobTurn | None:
        return await self._jobs.take_turn(self._now_ms(), round(TURN_PAUSE_S * 1000), self._open_max)

    async def _carry_on(self, turn: JobTurn) -> None:
        try:
            if turn.has_ended:
                log.info("a job has ended", job=turn.job_id, operation=turn.operation)
            elif turn.positions and turn.operation == LetterOperation.DROP:
                await self._jobs.drop_letters(turn, self._now_ms())
            elif turn.positions:
                await self._letters.put_back(turn, self._now_ms())
            elif turn.saga_ids:
                await self._jobs.request(turn, self._now_ms())
        except StoreUnavailable:
            raise
        except (TransportError, DecryptionFailed) as error:
            await self._tell(turn, _problem(error))
        except Exception as error:
            # A job that cannot go on keeps no other from its turn, nor the service from its sagas.
            log.error("a job meets a bug", job=turn.job_id, error=repr(error), exc_info=error)
            await self._tell(turn, "a replica meets an error that nobody foresaw, and its log has it")

    async def _tell(self, turn: JobTurn, problem: str) -> None:
        if await self._jobs.note_problem(turn.job_id, problem):
            log.warning("a job stands still", job=turn.job_id, problem=problem)


def _problem(error: TransportError | DecryptionFailed) -> str:
    if isinstance(error, TransportError):
        return f"Redis does not do its part: {error}"
    return f"the output of this job cannot be given to its sagas, because {error}"
