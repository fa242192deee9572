"""The dead letters of a job, put back where they came from.

An XADD is in no transaction of Postgres. So a dead letter is leased in Postgres first, then put back, then noted. If a
process ends in between, the moment of the replay tells whether the dead letter was put back. Where it does not tell,
the dead letter is put back once more, and its item says that there may be two entries.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import asyncpg

from saga_service.admin.dead_letters import Refusal, Replay, Replayed
from saga_service.admin.requests import APPLIED, REFUSED
from saga_service.engine.ports import JobTurn
from saga_service.store.dead_letters import DeadLetterBox
from saga_service.store.jobs import RETURNED, BegunLetter, FinishedLetter, PostgresJobs
from saga_service.store.requests import PostgresRequests
from saga_service.streams.connection import RedisClient
from saga_service.wire.encryption import Cipher
from saga_service.wire.transport import TransportError, TransportUnavailable


class JobLetters:
    """Fulfils `runtime.job_runner.LetterReplay`."""

    def __init__(self, jobs: PostgresJobs, replay: Replay) -> None:
        self._jobs = jobs
        self._replay = replay

    async def put_back(self, turn: JobTurn, now_ms: int) -> None:
        """Put back those of the turn, and note what became of each.

        Raises TransportError where Redis does not do its part, and StoreUnavailable.
        """
        begun = await self._jobs.begin_letters(turn, now_ms)
        if not begun:
            return
        try:
            done = await self._replay.try_batch([letter.number for letter in begun])
        except TransportError as error:
            verdict = RETURNED if error.nothing_was_sent else None
            freed = [FinishedLetter(letter.position, verdict) for letter in begun]
            await self._jobs.finish_letters(turn.job_id, freed, now_ms)
            raise
        await self._jobs.finish_letters(turn.job_id, list(_finished(begun, done)), now_ms)
        refusal = next((each for each in done.values() if isinstance(each, Refusal) and not each.is_lasting), None)
        if refusal is not None:
            raise TransportUnavailable(refusal.reason)


def job_letters(jobs: PostgresJobs, pool: asyncpg.Pool, cipher: Cipher | None, client: RedisClient) -> JobLetters:
    """What puts the dead letters of jobs back, with these connections."""
    return JobLetters(jobs, Replay(DeadLetterBox(pool), PostgresRequests(pool, cipher), client))


def _finished(begun: Sequence[BegunLetter], done: Mapping[int, Replayed | Refusal]) -> Iterator[FinishedLetter]:
    for position, number in begun:
        match done.get(number):
            case None:
                yield FinishedLetter(position, REFUSED, "it was dropped by somebody else")
            case Replayed(entry_id=entry_id):
                yield FinishedLetter(position, APPLIED, f"put back as {entry_id}")
            case Refusal(reason=reason, is_lasting=True):
                yield FinishedLetter(position, REFUSED, reason)
            case Refusal():
                yield FinishedLetter(position, RETURNED)
