"""Waiting for an inbox ends while there is still time to say that nothing was done."""

from __future__ import annotations

from typing import Any

import asyncpg
import pytest

from saga_service.worker.inbox.connection import REPLY_S_MAX, REPLY_S_MIN, WaitBudget, borrowed


class Remaining:
    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def __call__(self) -> float:
        return self.seconds


@pytest.mark.parametrize(
    ("whole_s", "kept_back_s"),
    [(60.0, REPLY_S_MAX), (5.0, 0.5), (0.4, REPLY_S_MIN)],
    ids=["a second at most", "a tenth", "what a reply needs"],
)
def test_a_part_of_the_time_is_reserved_for_the_reply(whole_s: float, kept_back_s: float) -> None:
    remaining = Remaining(whole_s)
    patience = WaitBudget(remaining)
    assert patience.left_s == pytest.approx(whole_s - kept_back_s)
    remaining.seconds = kept_back_s
    assert patience.left_s == pytest.approx(0)


def test_a_late_command_reserves_a_part_of_the_time_that_is_left() -> None:
    assert WaitBudget(Remaining(2.0)).left_s == pytest.approx(1.8)


@pytest.mark.parametrize("remaining_s", [0.05, 0.0])
def test_a_command_too_late_to_wait_is_tried_once(remaining_s: float) -> None:
    patience = WaitBudget(Remaining(remaining_s))
    assert patience.left_s <= 0
    assert patience.for_a_connection_s > 0


@pytest.mark.parametrize("whole_s", [60.0, 5.0, 0.4])
def test_the_last_try_ends_before_the_deadline(whole_s: float) -> None:
    remaining = Remaining(whole_s)
    patience = WaitBudget(remaining)
    remaining.seconds = whole_s - patience.left_s
    assert 0 < patience.for_a_connection_s < remaining.seconds


class LosesEveryLink:
    """A pool whose connections are lost before they come back."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    async def acquire(self, *, timeout: float) -> object:
        return object()

    async def release(self, connection: object, *, timeout: float) -> None:
        raise self.error


@pytest.mark.parametrize("error", [ConnectionResetError(), asyncpg.InterfaceError("closed")], ids=repr)
async def test_a_link_that_is_lost_when_its_connection_comes_back_takes_no_result_with_it(error: Exception) -> None:
    pool: Any = LosesEveryLink(error)
    async with borrowed(pool, WaitBudget(Remaining(60.0))) as connection:
        committed = connection is not None
    assert committed
