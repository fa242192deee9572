"""The sagas that are followed one by one, and what the next look has to ask for them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from saga_service.admin.changes import LINES_MAX, Changes
from saga_service.http.live.event_texts import EventTexts
from saga_service.http.live.saga_followers import SagaFollower


@dataclass(slots=True)
class _Saga:
    followers: list[SagaFollower] = field(default_factory=list)
    is_fresh: bool = True
    """True where the next look has to look the saga up though it may not have changed."""

    @property
    def revision(self) -> int | None:
        """The revision from which a follower wants the history, the lowest of them."""
        return min((each.revision for each in self.followers if each.revision is not None), default=None)


class FollowedSagas:
    """Followers by their sagas."""

    def __init__(self) -> None:
        self._sagas: dict[str, _Saga] = {}
        self._asked: dict[str, int | None] = {}

    def __bool__(self) -> bool:
        return bool(self._sagas)

    def add(self, follower: SagaFollower) -> None:
        """Let a follower see from the next look on, by which the saga is looked up in any case."""
        saga = self._sagas.setdefault(follower.saga_id, _Saga())
        saga.followers.append(follower)
        saga.is_fresh = True

    def remove(self, follower: SagaFollower) -> None:
        saga = self._sagas.get(follower.saga_id)
        if saga is not None and follower in saga.followers:
            saga.followers.remove(follower)
            if not saga.followers:
                del self._sagas[follower.saga_id]

    def refresh(self) -> None:
        """Look all of them up by the next look."""
        for saga in self._sagas.values():
            saga.is_fresh = True

    def asked(self) -> tuple[dict[str, int | None], dict[str, int | None]]:
        """The sagas to look up where they have changed, and those to look up in any case, with their revisions."""
        watched = {saga_id: saga.revision for saga_id, saga in self._sagas.items() if not saga.is_fresh}
        self._asked = {saga_id: saga.revision for saga_id, saga in self._sagas.items() if saga.is_fresh}
        return watched, self._asked

    def see(self, changes: Changes, texts: EventTexts) -> None:
        """Let the followers see what the look has found that was asked for last."""
        for saga_id in self._asked.keys() | changes.lines.keys() | (changes.sagas.keys() & self._sagas.keys()):
            self._see(saga_id, changes, texts)
        for saga_id in (changes.removed | self._asked.keys()) - changes.sagas.keys():
            for follower in self._followers(saga_id):
                follower.miss()

    def _see(self, saga_id: str, changes: Changes, texts: EventTexts) -> None:
        followed, now = self._sagas.get(saga_id), changes.sagas.get(saga_id)
        if followed is None or now is None:
            return
        lines = changes.lines.get(saga_id, ())
        for follower in self._followers(saga_id):
            follower.see(now, lines, texts)
        # A look brings so many lines of a saga, and the next one goes on.
        followed.is_fresh = len(lines) == LINES_MAX

    def _followers(self, saga_id: str) -> Iterable[SagaFollower]:
        saga = self._sagas.get(saga_id)
        return () if saga is None else tuple(saga.followers)
