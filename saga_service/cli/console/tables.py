"""Tables that fit the terminal.

On a terminal a row is one line where its columns have room. Else its last columns stand below it on lines of their own,
indented, and so do their headings. Texts are wrapped between words. Ids, names and times are never broken, because
people copy them. Elsewhere (a pipe, a file) a row is one line and has everything.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from shutil import get_terminal_size

import typer
from rich.cells import cell_len, chop_cells, set_cell_size

from saga_service.admin.text import harmless

Row = Sequence[str]
Paint = Callable[[str], str]
"""A function that colours a text and leaves its width as it is."""

GAP = 2
INDENT = 2
TEXT_WIDTH_MIN = 24
"""A text in a narrower column is harder to read than one on a line of its own."""
WORD_WIDTH_MAX = 40
"""A longer word in a text is broken. An id is shorter."""
ID_WIDTH = 36


def print_table(
    columns: Row, rows: Sequence[Row], *, texts: Collection[str] = (), lines_max: int | None = None
) -> None:
    """Print rows below their headings: fitted to a terminal, and elsewhere in columns with nothing cut off.

    `texts` names the columns that may be wrapped. On a terminal their cells have at most `lines_max` lines, and columns
    without any value are left out.
    """
    typer.echo(
        "\n".join(line for lines in table_lines(columns, rows, texts=texts, lines_max=lines_max) for line in lines)
    )


def table_lines(
    columns: Row, rows: Sequence[Row], *, texts: Collection[str] = (), lines_max: int | None = None
) -> list[list[str]]:
    """The lines of a table as `print_table` prints them: those of the headings, then those of each row."""
    if not sys.stdout.isatty():
        return [[line] for line in aligned([columns, *rows])]
    width = get_terminal_size().columns
    return fitted(columns, rows, width, texts=texts, lines_max=lines_max, heading=_bold, cell=_by_status)


def aligned(rows: Sequence[Row]) -> list[str]:
    """The rows as lines whose columns are at least two spaces apart."""
    shown = [[harmless(cell) for cell in row] for row in rows]
    widths = [max(map(cell_len, column)) for column in zip(*shown, strict=True)]
    return [_line(list(zip(row, widths, strict=True)), _plain) for row in shown]


def fitted(
    columns: Row,
    rows: Sequence[Row],
    width: int,
    *,
    texts: Collection[str] = (),
    lines_max: int | None = None,
    heading: Paint = lambda text: text,
    cell: Paint = lambda text: text,
) -> list[list[str]]:
    """The lines of the headings, then of each row. A line has at most `width` cells; with an id it may have more."""
    shown = [[harmless(value) for value in row] for row in rows]
    filled = [
        _column(name, values, name in texts, width)
        for name, *values in zip(columns, *shown, strict=True)
        if any(values) or not values
    ]
    layout = _layout(filled, width)
    return [
        _row_lines(layout, [column.name for column in filled], None, heading),
        *(
            _row_lines(layout, [column.values[place] for column in filled], lines_max, cell)
            for place in range(len(shown))
        ),
    ]


@dataclass(frozen=True, slots=True)
class _Column:
    """A column that has values. `width` is that of its longest one, `width_min` what it needs at least."""

    name: str
    values: Sequence[str]
    is_text: bool
    width: int
    width_min: int


_Slot = tuple[_Column, int]
"""A column with the width that it has on its line."""


def _column(name: str, values: Sequence[str], is_text: bool, terminal_width: int) -> _Column:
    width = max(map(cell_len, (name, *values)))
    room = max(terminal_width - INDENT, 1)
    if is_text:
        longest_word = max(cell_len(word) for value in (name, *values) for word in value.split(" "))
        wanted = max(TEXT_WIDTH_MIN, min(longest_word, WORD_WIDTH_MAX))
        return _Column(name, values, is_text, width, min(width, wanted, room))
    # A name may be as long as its producer likes. An id stays whole on any terminal.
    width = min(width, max(room, ID_WIDTH))
    return _Column(name, values, is_text, width, width)


def _layout(columns: Sequence[_Column], terminal_width: int) -> list[list[_Slot]]:
    """The columns line by line, as many on each as have room there."""
    lines: list[list[_Column]] = [[]]
    for column in columns:
        together = [*lines[-1], column]
        if lines[-1] and _width_of([each.width_min for each in together]) > _room(len(lines) - 1, terminal_width):
            lines.append([column])
        else:
            lines[-1] = together
    return [_shared_out(line, _room(place, terminal_width)) for place, line in enumerate(lines)]


def _room(place: int, terminal_width: int) -> int:
    return terminal_width - (INDENT if place else 0)


def _width_of(widths: Sequence[int]) -> int:
    return sum(widths) + GAP * (len(widths) - 1)


def _shared_out(columns: Sequence[_Column], room: int) -> list[_Slot]:
    """The columns with what is left of the room shared among those that can use it, the most modest first."""
    left = max(0, room - _width_of([column.width_min for column in columns]))
    widths: dict[int, int] = {}
    by_wish = sorted(range(len(columns)), key=lambda place: columns[place].width - columns[place].width_min)
    for served, place in enumerate(by_wish):
        column = columns[place]
        more = min(column.width - column.width_min, left // (len(columns) - served))
        widths[place] = column.width_min + more
        left -= more
    return [(column, widths[place]) for place, column in enumerate(columns)]


def _row_lines(
    layout: Sequence[Sequence[_Slot]], values: Sequence[str], lines_max: int | None, paint: Paint
) -> list[str]:
    lines: list[str] = []
    left = iter(values)
    for place, slots in enumerate(layout):
        widths = [width for _, width in slots]
        pieces = [_pieces(next(left), column.is_text, width, lines_max) for column, width in slots]
        indent = " " * (INDENT if place else 0)
        drawn = [_line(list(zip(line, widths, strict=True)), paint) for line in zip_longest(*pieces, fillvalue="")]
        # A line below a row's first one is left out where it has nothing.
        lines += [indent + line for line in drawn if line or not place]
    return lines


def _pieces(value: str, is_text: bool, width: int, lines_max: int | None) -> list[str]:
    """The lines of one cell."""
    if not is_text:
        return [shortened(value, width)]
    pieces = list(_wrapped(value, width))
    if lines_max is None or len(pieces) <= lines_max:
        return pieces
    return [*pieces[: lines_max - 1], shortened(" ".join(pieces[lines_max - 1 :]), width)]


def shortened(text: str, width: int) -> str:
    """The text, or its beginning with an ellipsis where it is wider."""
    return text if cell_len(text) <= width else f"{set_cell_size(text, max(width - 1, 0)).rstrip()}…"


def _wrapped(text: str, width: int) -> Iterator[str]:
    line = ""
    for word in text.split(" "):
        together = f"{line} {word}" if line else word
        if cell_len(together) <= width:
            line = together
            continue
        if line:
            yield line
        *full, line = chop_cells(word, width) or [""]
        yield from full
    yield line


def _line(cells: Sequence[tuple[str, int]], paint: Paint) -> str:
    """Painted cells, each padded to its width, without spaces at the end."""
    while cells and not cells[-1][0]:
        cells = cells[:-1]
    padded = [paint(text) + " " * (width - cell_len(text)) for text, width in cells[:-1]]
    return (" " * GAP).join([*padded, *(paint(text) for text, _ in cells[-1:])])


def _plain(text: str) -> str:
    return text


def _bold(text: str) -> str:
    return _painted(text, bold=True)


def _by_status(text: str) -> str:
    colour = None if os.environ.get("NO_COLOR") else STATUS_COLOURS.get(text)
    return text if colour is None else _painted(text, fg=colour, bold=text in STATUSES_IN_BOLD)


def _painted(text: str, *, fg: str | None = None, bold: bool = False) -> str:
    return text if os.environ.get("TERM") == "dumb" else typer.style(text, fg=fg, bold=bold or None)


STATUS_COLOURS = {
    "completed": "green",
    "succeeded": "green",
    "running": "cyan",
    "dispatched": "cyan",
    "waiting": "cyan",
    "paused": "magenta",
    "compensating": "yellow",
    "compensated": "yellow",
    "unknown": "yellow",
    "failed": "red",
    "stuck": "red",
    "compensation_failed": "red",
    "ok": "green",
    "alive": "green",
    "lost": "bold red",
    "stopped": "dim",
    "problem": "red",
}
STATUSES_IN_BOLD = {"stuck", "compensation_failed", "problem"}
