"""Copies of sagas that this replica has just written, so that their next reply needs no read.

A copy is right as long as no other replica has moved the saga on. Nothing wrong is ever written from an old copy, for
the commit checks the revision; but every old copy costs its batch a second try. So after a conflict the copies are not
trusted for a while: with several replicas at work, reading first is cheaper.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

from saga_service.core.ids import SagaId
from saga_service.core.state import ENDED, SagaState

DISTRUST_MS = 5_000


class SagaCache:
    """At most `sagas_max` copies, the least recently used going first."""

    def __init__(self, sagas_max: int) -> None:
        self._sagas_max = sagas_max
        self._copies: OrderedDict[SagaId, SagaState] = OrderedDict()
        self._trusted_from_ms = 0

    def find(self, saga_ids: Iterable[SagaId], now_ms: int) -> dict[SagaId, SagaState]:
        """The copies there are, or none while they are not trusted."""
        if now_ms < self._trusted_from_ms:
            return {}
        copies = self._copies
        return {saga_id: copies[saga_id] for saga_id in saga_ids if saga_id in copies}

    def keep(self, states: Iterable[SagaState]) -> None:
        """These were committed just now. An ended saga is let go: hardly anything more is heard of it."""
        for state in states:
            self._copies.pop(state.id, None)
            if state.status not in ENDED:
                self._copies[state.id] = state
        while len(self._copies) > self._sagas_max:
            self._copies.popitem(last=False)

    def compare(self, states: Iterable[SagaState], now_ms: int) -> None:
        """Hold the copies against what was read just now. An old one means that another replica works on our sagas:
        none of them is trusted for a while."""
        copies = self._copies
        if any(state.id in copies and copies[state.id].revision < state.revision for state in states):
            self._trusted_from_ms = now_ms + DISTRUST_MS
            copies.clear()
