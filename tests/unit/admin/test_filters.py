"""Filters are conditions that all hold."""

from __future__ import annotations

from datetime import timedelta

import pytest

from saga_service.admin.failure_kinds import Failure
from saga_service.admin.filters import Conditions, LetterFilter
from saga_service.cli.access.option_values import age


def test_a_condition_without_a_value_is_left_out_and_the_others_all_hold() -> None:
    wanted = Conditions()
    wanted.add("saga = {}", "order")
    wanted.add("key = {}", None)
    wanted.add("{} in (a, b) or c = {}", "x")

    assert wanted.where() == "where saga = $1 and $2 in (a, b) or c = $2"
    assert wanted.values == ["order", "x"]
    assert Conditions().where() == ""


def test_dead_letters_that_were_replayed_are_left_out_unless_they_are_wanted() -> None:
    assert LetterFilter().conditions().where() == "where replayed_at is null"
    assert LetterFilter(with_replayed=True).conditions().where() == ""


def test_an_age_is_a_duration_as_in_definitions() -> None:
    assert age("2h", "--older-than") == timedelta(hours=2)
    assert age(None, "--older-than") is None
    with pytest.raises(Failure, match=r"^--older-than must be a duration"):
        age("soon", "--older-than")
