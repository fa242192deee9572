"""Jobs in Postgres: one operation on many sagas or dead letters, previewed by a person and carried out by any replica.

What a turn of a job requests, and the note of it, are one transaction: a crash leaves both or neither.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import asyncpg
import orjson

from saga_service.core.ids import SagaId
from saga_service.core.vocabulary import Operation
from saga_service.engine.ports import JobTurn, LetterOperation
from saga_service.store import queries
from saga_service.store.pool import borrowed
from saga_service.store.requests import OperationCall, Result, written_output
from saga_service.wire.encryption import EVENT, Cipher, read_data
from saga_service.wire.transport import OWN_TYPES_PREFIX

BATCH_LETTERS_MAX = 200
"""How many dead letters are put back or dropped at once."""
TRY_AGAIN_AFTER_MS = 2_000
"""How much later a job that cannot go on has its next turn."""
LEASE_MS = 60_000
"""How long dead letters that are being put back belong to the replica that does it: longer than Redis may take."""


class PreviewedJob(NamedTuple):
    """A job that waits for its confirmation. `confirm` is what confirms it."""

    job_id: int
    items: int
    confirm: str
    expires_at: datetime


class BegunLetter(NamedTuple):
    """A dead letter that is to be put back, and its place in the job."""

    position: int
    number: int


class FinishedLetter(NamedTuple):
    """What became of a dead letter. Without a verdict it is not known, and the dead letter is tried again."""

    position: int
    verdict: str | None
    reason: str | None = None


RETURNED = "returned"
"""The verdict on a dead letter that surely was not put back, and is tried again."""


class PostgresJobs:
    """Previews, confirms and stops jobs, and carries them on: `engine.ports.Jobs`.

    All methods raise StoreUnavailable where Postgres cannot be reached, StoreRefused where the database refuses.
    """

    def __init__(self, pool: asyncpg.Pool, cipher: Cipher | None = None) -> None:
        self._pool = pool
        self._cipher = cipher

    async def preview_sagas(
        self, call: OperationCall, saga_ids: Sequence[SagaId], filters: Mapping[str, Any]
    ) -> PreviewedJob:
        """A job that does this to these sagas, in their order."""
        output = None
        if call.output is not None and saga_ids:
            output = written_output(call.operation, call.output, self._cipher, saga_ids[0])
        arguments = (call.reason, call.actor, call.step, call.resolution, output, _json(filters))
        return await self._previewed(queries.PREVIEW_SAGAS, call.operation.value, saga_ids, *arguments)

    async def preview_letters(
        self, operation: LetterOperation, actor: str, reason: str, numbers: Sequence[int], filters: Mapping[str, Any]
    ) -> PreviewedJob:
        """A job that does this to these dead letters, in their order."""
        return await self._previewed(queries.PREVIEW_LETTERS, operation.value, actor, reason, _json(filters), numbers)

    async def confirm(self, job_id: int, confirm: str, actor: str) -> Result:
        """Have a job carried out. The verdict is applied, repeated, refused or unknown."""
        return await self._result(queries.CONFIRM_JOB, job_id, confirm, actor)

    async def stop(self, job_id: int, actor: str) -> Result:
        """Request nothing more of a job. The verdict is applied, repeated, refused or unknown."""
        return await self._result(queries.STOP_JOB, job_id, actor)

    async def take_turn(self, now_ms: int, pause_ms: int, open_max: int) -> JobTurn | None:
        """The running job that has waited longest, with the answers noted that have come; None where none is due.

        At most `open_max` requests of all jobs are open at once, and a job has a turn every `pause_ms` at most.
        """
        async with borrowed(self._pool) as connection:
            row = await connection.fetchrow(queries.TAKE_TURN, now_ms, pause_ms, open_max, BATCH_LETTERS_MAX)
        return None if row is None else JobTurn(*row)

    async def request(self, turn: JobTurn, now_ms: int) -> int:
        """Request the operation of the turn's sagas; how many, which is none where another replica was quicker.

        Raises DecryptionFailed where the key of the output is not known here.
        """
        outputs = self._outputs(turn)
        async with borrowed(self._pool) as connection:
            taken: int = await connection.fetchval(queries.REQUEST_ITEMS, turn.job_id, turn.reached, outputs, now_ms)
            return taken

    async def begin_letters(self, turn: JobTurn, now_ms: int) -> list[BegunLetter]:
        """The dead letters of the turn that are to be put back now. They belong to this process for a minute."""
        async with borrowed(self._pool) as connection:
            rows = await connection.fetch(queries.BEGIN_LETTERS, turn.job_id, turn.positions, now_ms, LEASE_MS)
        return [BegunLetter(*row) for row in rows]

    async def finish_letters(self, job_id: int, letters: Sequence[FinishedLetter], now_ms: int) -> None:
        """Note what became of dead letters that were begun."""
        positions, verdicts, reasons = zip(*letters, strict=True)
        async with borrowed(self._pool) as connection:
            await connection.execute(queries.FINISH_LETTERS, job_id, positions, verdicts, reasons, now_ms)

    async def drop_letters(self, turn: JobTurn, now_ms: int) -> None:
        """Drop the dead letters of the turn."""
        async with borrowed(self._pool) as connection:
            await connection.execute(queries.DROP_LETTERS, turn.job_id, turn.positions, now_ms)

    async def note_problem(self, job_id: int, problem: str) -> bool:
        """Say in the job why it stands still; true where that is new. The note goes once the job moves."""
        async with borrowed(self._pool) as connection:
            return bool(await connection.fetchval(queries.NOTE_PROBLEM, job_id, problem, TRY_AGAIN_AFTER_MS))

    async def _previewed(self, query: str, *arguments: object) -> PreviewedJob:
        async with borrowed(self._pool) as connection:
            row = await connection.fetchrow(query, *arguments)
        assert row is not None, "the function returns one row"
        return PreviewedJob(*row)

    async def _result(self, query: str, *arguments: object) -> Result:
        async with borrowed(self._pool) as connection:
            row = await connection.fetchrow(query, *arguments)
        assert row is not None, "the function returns one row"
        return Result(row["verdict"], row["reason"] or "")

    def _outputs(self, turn: JobTurn) -> list[str | None]:
        """The output for each saga. Encrypted, an output fits one saga alone, so each gets its own."""
        if turn.output is None or turn.output_saga_id is None:
            return [None] * len(turn.saga_ids)
        operation = Operation(turn.operation)
        kind = f"{OWN_TYPES_PREFIX}{operation.value}"
        output = read_data(turn.output.encode(), self._cipher, EVENT, kind, turn.output_saga_id)
        return [written_output(operation, output, self._cipher, SagaId(saga_id)) for saga_id in turn.saga_ids]


def _json(filters: Mapping[str, Any]) -> str:
    return orjson.dumps(filters).decode()
