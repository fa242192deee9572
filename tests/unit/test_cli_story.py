"""How a saga is told: every event in words, what is awaited, what to type next."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from saga_service.cli.reading import DebtRow, HistoryRow, SagaRow, SagaStory, StepRow
from saga_service.cli.story import OVERDUE, happened, print_story, timeline
from saga_service.core.transitions import Stimulus

NOW = datetime(2026, 1, 31, 23, 59, 59, 900_000, tzinfo=UTC)
SAGA_ID = "5fc78230-6705-8a70-9e7f-d493631ce20d"


def saga(status: str, **changes: Any) -> SagaRow:  # Any: the row's own fields
    row: dict[str, Any] = {
        "id": SAGA_ID,
        "saga": "order",
        "version": "v1",
        "key": "A-17",
        "status": status,
        "revision": 3,
        "input": {},
        "error_code": None,
        "error_message": None,
        "error_step": None,
        "created_at": NOW - timedelta(minutes=2),
        "updated_at": NOW - timedelta(seconds=30),
        "ended_at": None,
    }
    return SagaRow(**row | changes)


def step(name: str, status: str, **changes: Any) -> StepRow:  # Any: the row's own fields
    row: dict[str, Any] = {
        "position": 1,
        "step": name,
        "status": status,
        "attempts": 1,
        "compensation_attempts": 0,
        "finished_order": None,
        "waiting_for": None,
        "due_at": None,
        "in_doubt": False,
        "output": None,
        "error_code": None,
        "error_message": None,
        "started_at": NOW,
        "ended_at": None,
    }
    return StepRow(**row | changes)


def entry(event: str, at: datetime, status: str = "running", **changes: Any) -> HistoryRow:  # Any: likewise
    row: dict[str, Any] = {
        "revision": 1,
        "at": at,
        "event": event,
        "status": status,
        "step": "charge",
        "direction": "action",
        "attempt": 2,
        "sent": [],
        "error_code": None,
        "error_message": None,
    }
    return HistoryRow(**row | changes)


def told(story: SagaStory, capsys: pytest.CaptureFixture[str]) -> str:
    print_story(story, NOW, "redis://:***@r:6379/0", "saga:replies")
    return capsys.readouterr().out


# --------------------------------------------------------------------------------------------------------- timeline


@pytest.mark.parametrize("event", ["started", *(stimulus.name.lower() for stimulus in Stimulus)])
def test_every_event_has_words(event: str) -> None:
    words = happened(entry(event, NOW), "running")

    assert "_" not in words
    assert event == "started" or "charge" in words


def test_a_line_tells_what_happened_what_became_of_the_saga_and_what_was_sent() -> None:
    failed = entry(
        "action_rejected",
        NOW,
        "compensating",
        error_code="no_truck",
        error_message="no truck left",
        sent=["reserve:compensation:1", "quote:compensation:2"],
    )

    assert happened(failed, "running") == (
        "charge refused by its worker: no_truck: no truck left; the saga is now compensating; "
        "sent undo of reserve; sent undo of quote (attempt 2)"
    )


def test_an_event_of_a_later_version_is_told_as_it_is() -> None:
    assert happened(entry("signal_received", NOW), "running") == "signal_received charge"


def test_a_timeline_says_the_date_once_and_again_when_it_changes() -> None:
    history = [
        entry("started", NOW, step=None),
        entry("action_succeeded", NOW + timedelta(milliseconds=50)),
        entry("action_succeeded", NOW + timedelta(milliseconds=150)),
    ]

    assert timeline(history) == [
        ("2026-01-31 23:59:59.900", "", "started"),
        ("           23:59:59.950", "50 ms", "charge done"),
        ("2026-02-01 00:00:00.050", "150 ms", "charge done"),
    ]


# --------------------------------------------------------------------------------------- what is awaited, what is next


def test_a_running_saga_tells_what_it_waits_for(capsys: pytest.CaptureFixture[str]) -> None:
    charge = step("charge", "dispatched", waiting_for="timeout", due_at=NOW + timedelta(seconds=25))

    text = told(SagaStory(saga("running"), [charge], [entry("started", NOW)], []), capsys)

    assert text.startswith(f"order {SAGA_ID}: running\nkey A-17\n")
    assert "the worker's reply to charge (attempt 1); counts as not answered in 25.0 s (2026-02-01 00:00:24)" in text
    assert f"nothing: it goes on by itself; look again: saga-service show {SAGA_ID}" in text


def test_a_saga_that_waits_for_a_retry_says_when_it_comes(capsys: pytest.CaptureFixture[str]) -> None:
    undo = step(
        "charge", "compensating", compensation_attempts=3, waiting_for="retry", due_at=NOW + timedelta(minutes=2)
    )

    text = told(SagaStory(saga("compensating"), [undo], [entry("started", NOW)], []), capsys)

    assert "the next attempt of undo of charge, in 2 min (2026-02-01 00:01:59); 3 so far" in text


def test_an_overdue_saga_leads_to_the_doctor(capsys: pytest.CaptureFixture[str]) -> None:
    late = step("charge", "dispatched", waiting_for="timeout", due_at=NOW - OVERDUE - timedelta(seconds=1))

    text = told(SagaStory(saga("running"), [late], [entry("started", NOW)], []), capsys)

    assert "overdue" in text
    assert "saga-service doctor" in text


def test_a_stuck_saga_tells_what_is_owed_and_how_to_go_on(capsys: pytest.CaptureFixture[str]) -> None:
    steps = [step("reserve", "succeeded"), step("charge", "compensation_failed", compensation_attempts=10)]
    debt = [
        DebtRow(1, "charge", "compensation_failed", "payment.refund", 10, "no_account", "it is closed", NOW, NOW),
        DebtRow(2, "reserve", "succeeded", "inventory.release", 0, None, None, NOW, NOW),
    ]

    text = told(SagaStory(saga("stuck"), steps, [entry("started", NOW)], debt), capsys)

    assert "  1. charge (compensation_failed) by payment.refund: no_account: it is closed\n" in text
    assert "  2. reserve (succeeded) by inventory.release\n" in text
    assert (
        f"redis-cli -u redis://:***@r:6379/0 XADD saga:replies '*' "
        f"command_id {SAGA_ID}:charge:compensation:10 saga_id {SAGA_ID} outcome succeeded"
    ) in text


@pytest.mark.parametrize(
    ("status", "said"),
    [
        ("completed", "nothing: every step is done"),
        (
            "compensated",
            "nothing is owed: every effect is undone; to try once more, start another order with another key",
        ),
    ],
)
def test_an_ended_saga_needs_nothing(capsys: pytest.CaptureFixture[str], status: str, said: str) -> None:
    text = told(SagaStory(saga(status, ended_at=NOW), [], [entry("started", NOW)], []), capsys)

    assert "Waiting for" not in text
    assert said in text


def test_what_others_wrote_cannot_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    evil = saga("stuck", key="\x1b]0;owned\x07", error_code="x", error_message="\x1b[2J")

    text = told(SagaStory(evil, [step("charge", "failed", error_code="\x1b[2J")], [entry("started", NOW)], []), capsys)

    assert "\x1b" not in text
