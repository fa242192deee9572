"""Time spans as a person says them, and JSON for programs."""

from __future__ import annotations

from datetime import timedelta

import pytest

from saga_service.cli.console.output import duration, print_json


@pytest.mark.parametrize(
    ("span", "said"),
    [
        (timedelta(milliseconds=12), "12 ms"),
        (timedelta(seconds=3.44), "3.4 s"),
        (timedelta(minutes=5, seconds=59), "5 min"),
        (timedelta(hours=2, minutes=10), "2 h 10 min"),
        (timedelta(days=3, hours=4, minutes=50), "3 d 4 h"),
        (timedelta(seconds=-5), "0 ms"),
    ],
)
def test_a_duration_is_said_as_a_person_says_it(span: timedelta, said: str) -> None:
    assert duration(span) == said


def test_json_is_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"text": "\x1b", "none": None})

    assert capsys.readouterr().out == '{\n  "text": "\\u001b",\n  "none": null\n}\n'
