"""What became of a request, in words."""

from __future__ import annotations

from saga_service.cli.access.requests import Became, in_words


def test_a_stuck_saga_is_not_said_to_need_nothing() -> None:
    became = Became("some-id", "order", "A-1", 7, "repeated", "the saga is compensating already", "stuck")

    assert in_words(became, "cancelled") == (
        "order A-1 (some-id): nothing new was asked: the saga is compensating already, but it is stuck; "
        "see what it needs: saga-service show some-id"
    )
