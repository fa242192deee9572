"""The outcome of a request in words."""

from __future__ import annotations

from saga_service.admin.requests import RequestOutcome
from saga_service.cli.console.requests import in_words


def test_a_repeated_request_says_why_it_changed_nothing() -> None:
    outcome = RequestOutcome("some-id", "order", "A-1", 7, "repeated", "the saga is paused already", "paused")

    assert in_words(outcome, "paused") == "order A-1 (some-id): nothing new: the saga is paused already"
