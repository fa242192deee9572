"""Events are text as the standard has it, and every one of them is explained."""

from __future__ import annotations

from saga_service.http.live.server_sent_events import (
    OF_A_LIST,
    OF_A_SAGA,
    EventName,
    comment,
    event,
    notice,
    place,
    reconnect_after,
)


def test_an_event_has_its_name_its_id_and_one_line_of_data() -> None:
    assert event(EventName.SAGA, b"{}", 5) == b"event: saga\nid: 5\ndata: {}\n\n"
    assert event(EventName.SAGA, b"{}") == b"event: saga\ndata: {}\n\n"
    assert notice(EventName.RELOAD, {EventName.RELOAD: "why\nso"}) == (
        b'event: reload\ndata: {"detail": "why\\nso"}\n\n'
    )


def test_what_is_no_event_is_none_to_a_browser() -> None:
    assert (place("a@b"), comment("alive"), reconnect_after(5)) == (b"id: a@b\n\n", b": alive\n\n", b"retry: 5\n\n")


def test_every_event_is_explained() -> None:
    assert OF_A_LIST.keys() | OF_A_SAGA.keys() == set(EventName)
