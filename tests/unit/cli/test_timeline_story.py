"""The story of one saga as `show` prints it: what is awaited, and what to type next."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from saga_service.admin.views import DebtRow, SagaStory, SignalRow
from saga_service.cli.console.advice import OVERDUE
from saga_service.cli.console.timeline import print_story
from saga_service.core.definition import Definition
from saga_service.core.vocabulary import Kind
from tests.support.builders import definition
from tests.support.builders import step as defined_step
from tests.unit.cli.saga_rows import NOW, SAGA_ID, entry, saga, state_of, step, story


def told(story: SagaStory, capsys: pytest.CaptureFixture[str], defined: Definition | None = None) -> str:
    print_story(story, state_of(story.saga, story.steps), defined, NOW, "A-17")
    return capsys.readouterr().out


def test_a_running_saga_tells_what_it_waits_for(capsys: pytest.CaptureFixture[str]) -> None:
    charge = step("charge", "dispatched", waiting_for="timeout", due_at=NOW + timedelta(seconds=25))

    text = told(story(saga("running"), charge), capsys)

    assert text.startswith(f"order {SAGA_ID}: running\nkey A-17\n")
    assert "the worker's reply to charge (attempt 1); counts as not answered in 25.0 s (2026-02-01 00:00:24)" in text
    assert "nothing: it goes on by itself; look again: saga-service show A-17" in text


@pytest.mark.parametrize(
    ("status", "waiting_for", "is_told"),
    [
        ("dispatched", "timeout", "no worker has the action"),
        ("pending", "retry", "no worker has the action"),
        ("compensating", "timeout", "no worker has the undo"),
        ("unknown", "probe_timeout", None),
    ],
)
def test_a_command_that_no_worker_carries_out_is_told_where_it_is_awaited(
    capsys: pytest.CaptureFixture[str], status: str, waiting_for: str, is_told: str | None
) -> None:
    due_at = NOW + timedelta(seconds=25)
    charge = step(
        "charge", status, waiting_for=waiting_for, due_at=due_at, action="shop.charge", compensation="shop.refund"
    )
    remarks = {"shop.charge": "no worker has the action", "shop.refund": "no worker has the undo"}
    shown = story(saga("running"), charge)

    print_story(shown, state_of(shown.saga, shown.steps), None, NOW, "A-17", remarks)

    told = [line.strip() for line in capsys.readouterr().out.splitlines() if "no worker has" in line]
    assert told == ([] if is_told is None else [is_told])


def test_a_saga_that_waits_for_a_retry_says_when_it_comes(capsys: pytest.CaptureFixture[str]) -> None:
    undo = step(
        "charge", "compensating", compensation_attempts=3, waiting_for="retry", due_at=NOW + timedelta(minutes=2)
    )

    text = told(story(saga("compensating", course="backward"), undo), capsys)

    assert "the next attempt of undo of charge, in 2 min (2026-02-01 00:01:59); 3 so far" in text


def test_an_overdue_saga_leads_to_the_doctor(capsys: pytest.CaptureFixture[str]) -> None:
    late = step("charge", "dispatched", waiting_for="timeout", due_at=NOW - OVERDUE - timedelta(seconds=1))

    text = told(story(saga("running"), late), capsys)

    assert "overdue" in text
    assert "saga-service doctor" in text


def test_a_stuck_saga_shows_its_debt_and_how_to_go_on(capsys: pytest.CaptureFixture[str]) -> None:
    steps = [step("reserve", "succeeded"), step("charge", "compensation_failed", compensation_attempts=10)]
    debt = [
        DebtRow(1, "charge", "compensation_failed", "payment.refund", 10, "no_account", "it is closed", NOW, NOW),
        DebtRow(2, "reserve", "succeeded", "inventory.release", 0, None, None, NOW, NOW),
    ]

    stuck = saga(
        "stuck",
        course="backward",
        error_code="no_truck",
        error_step="ship",
        stuck_step="charge",
        stuck_code="no_account",
        stuck_message="it is closed",
    )

    text = told(story(stuck, *steps, debt=debt), capsys, definition("reserve", "charge"))

    assert "because no_truck (step ship)\nstuck at the undo of charge: no_account: it is closed\n" in text
    assert "  1. charge (compensation_failed) by payment.refund: no_account: it is closed\n" in text
    assert "  2. reserve (succeeded) by inventory.release\n" in text
    assert "on its way back: its effects are being undone\n" in text
    assert text.endswith(
        "  the undo of charge was given up on\n"
        "  undo it by hand, then say so, and the rest is undone by itself:\n"
        "    saga-service resolve A-17 --step charge --as compensated --reason '...'\n"
        "  once what kept it from being undone is mended, let its worker try again:\n"
        "    saga-service retry A-17 --step charge --reason '...'\n"
        "  to let its effect stand, and undo the rest:\n"
        "    saga-service skip A-17 --step charge --reason '...'\n"
    )


def test_what_is_undone_side_by_side_is_told_without_an_order(capsys: pytest.CaptureFixture[str]) -> None:
    debt = [DebtRow(None, name, "succeeded", "travel.undo", 0, None, None, NOW, NOW) for name in ("car", "hotel")]

    text = told(story(saga("compensating", course="backward"), debt=debt), capsys)

    assert "Still to be undone:\n  car (succeeded) by travel.undo\n  hotel (succeeded) by travel.undo\n" in text


def test_a_failed_step_that_is_passed_over_while_undoing_asks_nothing_of_a_person(
    capsys: pytest.CaptureFixture[str],
) -> None:
    steps = [step("charge", "compensation_failed"), step("ship", "failed")]

    text = told(story(saga("stuck", course="backward"), *steps), capsys)

    assert "--step charge" in text
    assert "--step ship" not in text
    assert "cancel" not in text


def test_a_paused_saga_tells_who_paused_it_and_how_to_go_on(capsys: pytest.CaptureFixture[str]) -> None:
    history = [
        entry("started", NOW),
        entry("pause_requested", NOW, "paused", step=None, actor="anna", reason="the bank is down"),
    ]

    text = told(story(saga("paused"), history=history), capsys)

    assert "  anna has paused it: the bank is down\n" in text
    assert "    saga-service resume A-17 --reason '...'\n" in text


def test_a_command_to_paste_survives_any_key(capsys: pytest.CaptureFixture[str]) -> None:
    paused = story(saga("paused", key="A 17; ls"))
    print_story(paused, state_of(paused.saga, paused.steps), None, NOW, "A 17; ls")
    assert "saga-service resume 'A 17; ls' --reason" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("awaited", "said"),
    [
        (
            {"status": "unknown", "waiting_for": "probe_timeout", "probes": 2},
            "the answer whether charge has happened (probe 2); counts as not answered in 25.0 s",
        ),
        (
            {"status": "unknown", "waiting_for": "probe_retry", "probes": 1},
            "the next probe whether charge has happened, in 25.0 s (2026-02-01 00:00:24); 1 so far",
        ),
        ({"status": "waiting", "waiting_for": "sleep"}, "the end of charge, in 25.0 s"),
        ({"status": "waiting", "waiting_for": "signal"}, "the signal, for charge; the wait for it is over in 25.0 s"),
        ({"status": "waiting", "waiting_for": "moonrise"}, "moonrise of charge, in 25.0 s"),
    ],
)
def test_whatever_is_awaited_is_told(capsys: pytest.CaptureFixture[str], awaited: dict[str, Any], said: str) -> None:
    charge = step("charge", due_at=NOW + timedelta(seconds=25), **awaited)
    assert said in told(story(saga("running"), charge), capsys)


def test_a_saga_that_waits_for_a_signal_says_how_to_send_it(capsys: pytest.CaptureFixture[str]) -> None:
    waits = step("approve", "waiting", waiting_for="signal", signal="order.approved", due_at=NOW + timedelta(days=1))
    said = told(story(saga("running"), waits), capsys)
    assert "  the signal order.approved, for approve; the wait for it is over in 1 d 0 h" in said
    assert "approve waits for a signal: saga-service signal order.approved A-17\n" in said


def test_a_signal_whose_definition_is_not_on_record_is_left_to_be_named(capsys: pytest.CaptureFixture[str]) -> None:
    waits = step("approve", "waiting", waiting_for="signal", due_at=NOW + timedelta(days=1))
    assert "approve waits for a signal: saga-service signal NAME A-17\n" in told(story(saga("running"), waits), capsys)


def test_children_are_listed_and_the_one_that_is_awaited_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    trip = step("trip", "dispatched", waiting_for="timeout", due_at=NOW + timedelta(hours=1))
    child = saga(
        "stuck", id="c-1", saga="trip", parent_id=SAGA_ID, parent_step="trip", stuck_step="hotel", stuck_code="full"
    )

    text = told(story(saga("running"), trip, children=[child]), capsys)

    assert "Child sagas:\nid   status  saga  step  why\nc-1  stuck   trip  trip  hotel: full\n" in text
    assert "the child saga of trip: trip c-1, which is stuck; counts as not answered in 1 h 0 min" in text


def test_a_child_says_whose_it_is_and_a_deadline_what_it_means(capsys: pytest.CaptureFixture[str]) -> None:
    child = saga("running", parent_id="p-1", parent_step="trip", deadline_at=NOW + timedelta(minutes=5))

    text = told(story(child, step("pay", "dispatched")), capsys, definition("pay"))

    assert "child of saga p-1, for its step trip\n" in text
    assert "deadline in 5 min (2026-02-01 00:04:59): what is not done then is undone\n" in text


def test_a_deadline_undoes_nothing_of_a_saga_that_has_passed_its_pivot(capsys: pytest.CaptureFixture[str]) -> None:
    late = saga("running", deadline_at=NOW - timedelta(minutes=5))
    steps = [step("charge", "succeeded"), step("ship", "dispatched")]

    text = told(story(late, *steps), capsys, definition(defined_step("charge", kind=Kind.PIVOT), "ship"))

    assert (
        "deadline 2026-01-31 23:54:59: as it stands, nothing is undone for it;"
        " the pivot 'charge' is done, or may be: the saga can only go forward\n"
    ) in text


def test_a_deadline_is_told_with_care_where_the_definition_is_not_known(capsys: pytest.CaptureFixture[str]) -> None:
    text = told(story(saga("running", deadline_at=NOW + timedelta(minutes=5))), capsys)

    assert "what is not done then is undone, unless the saga has passed its pivot\n" in text


def test_signals_are_listed_with_what_became_of_them(capsys: pytest.CaptureFixture[str]) -> None:
    signals = [
        SignalRow(1, "approved", "t-1", None, True, None),
        SignalRow(2, "paid", "t-2", None, False, {"amount": 5}),
        SignalRow(3, "paid", "t-3", "second", False, {}),
    ]

    text = told(story(saga("running"), signals=signals), capsys)

    assert "approved  t-1  taken\npaid      t-2  kept until a step waits for it\n" in text
    assert "paid      t-3  kept until step second waits for it\n" in text


def test_probes_have_a_column_only_where_some_were_sent(capsys: pytest.CaptureFixture[str]) -> None:
    without = told(story(saga("running"), step("charge", "succeeded")), capsys)
    with_one = told(story(saga("running"), step("charge", "succeeded", probes=2)), capsys)

    assert "probes" not in without
    assert "charge  succeeded  1         2" in with_one


@pytest.mark.parametrize(
    ("status", "said"),
    [
        ("completed", "nothing: every step is done"),
        (
            "compensated",
            "nothing is left to be undone; to try once more, start another order with another key",
        ),
    ],
)
def test_an_ended_saga_needs_nothing(capsys: pytest.CaptureFixture[str], status: str, said: str) -> None:
    text = told(story(saga(status, ended_at=NOW)), capsys)

    assert "Waiting for" not in text
    assert said in text


def test_an_undone_saga_tells_what_still_stands_all_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    steps = [
        step("mail", "succeeded", task="command"),
        step("nap", "succeeded", task="sleep"),
        step("charge", "skipped", task="command", compensation="payment.refund", compensation_attempts=2),
        step("insure", "skipped", task="command"),
        step("reserve", "compensated", task="command", compensation="stock.release", compensation_attempts=1),
    ]

    text = told(story(saga("compensated", ended_at=NOW), *steps), capsys)

    assert text.endswith(
        "Next:\n"
        "  what mail did still stands: it has no compensation, so nothing takes it back\n"
        "  what charge did may still stand: a person has skipped its undo\n"
        "  nothing is left to be undone; to try once more, start another order with another key\n"
    )


def test_what_others_wrote_cannot_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    evil = saga("stuck", key="\x1b]0;owned\x07", error_code="x", error_message="\x1b[2J")

    text = told(story(evil, step("charge", "failed", error_code="\x1b[2J")), capsys)

    assert "\x1b" not in text
