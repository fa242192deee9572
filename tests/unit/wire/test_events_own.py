"""Events of the service itself, written down as the entries that they would have been."""

from __future__ import annotations

from dataclasses import replace

import pytest

from saga_service.core.events import TimerDue, TransportLost
from saga_service.wire.dead_letters import dead_letter, raw_pairs
from saga_service.wire.entries import Malformed, RequestRow
from saga_service.wire.events import OwnEvent, read_own_event, write_own_event
from saga_service.wire.transport import RECOVERY, REQUESTS, TIMERS
from tests.support.builders import SAGA_ID, START_MS, entry


@pytest.mark.parametrize(("event", "stream"), [(TimerDue(SAGA_ID), TIMERS), (TransportLost(SAGA_ID), RECOVERY)])
def test_an_own_event_is_the_same_after_it_was_written_down(event: OwnEvent, stream: str) -> None:
    written = write_own_event(event, "1")
    assert (written.stream, read_own_event(written)) == (stream, event)


def test_an_own_event_that_is_replayed_comes_as_a_request() -> None:
    letter = dead_letter(write_own_event(TimerDue(SAGA_ID), "1"), "a bug", START_MS)
    replayed = entry(dict(raw_pairs(letter.raw)), REQUESTS, "7")
    assert read_own_event(replace(replayed, request=RequestRow(7, START_MS, 1))) == TimerDue(SAGA_ID)


def test_nobody_outside_can_send_an_own_event() -> None:
    assert read_own_event(entry({"type": "saga.wake", "saga_id": SAGA_ID}, "saga:events")) is None


def test_a_request_of_another_type_is_no_own_event() -> None:
    assert read_own_event(entry({"type": "saga.cancel", "saga_id": SAGA_ID}, REQUESTS)) is None


def test_an_own_event_without_its_saga_is_malformed() -> None:
    with pytest.raises(Malformed, match="'saga_id' is missing"):
        read_own_event(entry({"type": "saga.wake"}, REQUESTS))
