"""Durations are read as people write them, and never guessed at."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saga_service.definitions.keywords import DURATION_MS_MAX, UNITS_MS, duration_ms, duration_text


@pytest.mark.parametrize(
    ("written", "milliseconds"),
    [
        ("200ms", 200),
        ("30s", 30_000),
        ("5m", 300_000),
        ("1h", 3_600_000),
        ("7d", 604_800_000),
        ("1.5s", 1_500),
        ("0.1s", 100),
        (" 30 s ", 30_000),
        ("0s", 0),
        (30, 30_000),
        (0.25, 250),
        (timedelta(minutes=2, milliseconds=5), 120_005),
    ],
)
def test_a_duration_is_a_number_with_a_unit_a_timedelta_or_seconds(written: object, milliseconds: int) -> None:
    assert duration_ms(written) == milliseconds


@pytest.mark.parametrize(
    "written", ["30", "30 seconds", "1h30m", "", "s", "-5s", "1e3s", True, None, [30], float("nan")]
)
def test_what_is_no_duration_is_told_with_what_to_write(written: object) -> None:
    with pytest.raises(
        ValueError, match=r"must be a duration, but is .*; write a number with its unit, such as '200ms'"
    ):
        duration_ms(written)


@pytest.mark.parametrize("written", ["0.5ms", 0.0001, timedelta(microseconds=1)])
def test_less_than_a_millisecond_is_told_and_not_rounded(written: object) -> None:
    with pytest.raises(ValueError, match="must be whole milliseconds"):
        duration_ms(written)


@pytest.mark.parametrize("written", ["366d", 10**12, -1, timedelta(seconds=-1), 1e300])
def test_a_duration_is_from_nothing_to_a_year(written: object) -> None:
    with pytest.raises(ValueError, match="must be from 0 to 365d, but is "):
        duration_ms(written)


@given(st.integers(0, DURATION_MS_MAX))
def test_the_text_of_a_duration_means_that_duration(milliseconds: int) -> None:
    assert duration_ms(duration_text(milliseconds)) == milliseconds


@given(st.sampled_from(sorted(UNITS_MS)), st.integers(0, 10_000))
def test_a_unit_multiplies(unit: str, count: int) -> None:
    assert count * UNITS_MS[unit] > DURATION_MS_MAX or duration_ms(f"{count}{unit}") == count * UNITS_MS[unit]


@given(st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=365)))
def test_a_timedelta_is_what_it_says_or_refused(written: timedelta) -> None:
    if written.microseconds % 1000 == 0:
        assert timedelta(milliseconds=duration_ms(written)) == written
    else:
        with pytest.raises(ValueError, match="whole milliseconds"):
            duration_ms(written)
