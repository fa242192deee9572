"""Tables on a terminal, columns in a pipe, and nothing that could steer a terminal."""

from __future__ import annotations

from datetime import timedelta

import pytest

from saga_service.cli.console.output import aligned, duration, harmless, print_json, print_table

ROWS = [("5b0c", "running"), ("17", "a longer text")]


def test_in_a_pipe_columns_are_aligned_and_nothing_is_cut_off(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("id", "status"), [*ROWS, ("x", "y" * 500)])

    assert capsys.readouterr().out.splitlines() == [
        "id    status",
        "5b0c  running",
        "17    a longer text",
        f"x     {'y' * 500}",
    ]


def test_on_a_terminal_the_table_is_drawn_and_ids_stay_whole(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("TERM", "dumb")
    saga_id = "5fc78230-6705-8a70-9e7f-d493631ce20d"

    print_table(("id", "why"), [(saga_id, "because of something that takes more than one line to say")])

    drawn = capsys.readouterr().out.splitlines()
    assert any("─" in line for line in drawn)
    assert len([line for line in drawn if saga_id in line]) == 1
    assert len(drawn) > 5, "the text is folded"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain ünïcode → 図", "plain ünïcode → 図"),
        ("red \x1b[31m", "red \\x1b[31m"),
        ("two\nlines\tand a tab", "two\\nlines\\tand a tab"),
        ("right to left \u202e", "right to left \\u202e"),
    ],
)
def test_what_could_steer_a_terminal_is_escaped(text: str, shown: str) -> None:
    assert harmless(text) == shown
    assert aligned([(text, "x")]) == [f"{shown}  x"]


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
