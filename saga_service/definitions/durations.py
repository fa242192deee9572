"""Durations as people write them, and back."""

from __future__ import annotations

import re
from datetime import timedelta
from decimal import Decimal

from saga_service.definitions.problems import shown

UNITS_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
"""The units that a duration may be written in, each in milliseconds."""
DURATION_MS_MAX = 365 * UNITS_MS["d"]
"""The longest duration of any kind: a year."""

_TEXT = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,15})?) ?(ms|s|m|h|d)")
_HOW_TO_WRITE = "write a number with its unit, such as '200ms', '30s', '5m', '1h' or '7d', or a number of seconds"


def duration_ms(value: object) -> int:
    """A text with a unit, a timedelta or a number of seconds, in whole milliseconds.

    Raises ValueError, which says what to write, for anything else, for less than nothing and for more than a year.
    """
    milliseconds = _milliseconds(value)
    if milliseconds is None:
        raise ValueError(f"must be a duration, but is {shown(value)}; {_HOW_TO_WRITE}")
    if milliseconds != milliseconds.to_integral_value():
        raise ValueError(f"must be whole milliseconds, but is {shown(value)}")
    if not 0 <= milliseconds <= DURATION_MS_MAX:
        raise ValueError(f"must be from 0 to {duration_text(DURATION_MS_MAX)}, but is {shown(value)}")
    return int(milliseconds)


def duration_text(milliseconds: int) -> str:
    """The shortest text that is exact: `90s` for 90,000."""
    for unit, unit_ms in reversed(UNITS_MS.items()):
        if milliseconds and milliseconds % unit_ms == 0:
            return f"{milliseconds // unit_ms}{unit}"
    return "0s"


def _milliseconds(value: object) -> Decimal | None:
    match value:
        case bool():
            return None
        case int() | float():
            seconds = Decimal(str(value))
            return seconds * 1_000 if seconds.is_finite() else None
        case timedelta():
            return Decimal(value // timedelta(microseconds=1)) / 1_000
        case str():
            matched = _TEXT.fullmatch(value.strip())
            return Decimal(matched[1]) * UNITS_MS[matched[2]] if matched else None
        case _:
            return None
