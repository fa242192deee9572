"""Lines and JSON on standard output, moments and time spans in words, and the options that commands share."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import orjson
import typer

from saga_service.admin.text import harmless

if TYPE_CHECKING:
    from saga_service.definitions.compatibility import Mismatch  # whoever prints none needs no definitions


def print_json(value: object) -> None:
    """Print values, dataclasses, times (as ISO 8601) and ids as indented JSON."""
    typer.echo(orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_UTC_Z).decode())


def print_line(text: str = "") -> None:
    typer.echo(harmless(text))


def print_heading(text: str) -> None:
    typer.echo(typer.style(text, bold=True) if sys.stdout.isatty() else text)


def print_mismatch(mismatch: Mismatch, without_worker: str) -> None:
    """Print a line about definitions and workers that do not fit together.

    `without_worker` is what to do about a service that has no worker; SERVICE in it stands for its name.
    """
    kind, colour = ("problem", "red") if mismatch.is_problem else ("hint", "yellow")
    advice = "" if mismatch.service is None else f"; {without_worker.replace('SERVICE', mismatch.service)}"
    line = harmless(f"{kind}: {mismatch}{advice}")
    typer.echo(typer.style(line, fg=colour) if sys.stdout.isatty() else line)


def counted(number: int, noun: str) -> str:
    """The number with its noun: `1 saga`, `20,000 sagas`."""
    return f"1 {noun}" if number == 1 else f"{number:,} {noun}s"


def shown_of(shown: int, fit: int | None, noun: str) -> str:
    """How many of all that fit a list shows. `fit` is None where they were too many to be counted."""
    if shown == 0:
        return f"no {noun}s"
    if fit == shown:
        return counted(shown, noun)
    of_all = "more, too many to be counted" if fit is None else counted(fit, noun)
    return f"{shown:,} of {of_all}; --limit says how many are shown"


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
