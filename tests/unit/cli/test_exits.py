"""A failure has its message and its advice apart, and is printed as one line."""

from __future__ import annotations

from saga_service.cli.checks.results import Finding, failed
from saga_service.cli.exits import CommandFailed, ExitCode


def test_a_failure_is_one_line_with_its_advice_last() -> None:
    assert str(CommandFailed("no saga has the key 'A-17'", "see: saga-service list")) == (
        "no saga has the key 'A-17'; see: saga-service list"
    )
    assert str(CommandFailed("nothing was requested")) == "nothing was requested"
    assert CommandFailed("nothing was requested").code is ExitCode.PROBLEM


def test_a_semicolon_in_a_message_is_not_taken_for_its_advice() -> None:
    failure = CommandFailed("Postgres refuses: one; two", "check the role", code=ExitCode.UNREACHABLE)
    assert failed("postgres", failure) == Finding("postgres", "problem", "Postgres refuses: one; two", "check the role")
    alone = CommandFailed("Postgres refuses: one; two")
    assert failed("postgres", alone) == Finding("postgres", "problem", "Postgres refuses: one; two", None)
