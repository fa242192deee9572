"""Tables fit the terminal, whatever its width; in a pipe a row is one line and has everything."""

from __future__ import annotations

import pytest
from rich.cells import cell_len

from saga_service.cli.console.tables import aligned, fitted, print_table

SAGA_ID = "5fc78230-6705-8a70-9e7f-d493631ce20d"
WHY = "charge: provider_down: the provider of payments has not answered three requests in a row, and " * 3
COLUMNS = ("id", "status", "saga", "key", "age", "awaits", "why")
ROWS = [
    (SAGA_ID, "compensation_failed", "mission-start", "order-2026-11-000017", "13 h 20 min", "", WHY),
    (SAGA_ID, "running", "order", "A-17", "3 s", "charge: reply, 12:00:05", ""),
    (SAGA_ID, "stuck", "図" * 20, "A\n17", "3 s", SAGA_ID, "x" * 300),
]
TEXTS = {"awaits", "why"}
WIDTHS = [40, 60, 80, 100, 120, 200]


def drawn(width: int, **options: int) -> list[str]:
    blocks = fitted(COLUMNS, ROWS, width, texts=TEXTS, **options)  # type: ignore[arg-type]  # lines_max alone
    return [line for block in blocks for line in block]


@pytest.mark.parametrize("width", WIDTHS)
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    assert max(map(cell_len, drawn(width))) <= width


@pytest.mark.parametrize("width", WIDTHS)
def test_no_heading_is_cut_and_no_id_is_broken(width: int) -> None:
    headings, *rows = fitted(COLUMNS, ROWS, width, texts=TEXTS)

    assert " ".join(headings).split() == list(COLUMNS)
    assert [SAGA_ID in row[0] for row in rows] == [True] * 3
    assert sum(line.count(SAGA_ID) for line in rows[2]) == 2, "an id within a text is whole as well"


@pytest.mark.parametrize("width", WIDTHS)
def test_a_text_is_whole_however_it_is_wrapped(width: int) -> None:
    text = "".join(drawn(width)).replace(" ", "")

    assert all(word in text for word in ("charge:provider_down:", "threerequestsinarow", "x" * 20))
    assert text.count("x") >= 300


def test_a_text_may_be_shortened_to_some_lines_and_says_so() -> None:
    _, first, *_ = fitted(("id", "why"), [(SAGA_ID, WHY)], 80, texts={"why"}, lines_max=2)

    assert len(first) == 2
    assert first[1].endswith("…")


def test_an_id_stays_whole_on_the_narrowest_terminal() -> None:
    assert any(SAGA_ID in line for line in drawn(20))


def test_a_key_that_is_wider_than_the_terminal_is_shortened_beside_its_id() -> None:
    _, row = fitted(("id", "key"), [(SAGA_ID, "k" * 500)], 80)

    assert row == [SAGA_ID, f"  {'k' * 77}…"]


def test_wide_letters_take_two_cells() -> None:
    assert aligned([("図図", "x"), ("abc", "y")]) == ["図図  x", "abc   y"]


def test_columns_without_a_value_are_left_out_on_a_terminal() -> None:
    assert fitted(("id", "key", "age"), [("a", "", "3 s")], 80) == [["id  age"], ["a   3 s"]]


def test_columns_that_have_no_room_beside_the_others_stand_below_them() -> None:
    blocks = fitted(("id", "status", "key", "why"), [(SAGA_ID, "stuck", "A-17", "no money")], 47, texts={"why"})

    assert blocks == [
        ["id                                    status", "  key   why"],
        [f"{SAGA_ID}  stuck", "  A-17  no money"],
    ]


def test_in_a_pipe_columns_are_aligned_and_nothing_is_cut_off(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("id", "status"), [("5b0c", "running"), ("17", "a longer text"), ("x", "y" * 500)], texts={"status"})

    assert capsys.readouterr().out.splitlines() == [
        "id    status",
        "5b0c  running",
        "17    a longer text",
        f"x     {'y' * 500}",
    ]


def on_a_terminal(monkeypatch: pytest.MonkeyPatch, columns: int, term: str) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("TERM", term)


def test_a_terminal_shows_headings_in_bold_and_statuses_in_colour(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    on_a_terminal(monkeypatch, 80, "xterm")

    print_table(("id", "status"), [("17", "stuck")])
    monkeypatch.setenv("NO_COLOR", "1")
    print_table(("id", "status"), [("17", "completed")])

    out = capsys.readouterr().out
    assert "\x1b[1mid\x1b[0m" in out
    assert "\x1b[31m" in out
    assert "\x1b[32m" not in out


def test_a_plain_terminal_has_no_escapes(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    on_a_terminal(monkeypatch, 40, "dumb")

    print_table(("id", "why"), [(SAGA_ID, "because of something that takes more than one line")], texts={"why"})

    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert max(map(len, out.splitlines())) <= 40
