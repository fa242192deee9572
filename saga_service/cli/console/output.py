"""Standard output: tables for people, plain columns for pipes, JSON for programs. Its options are shared."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated

import orjson
import typer

Row = Sequence[str]


def print_json(value: object) -> None:
    """Print values, dataclasses, times (as ISO 8601) and ids as indented JSON."""
    typer.echo(orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_UTC_Z).decode())


def print_table(columns: Row, rows: Sequence[Row]) -> None:
    """Print a drawn table on a terminal; elsewhere columns that are at least two spaces apart, and nothing cut off."""
    if sys.stdout.isatty():
        _print_drawn(columns, rows)
    else:
        typer.echo("\n".join(aligned([columns, *rows])))


def print_line(text: str = "") -> None:
    typer.echo(harmless(text))


def print_heading(text: str) -> None:
    typer.echo(typer.style(text, bold=True) if sys.stdout.isatty() else text)


def aligned(rows: Sequence[Row]) -> list[str]:
    """The rows as lines whose columns are at least two spaces apart."""
    shown = [[harmless(cell) for cell in row] for row in rows]
    widths = [max(len(cell) for cell in column) for column in zip(*shown, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in shown]


def harmless(text: str) -> str:
    """The text on one line, with control characters escaped: any producer could otherwise steer the terminal."""
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in text)


def _print_drawn(columns: Row, rows: Sequence[Row]) -> None:
    # Only for a terminal: the import takes longer than the printing.
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    widths = [_least_width([column, *cells]) for column, *cells in zip(columns, *rows, strict=True)]
    for column, width in zip(columns, widths, strict=True):
        table.add_column(column, min_width=width, overflow="fold")
    for row in rows:
        table.add_row(*(Text(harmless(cell), style=STATUS_STYLES.get(cell, "")) for cell in row))
    # Better too wide for the terminal than in columns of four letters.
    console = Console()
    console.width = max(console.width, sum(widths) + COLUMN_GAP * len(widths))
    console.print(table)


COLUMN_GAP = 3
UNFOLDED_WIDTH_MAX = 40
"""A longer cell is text, and may be folded; ids, names and times stay on one line."""


def _least_width(cells: Sequence[str]) -> int:
    longest = max(len(harmless(cell)) for cell in cells)
    return longest if longest <= UNFOLDED_WIDTH_MAX else UNFOLDED_WIDTH_MAX // 2


STATUS_STYLES = {
    "completed": "green",
    "succeeded": "green",
    "running": "cyan",
    "dispatched": "cyan",
    "waiting": "cyan",
    "paused": "magenta",
    "skipped": "dim",
    "compensating": "yellow",
    "compensated": "yellow",
    "unknown": "yellow",
    "failed": "red",
    "stuck": "bold red",
    "compensation_failed": "bold red",
    "ok": "green",
    "problem": "bold red",
}


def moment(at: datetime | None) -> str:
    """The time in UTC to the second; an empty text for None."""
    return "" if at is None else at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")


def duration(span: timedelta) -> str:
    """The time span in two units at most: 12 ms, 3.4 s, 5 min, 2 h 10 min, 3 d 4 h."""
    # Two machines' clocks may differ.
    seconds = max(0.0, span.total_seconds())
    if seconds < 1:
        return f"{round(seconds * 1000)} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, hours, days = int(seconds // 60), int(seconds // 3600), int(seconds // 86_400)
    if hours == 0:
        return f"{minutes} min"
    return f"{hours} h {minutes % 60} min" if days == 0 else f"{days} d {hours % 24} h"


ANSWER_TIMEOUT_S = 10.0

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
Target = Annotated[str, typer.Argument(metavar="SAGA_ID|KEY", help="The saga's id, or its business key.")]
Definition = Annotated[
    str | None, typer.Option("--saga", help="The saga's definition, for a key that several definitions know.")
]
Data = Annotated[
    str | None, typer.Option(metavar="JSON", help="The data as a JSON object; - reads it from standard input.")
]
AnswerTimeout = Annotated[
    float, typer.Option("--timeout", min=0.1, help="How long to wait for the service's answer, in seconds.")
]
