"""A failure has its message and its advice apart, and is printed as one line."""

from __future__ import annotations

import pytest

from saga_service.admin.failure_kinds import Failure, FailureKind
from saga_service.cli.checks.findings import Finding, failed
from saga_service.cli.exits import EXIT_CODE_OF, ExitCode, do_each


def test_a_failure_is_one_line_with_its_advice_last() -> None:
    assert str(Failure("no saga has the key 'A-17'", "see: saga-service list")) == (
        "no saga has the key 'A-17'; see: saga-service list"
    )
    assert str(Failure("nothing was requested")) == "nothing was requested"
    assert EXIT_CODE_OF[Failure("nothing was requested").kind] is ExitCode.PROBLEM


def test_a_semicolon_in_a_message_is_not_taken_for_its_advice() -> None:
    failure = Failure("Postgres refuses: one; two", "check the role", kind=FailureKind.UNREACHABLE)
    assert failed("postgres", failure) == Finding("postgres", "problem", "Postgres refuses: one; two", "check the role")
    alone = Failure("Postgres refuses: one; two")
    assert failed("postgres", alone) == Finding("postgres", "problem", "Postgres refuses: one; two", None)


def doubled(number: int) -> int:
    if number < 0:
        raise Failure(f"{number} is too small", "take a larger one", kind=FailureKind.UNREACHABLE)
    return 2 * number


def test_the_work_is_done_for_each_and_every_failure_is_told_at_the_end() -> None:
    done: list[int] = []

    with pytest.raises(Failure) as raised:
        do_each(lambda number: done.append(doubled(number)), [1, -2, 3, -4])

    assert done == [2, 6]
    assert EXIT_CODE_OF[raised.value.kind] is ExitCode.UNREACHABLE
    assert str(raised.value).splitlines() == [
        "2 of 4 failed:",
        "  -2 is too small; take a larger one",
        "  -4 is too small; take a larger one",
    ]


def test_one_failure_alone_is_told_in_its_own_words() -> None:
    with pytest.raises(Failure, match=r"^-2 is too small; take a larger one$"):
        do_each(doubled, [-2, 1])


def test_without_a_failure_the_results_come_in_order() -> None:
    assert do_each(doubled, [1, 2]) == [2, 4]


def test_every_kind_of_failure_has_an_exit_code() -> None:
    assert EXIT_CODE_OF.keys() == set(FailureKind)
