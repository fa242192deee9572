"""Deferral: an entry that cannot be handled yet is kept in Postgres and tried again later.

Three reasons lead here. The entry speaks of what is not there yet: a saga whose start is in other hands, a type that
only other replicas have deployed. Its saga is driven by a definition that this release cannot read, and another
replica's may. Or Postgres does not get through with it: a row is locked, a statement times out.

The first reason has an end: after `DeferralPolicy.max_ms` the entry is refused. An entry that waits for its saga is
not refused before every start that was added in that time has been handled, however long the backlog is. The other
reasons have no end, for nothing is wrong with the entry.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from saga_service.core.events import Event, OperationRequested, Signalled
from saga_service.core.ids import SagaId
from saga_service.engine.ports import Asked, Deferred
from saga_service.wire.dead_letters import NamedSaga
from saga_service.wire.entries import Entry

PAUSE_MS_MIN, PAUSE_MS_MAX = 50, 5_000
"""Between two attempts at an entry that waits for something to be there."""
SLOW_PAUSE_MS_MIN, SLOW_PAUSE_MS_MAX = 1_000, 30_000
"""Between two attempts at an entry that Postgres does not get through with. Each attempt may cost a whole time-out."""
ATTEMPTS_MIN = 5
"""Attempts before an entry is refused, however old it is: after an outage, what it waits for may lie unread as well."""
SLOW_SAGA_REMEMBERED_MS = 120_000
"""How long past its next attempt a saga counts as slow. The attempt may be another replica's."""


@dataclass(frozen=True, slots=True)
class DeferralPolicy:
    """How long an entry waits for what is not there yet. `max_ms` counts from the first attempt; 0 is not at all."""

    max_ms: int = 0
    starts_handled_up_to_ms: int | None = None
    """Every start that was added before this moment has been handled. None where nobody has looked: then the clock
    alone decides."""

    def may_wait(self, entry: Entry, now_ms: int) -> bool:
        return self.max_ms > 0 and (not self.is_overdue(entry, now_ms) or self._start_may_lie_unread(entry))

    def is_overdue(self, entry: Entry, now_ms: int) -> bool:
        """Whether the entry has waited for as long as the clock allows."""
        attempts = 1 if entry.request is None else entry.request.attempts
        return attempts >= ATTEMPTS_MIN and _age_ms(entry, now_ms) >= self.max_ms

    def _start_may_lie_unread(self, entry: Entry) -> bool:
        handled_ms, row = self.starts_handled_up_to_ms, entry.request
        return handled_ms is not None and row is not None and handled_ms < row.since_ms + self.max_ms


NO_DEFERRAL = DeferralPolicy()


def deferred(entry: Entry, now_ms: int, asked: Asked | None = None, named: NamedSaga | None = None) -> Deferred:
    """The entry, due again soon, and less and less often as it grows older."""
    return Deferred(entry, now_ms + _pause_ms(entry, now_ms, PAUSE_MS_MIN, PAUSE_MS_MAX), asked, named)


def put_back(entry: Entry, now_ms: int, asked: Asked | None = None) -> Deferred:
    """The entry, due again at once: a request of the same saga goes before it."""
    return Deferred(entry, now_ms + PAUSE_MS_MIN, asked)


def asked_of(event: Event) -> Asked | None:
    """The saga of which the event asks something; None for what has no place in the order of requests.

    A start waits for no request of its saga. What a parent saga asks of its child follows from the parent's own state.
    """
    match event:
        case Signalled() | OperationRequested(answers=None):
            return Asked(event.saga_id, None if event.by_key is None else event.by_key.key)
        case _:
            return None


def next_slow_attempt_ms(entry: Entry | None, now_ms: int) -> int:
    """When the entry is tried again that Postgres does not get through with. None for a timer's event."""
    if entry is None:
        return now_ms + SLOW_PAUSE_MS_MIN
    return now_ms + _pause_ms(entry, now_ms, SLOW_PAUSE_MS_MIN, SLOW_PAUSE_MS_MAX)


def _pause_ms(entry: Entry, now_ms: int, least_ms: int, most_ms: int) -> int:
    return min(max(_age_ms(entry, now_ms) // 2, least_ms), most_ms)


def _age_ms(entry: Entry, now_ms: int) -> int:
    return 0 if entry.request is None else now_ms - entry.request.since_ms


class SlowSagas:
    """Sagas of which an entry failed alone because a statement did, each with the moment of the next attempt.

    Until then every other entry of the saga is deferred to the same moment, untried: it would time out as well, and
    entries of one saga keep their order. Afterwards the saga is tried apart from others, so that one whose row stays
    locked costs one time-out for each attempt, and no other saga anything.
    """

    def __init__(self) -> None:
        self._next_attempt_ms: dict[SagaId, int] = {}

    def __bool__(self) -> bool:
        return bool(self._next_attempt_ms)

    def __contains__(self, saga_id: SagaId) -> bool:
        return saga_id in self._next_attempt_ms

    def add(self, saga_id: SagaId, next_attempt_ms: int) -> None:
        """Note that nothing is tried with this saga before `next_attempt_ms`."""
        self._next_attempt_ms[saga_id] = next_attempt_ms

    def forget_old(self, now_ms: int) -> None:
        """Forget sagas long past their next attempt: another replica has gone on with them."""
        forgotten_ms = now_ms - SLOW_SAGA_REMEMBERED_MS
        self._next_attempt_ms = {known: ms for known, ms in self._next_attempt_ms.items() if ms > forgotten_ms}

    def held_until_ms(self, saga_id: SagaId, now_ms: int) -> int | None:
        """The moment of the next attempt; None where the saga may be tried now."""
        next_attempt_ms = self._next_attempt_ms.get(saga_id, now_ms)
        return next_attempt_ms if next_attempt_ms > now_ms else None

    def discard(self, saga_ids: Iterable[SagaId]) -> None:
        """Note that these sagas were committed: nothing holds them any more."""
        for saga_id in saga_ids:
            self._next_attempt_ms.pop(saga_id, None)
