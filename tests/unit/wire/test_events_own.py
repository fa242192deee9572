"""Events of the service itself, written down as the entries that they would have been."""

from __future__ import annotations

from dataclasses import replace

import pytest

from saga_service.core.events import TimerDue, TransportLost
from saga_service.wire.dead_letters import dead_letter, raw_pairs
from saga_service.wire.entries import Malformed, RequestRow
from saga_service.wire.events import read_own_event, write_timer
from saga_service.wire.transport import REQUESTS, TIMERS
from tests.support.builders import SAGA_ID, START_MS, entry, resend


def test_a_timer_is_the_same_after_it_was_written_down() -> None:
    written = write_timer(TimerDue(SAGA_ID), "1")
    assert (written.stream, read_own_event(written)) == (TIMERS, TimerDue(SAGA_ID))


def test_a_request_of_a_recovery_has_commands_sent_again() -> None:
    assert read_own_event(resend()) == TransportLost(SAGA_ID)


def test_an_own_event_that_is_replayed_comes_as_a_request() -> None:
    letter = dead_letter(write_timer(TimerDue(SAGA_ID), "1"), "a bug", START_MS)
    replayed = entry(dict(raw_pairs(letter.raw)), REQUESTS, "7")
    assert read_own_event(replace(replayed, request=RequestRow(7, START_MS, 1))) == TimerDue(SAGA_ID)


def test_nobody_outside_can_send_an_own_event() -> None:
    assert read_own_event(entry({"type": "saga.wake", "saga_id": SAGA_ID}, "saga:events")) is None


def test_a_request_of_another_type_is_no_own_event() -> None:
    assert read_own_event(entry({"type": "saga.cancel", "saga_id": SAGA_ID}, REQUESTS)) is None


def test_an_own_event_without_its_saga_is_malformed() -> None:
    with pytest.raises(Malformed, match="'saga_id' is missing"):
        read_own_event(entry({"type": "saga.wake"}, REQUESTS))
