"""Waits grow up to a bound, with jitter, and begin anew after a success."""

from __future__ import annotations

from saga_service.base.clock import Backoff

FIRST_S, MOST_S = 0.1, 2.0


def test_waits_double_up_to_a_bound_and_keep_half_of_their_length() -> None:
    backoff = Backoff(FIRST_S, MOST_S)
    for attempt in range(50):
        full_s = min(FIRST_S * 2.0**attempt, MOST_S)
        assert full_s / 2 <= backoff.next_s() <= full_s
    assert backoff.attempts == 50


def test_replicas_do_not_come_back_in_step() -> None:
    assert len({Backoff().next_s() for _ in range(20)}) > 1


def test_a_success_begins_anew() -> None:
    backoff = Backoff(FIRST_S, MOST_S)
    for _ in range(10):
        backoff.next_s()
    backoff.reset()
    assert backoff.attempts == 0
    assert backoff.next_s() <= FIRST_S


def test_an_outage_of_days_does_not_overflow() -> None:
    backoff = Backoff()
    backoff.attempts = 1_000_000
    assert backoff.next_s() <= 5.0
