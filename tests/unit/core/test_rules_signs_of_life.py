"""Signs of life near the end of what an attempt may take."""

from __future__ import annotations

from dataclasses import replace

from tests.support.builders import ONCE, START_MS, TIMEOUT_MS, running, step

SILENCE_MS = 5_000


def test_a_sign_of_life_near_the_deadline_keeps_the_attempt_until_then() -> None:
    saga = running(replace(step("charge", retry=ONCE), heartbeat_ms=SILENCE_MS))
    for second in range(2, TIMEOUT_MS // 1_000, 2):
        saga.now_ms = START_MS + second * 1_000
        saga.progress("charge")
    assert saga.step("charge").due_at_ms == START_MS + TIMEOUT_MS


def test_no_sign_of_life_is_stored_once_only_the_deadline_is_awaited() -> None:
    saga = running(replace(step("charge", retry=ONCE), heartbeat_ms=SILENCE_MS))
    for second in range(2, TIMEOUT_MS // 1_000, 2):
        saga.now_ms = START_MS + second * 1_000
        saga.progress("charge")
    revision = saga.state.revision
    saga.now_ms = START_MS + TIMEOUT_MS - 1
    assert saga.progress("charge").reason == "the last sign of life came just now"
    assert saga.state.revision == revision
