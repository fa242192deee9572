"""Maintenance: every task has its turn, whatever goes wrong with another."""

from __future__ import annotations

import pytest
import structlog

from saga_service.engine.failures import StoreConflict, StoreTimedOut, StoreUnavailable
from saga_service.runtime.maintenance import Maintenance
from saga_service.wire.transport import StreamLost, TransportUnavailable
from tests.support.fakes import PausesThatPass


class Chores:
    def __init__(self, *faults: Exception | None) -> None:
        self.done: list[int] = []
        self.tasks = [self._chore(number, fault) for number, fault in enumerate(faults)]

    def _chore(self, number: int, fault: Exception | None):  # type: ignore[no-untyped-def]  # a task
        async def chore() -> None:
            self.done.append(number)
            if fault is not None:
                raise fault

        return chore


@pytest.mark.parametrize(
    ("fault", "level"),
    [
        (TransportUnavailable("away"), "warning"),
        (StoreUnavailable("away"), "warning"),
        (StreamLost("gone"), "warning"),
        (ValueError("WRONGTYPE"), "error"),
        (KeyError("a bug"), "error"),
    ],
)
async def test_a_task_that_fails_keeps_no_other_from_its_turn(fault: Exception, level: str) -> None:
    chores = Chores(fault, None)
    with structlog.testing.capture_logs() as logs:
        await Maintenance(chores.tasks, 10.0, PausesThatPass(pauses_max=3)).run()
    assert chores.done == [0, 1, 0, 1]
    assert [line["log_level"] for line in logs] == [level] * 2


@pytest.mark.parametrize(
    ("fault", "what_it_is"),
    [
        (StoreUnavailable("away"), "postgres is away"),
        (StoreConflict("deadlock detected"), "another transaction was in the way"),
        (StoreTimedOut("canceling statement"), "a statement timed out"),
        (StreamLost("gone"), "redis did not do its part"),
    ],
)
async def test_a_task_that_is_put_off_says_what_it_is_and_that_it_is_tried_again(
    fault: Exception, what_it_is: str
) -> None:
    with structlog.testing.capture_logs() as logs:
        await Maintenance(Chores(fault).tasks, 10.0, PausesThatPass(pauses_max=2)).run()
    assert [line["event"] for line in logs] == [f"{what_it_is}; a maintenance task is tried again in its next turn"]


async def test_chores_are_done_once_in_a_period_with_jitter() -> None:
    shutdown = PausesThatPass(pauses_max=20)
    chores = Chores(None)
    await Maintenance(chores.tasks, 10.0, shutdown).run()
    assert len(chores.done) == 19
    assert all(7.5 <= pause_s <= 12.5 for pause_s in shutdown.pauses_s)
    assert len(set(shutdown.pauses_s)) > 10
