"""The one clock. It is read at the edges alone: to the core, time is an argument."""

from __future__ import annotations

import time


def now_ms() -> int:
    """Return the milliseconds since 1970 by this machine's clock, which replicas are expected to keep in step (NTP)."""
    return time.time_ns() // 1_000_000
