"""The loop that carries jobs on: what it does with a turn, and what it says where it cannot go on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
import structlog

from saga_service.base.lifecycle import Shutdown
from saga_service.engine.failures import StoreUnavailable
from saga_service.engine.ports import JobTurn
from saga_service.runtime.job_runner import JobRunner
from saga_service.wire.encryption import UnknownKey
from saga_service.wire.transport import TransportUnavailable


def turn(operation: str = "pause", *, has_ended: bool = False, letters: bool = False) -> JobTurn:
    sagas = [] if letters else ["5fc78230-6705-8a70-9e7f-d493631ce20d"]
    return JobTurn(7, operation, has_ended, None, None, 0, sagas, [1] if letters else [])


class Asked:
    """Jobs in memory: the turns that are given, and all that is asked. The last turn requests the shutdown."""

    def __init__(self, *turns: JobTurn | Exception) -> None:
        self.turns = list(turns)
        self.asked: list[str] = []
        self.problems: list[str] = []
        self.shutdown = Shutdown()
        self.error: Exception | None = None

    async def take_turn(self, now_ms: int, pause_ms: int, open_max: int) -> JobTurn | None:
        if not self.turns:
            self.shutdown.request()
            return None
        given = self.turns.pop(0)
        if isinstance(given, Exception):
            raise given
        return given

    async def request(self, turn: JobTurn, now_ms: int) -> int:
        await self._note("requested")
        return 1

    async def drop_letters(self, turn: JobTurn, now_ms: int) -> None:
        await self._note("dropped")

    async def put_back(self, turn: JobTurn, now_ms: int) -> None:
        await self._note("put back")

    async def note_problem(self, job_id: int, problem: str) -> bool:
        self.problems.append(problem)
        return len(self.problems) == 1

    async def _note(self, what: str) -> None:
        self.asked.append(what)
        if self.error is not None:
            raise self.error

    async def run(self) -> list[str]:
        """The events of its log, once it has ended."""
        runner = JobRunner(self, self, period_s=0.0, now_ms=lambda: 0, shutdown=self.shutdown)
        with structlog.testing.capture_logs() as logs:
            async with asyncio.timeout(5):
                await runner.run()
        return [line["event"] for line in logs]


async def test_a_turn_is_carried_on_by_what_its_operation_needs() -> None:
    jobs = Asked(turn(), turn("drop", letters=True), turn("replay", letters=True), turn(has_ended=True))
    assert await jobs.run() == ["a job has ended"]
    assert jobs.asked == ["requested", "dropped", "put back"]


async def test_a_turn_without_items_that_may_be_requested_requests_nothing() -> None:
    jobs = Asked(turn()._replace(saga_ids=[]))
    await jobs.run()
    assert jobs.asked == []


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (lambda: TransportUnavailable("ConnectionError: refused"), "Redis does not do its part: ConnectionError"),
        (lambda: UnknownKey("is encrypted with key 'old'"), "cannot be given to its sagas, because is encrypted"),
        (lambda: RuntimeError("what"), "an error that nobody foresaw, and its log has it"),
    ],
    ids=["redis", "key", "bug"],
)
async def test_a_job_that_cannot_go_on_says_why_and_keeps_no_other_from_its_turn(
    error: Callable[[], Exception], says: str
) -> None:
    jobs = Asked(turn(), turn())
    jobs.error = error()
    assert (await jobs.run()).count("a job stands still") == 1, "what is known is not told again"
    assert jobs.asked == ["requested", "requested"]
    assert says in jobs.problems[0]


async def test_while_postgres_is_away_jobs_wait() -> None:
    jobs = Asked(StoreUnavailable("gone"), turn())
    assert await jobs.run() == ["postgres is away; jobs wait, and are carried on later"]
    assert jobs.asked == ["requested"]
