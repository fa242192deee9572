"""How long an entry waits for what it speaks of to be there: a saga whose start is in other hands, a definition that
only other replicas have."""

from __future__ import annotations

from dataclasses import dataclass

from saga_service.engine.ports import Deferred
from saga_service.wire.entries import Entry

PAUSE_MS_MIN, PAUSE_MS_MAX = 50, 5_000
"""Between two looks at it."""
ATTEMPTS_MIN = 5
"""However old it is: after an outage what it waits for may lie unread as well."""


@dataclass(frozen=True, slots=True)
class DeferralPolicy:
    """`kept_ms` counts from the first look at the entry; 0 is none."""

    kept_ms: int = 0

    def may_wait(self, entry: Entry, now_ms: int) -> bool:
        attempts = 1 if entry.request is None else entry.request.attempts
        return self.kept_ms > 0 and (attempts < ATTEMPTS_MIN or _age_ms(entry, now_ms) < self.kept_ms)

    def deferred(self, entry: Entry, now_ms: int) -> Deferred:
        """It is looked at again soon, then less and less often."""
        return Deferred(entry, now_ms + min(max(_age_ms(entry, now_ms) // 2, PAUSE_MS_MIN), PAUSE_MS_MAX))


def _age_ms(entry: Entry, now_ms: int) -> int:
    return 0 if entry.request is None else now_ms - entry.request.since_ms


NO_DEFERRAL = DeferralPolicy()
