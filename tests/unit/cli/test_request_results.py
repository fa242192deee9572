"""The outcome of a request in words."""

from __future__ import annotations

from saga_service.cli.access.requests import RequestOutcome
from saga_service.cli.console.request_results import in_words


def test_a_stuck_saga_is_not_called_done() -> None:
    outcome = RequestOutcome("some-id", "order", "A-1", 7, "repeated", "the saga is compensating already", "stuck")

    assert in_words(outcome, "cancelled") == (
        "order A-1 (some-id): nothing new was requested: the saga is compensating already, but it is stuck; "
        "see what it needs: saga-service show some-id"
    )
