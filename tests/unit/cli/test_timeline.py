"""A saga's history in words."""

from __future__ import annotations

from datetime import timedelta

import pytest

from saga_service.cli.console.timeline import happened, timeline
from saga_service.core.fault_codes import EXPRESSION_FAILED
from saga_service.core.transitions import CONDITION_NOT_MET, DEADLINE_PASSED, SIGNAL_BUFFERED, STARTED, Stimulus
from saga_service.core.vocabulary import Operation
from tests.unit.cli.saga_rows import NOW, entry

OF_WHOLE_SAGAS = (Operation.CANCEL, Operation.COMPENSATE, Operation.PAUSE, Operation.RESUME)
OF_THE_SAGA = [
    *(STARTED, SIGNAL_BUFFERED, DEADLINE_PASSED),
    *(f"{operation}_requested" for operation in OF_WHOLE_SAGAS),
]
OF_STEPS = [*(stimulus.value for stimulus in Stimulus), CONDITION_NOT_MET, EXPRESSION_FAILED]


@pytest.mark.parametrize("event", [*OF_THE_SAGA, *OF_STEPS])
def test_every_event_has_words(event: str) -> None:
    words = happened(entry(event, NOW), "running")

    assert "_" not in words
    assert event not in OF_STEPS or "charge" in words


def test_a_line_has_the_event_the_sagas_status_and_what_was_sent() -> None:
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


def test_an_event_of_a_later_version_is_printed_as_it_is() -> None:
    assert happened(entry("charge_doubted", NOW), "running") == "charge_doubted charge"


def test_an_operation_is_printed_with_actor_and_reason() -> None:
    resolved = entry("resolved_succeeded", NOW, actor="anna", reason="seen at the bank", sent=["ship:action:1"])

    assert happened(resolved, "stuck") == (
        "charge resolved as succeeded by anna (seen at the bank); the saga is now running; sent ship"
    )
    assert happened(entry("pause_requested", NOW, "paused", step=None, actor="anna"), "paused") == "paused by anna"


@pytest.mark.parametrize(
    ("event", "status", "sent", "said"),
    [
        ("action_timed_out", "running", "charge:probe:1", "sent a probe whether charge has happened"),
        ("probe_timed_out", "running", "charge:probe:2", "sent a probe whether charge has happened (attempt 2)"),
        ("cancel_requested", "compensating", "trip:cancel:1", "sent a cancel to the child saga of trip"),
        ("action_timed_out", "stuck", "charge:cancel:2", "sent a cancel to the child saga of charge"),
        ("retry_requested", "running", "charge:action:2", "sent charge (attempt 2)"),
        ("action_failed", "running", "charge:wave:1", "sent wave of charge"),
    ],
)
def test_what_was_sent_is_printed_by_its_purpose(event: str, status: str, sent: str, said: str) -> None:
    assert happened(entry(event, NOW, status, sent=[sent]), status).endswith(f"; {said}")


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
