"""Moments as a test reads them: `0s`, `0.2s`, `1m 30s`, `2h 0.5s`."""

from __future__ import annotations

from datetime import UTC, datetime

from saga_service.core.ids import SagaId
from saga_service.definitions.durations import UNITS_MS

BEGINNING = datetime(2100, 1, 1, tzinfo=UTC)
"""When a simulation begins unless told otherwise: later than any machine's clock, so that no handler that looks at its
own finds a deadline passed."""

_UNITS = ("d", "h", "m")


def moment_text(milliseconds: int) -> str:
    """Exact, and the same for the same time."""
    parts, left_ms = [], milliseconds
    for unit in _UNITS:
        count, left_ms = divmod(left_ms, UNITS_MS[unit])
        if count:
            parts.append(f"{count}{unit}")
    if left_ms or not parts:
        parts.append(f"{left_ms / 1000:.3f}".rstrip("0").rstrip(".") + "s")
    return " ".join(parts)


def moment_ms(moment: datetime | int) -> int:
    """Milliseconds since 1970. Raises ValueError for a datetime without its time zone."""
    if isinstance(moment, int):
        return moment
    if moment.tzinfo is None:
        raise ValueError(f"the moment {moment} has no time zone; write datetime(..., tzinfo=UTC)")
    return round(moment.timestamp() * 1000)


def short(saga_id: SagaId) -> str:
    """Enough of an id to tell sagas of one test apart."""
    return saga_id[:8]
