"""The one clock. It is read at the edges alone: to the core, time is an argument."""

from __future__ import annotations

import time


def now_ms() -> int:
    """Milliseconds since 1970, by this machine's clock. Replicas are expected to keep theirs together (NTP)."""
    return time.time_ns() // 1_000_000
