"""One caller who asks in a loop is told to wait, and costs the others nothing."""

from __future__ import annotations

import time

import pytest

from saga_service.http import rate_limit
from saga_service.http.rate_limit import RateLimit


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The time in seconds, in its one place."""
    now_s = [1_000]
    monkeypatch.setattr(time, "monotonic", lambda: now_s[0])
    return now_s


def test_a_caller_may_ask_twice_as_often_at_once_and_then_has_to_wait(clock: list[int]) -> None:
    limit = RateLimit(5)
    assert [limit.wait_s("ci") for _ in range(11)] == [0] * 10 + [1]


def test_whoever_waits_may_ask_again(clock: list[int]) -> None:
    limit = RateLimit(5)
    for _ in range(20):
        limit.wait_s("ci")
    clock[0] += 1
    assert [limit.wait_s("ci") for _ in range(6)] == [0] * 5 + [1]


def test_one_caller_takes_nothing_from_another(clock: list[int]) -> None:
    limit = RateLimit(1)
    for _ in range(100):
        limit.wait_s("ci")
    assert (limit.wait_s("ci"), limit.wait_s("anna")) == (1, 0)


def test_no_limit_is_no_limit() -> None:
    limit = RateLimit(0)
    assert not any(limit.wait_s("ci") for _ in range(10_000))


def test_callers_are_forgotten_that_have_not_asked_for_the_longest(
    clock: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rate_limit, "CALLERS_MAX", 2)
    limit = RateLimit(1)
    for caller in ("a", "b", "a", "b", "c"):
        limit.wait_s(caller)
    assert [limit.wait_s(caller) for caller in ("b", "a")] == [1, 0]
