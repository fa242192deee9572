"""The one reader of a process: it looks at Postgres while somebody watches or waits, and tells all of them.

One query is one look, whatever the number of viewers and of those who wait. Nobody is told of a look that began before
they came, for they would miss what was changed meanwhile: whoever comes is let in when the next look begins.

While Postgres is away all viewers are told so once, and keep their streams. The next look that succeeds goes on from
the last one that did.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager

import asyncpg
import structlog
from asyncpg import Connection

from saga_service.admin.changes import Changes, Cursor, EntryPlace, LetterOfEntry, Wanted, changes_since
from saga_service.admin.failure_kinds import Failure, FailureKind
from saga_service.base.liveness import moved, waiting
from saga_service.http.live.event_texts import EventTexts
from saga_service.http.live.expectations import Expectations
from saga_service.http.live.followed_sagas import FollowedSagas
from saga_service.http.live.saga_followers import SagaFollower
from saga_service.http.live.saga_list import ListViewer
from saga_service.http.live.saga_lists import LOOKED_UP_MAX, SagaLists
from saga_service.http.live.server_sent_events import CLOSING, REACHABLE, UNREACHABLE, comment
from saga_service.http.live.viewer import Viewer
from saga_service.store.requests import Result

log = structlog.get_logger(__name__)
LOOK_S_MAX = 5.0
"""How long the looks of one round may take. Viewers are told after that time that Postgres is away."""
RESUMED_MAX = 10
"""Moments from which viewers go on in one round: a look for each. Of a process that has died most have the same one."""
OPENED_AT_ONCE_MAX = 2
"""Streams whose beginning is read at once. A thousand may come together, and other requests need connections too."""
TURN_S_MAX = 30.0
"""How long whoever opens a stream waits for that."""
REFRESH_S = 30.0
"""How often all sagas that are followed are looked up, whether or not they have changed. A commit that waits for a
standby may hang for longer than changes are kept."""

Connect = Callable[[], AbstractAsyncContextManager[Connection]]


class LiveReader:
    """Tells viewers and those who wait.

    `connect` lends a connection that no request takes, or raises Failure. `looked` is told how many seconds looks took.
    """

    def __init__(
        self,
        connect: Connect,
        *,
        period_s: float,
        heartbeat_s: float,
        looked: Callable[[float], None] = lambda seconds: None,
    ) -> None:
        self.viewers: set[Viewer] = set()
        """All open streams, those included that still read the past."""
        self.sagas = FollowedSagas()
        self.lists = SagaLists()
        self.answers: Expectations[int, Result] = Expectations()
        self.letters: Expectations[EntryPlace, LetterOfEntry] = Expectations()
        self.ended = asyncio.Event()
        self.heartbeat_s = heartbeat_s
        self._connect = connect
        self._looked = looked
        self._period_s = period_s
        self._wanted = asyncio.Event()
        self._coming: list[SagaFollower | ListViewer] = []
        self._since: Cursor | None = None
        self._is_away = False
        self._turns = asyncio.Semaphore(OPENED_AT_ONCE_MAX)
        self._beat_at_s = 0.0
        self._refresh_at_s = 0.0

    async def run(self) -> None:
        """Look once in a period while somebody watches or waits."""
        loop = asyncio.get_running_loop()
        while True:
            with waiting():
                await self._wanted.wait()
            moved()
            next_at_s = loop.time() + self._period_s
            await self._round(loop.time())
            with waiting():
                await asyncio.sleep(max(0.0, next_at_s - loop.time()))

    @property
    def waiters(self) -> int:
        """How many answers and dead letters are waited for."""
        return len(self.answers.keys()) + len(self.letters.keys())

    def end(self) -> None:
        """End all streams and waits at once: the process stops."""
        self.ended.set()
        for viewer in self.viewers:
            viewer.end(CLOSING)

    def wake(self) -> None:
        """Look, though nobody has waited before."""
        self._wanted.set()

    @contextmanager
    def admitted(self, viewer: Viewer) -> Iterator[None]:
        """Within the block the viewer is told what concerns the process and its servers."""
        self.viewers.add(viewer)
        if self.ended.is_set():
            viewer.end(CLOSING)
        try:
            yield
        finally:
            self.viewers.discard(viewer)

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """The turn of one who reads what a stream begins with. Raises Failure where it does not come in time."""
        try:
            async with asyncio.timeout(TURN_S_MAX):
                await self._turns.acquire()
        except TimeoutError:
            raise Failure(
                "too many streams of events are opened at once", "ask again in a moment", kind=FailureKind.UNREACHABLE
            ) from None
        try:
            yield
        finally:
            self._turns.release()

    @contextmanager
    def telling(self, follower: SagaFollower | ListViewer) -> Iterator[None]:
        """Within the block the follower is told what it follows, from the next look on."""
        self._coming.append(follower)
        self.wake()
        try:
            yield
        finally:
            if follower in self._coming:
                self._coming.remove(follower)
            elif isinstance(follower, ListViewer):
                self.lists.remove(follower)
            else:
                self.sagas.remove(follower)

    async def _round(self, now_s: float) -> None:
        came = self._let_in()
        if not (self.sagas or self.lists or self.answers or self.letters):
            self._wanted.clear()
            self._since, self._is_away = None, False
            return
        if now_s >= self._refresh_at_s:
            self._refresh_at_s = now_s + REFRESH_S
            self.sagas.refresh()
        try:
            async with asyncio.timeout(LOOK_S_MAX):
                await self._look(now_s)
        except (Failure, TimeoutError) as error:
            self._lose(came, error)
        except Exception as error:
            # Nobody would be told anything any more.
            log.error("a look at what has changed met a bug", error=repr(error), exc_info=error)
            self._lose(came, error)
        self._looked(asyncio.get_running_loop().time() - now_s)
        if now_s >= self._beat_at_s:
            self._beat_at_s = now_s + self.heartbeat_s
            self._beat()

    def _let_in(self) -> list[SagaFollower | ListViewer]:
        came, self._coming = self._coming, []
        for follower in came:
            if isinstance(follower, ListViewer):
                self.lists.add(follower)
            else:
                self.sagas.add(follower)
        return came

    async def _look(self, now_s: float) -> None:
        changed_max = LOOKED_UP_MAX if self.lists else 0
        async with self._connect() as connection:
            for since in self.lists.cursors_to_resume(RESUMED_MAX):
                await self._resume(connection, since)
            watched, fresh = self.sagas.asked()
            wanted = Wanted(self._since, changed_max, watched, fresh, self.answers.keys(), self.letters.keys())
            changes = await changes_since(connection, wanted)
        if self._is_away:
            self._is_away = False
            log.info("postgres can be reached again; viewers miss nothing")
            self._tell_all(REACHABLE)
        is_gapless = self._since is None or self._since.is_remembered_at(changes.cursor)
        if not is_gapless:
            self.sagas.refresh()
        self._since = changes.cursor
        self._tell(changes, now_s, is_gapless=is_gapless)

    async def _resume(self, connection: Connection, since: Cursor) -> None:
        try:
            changes = await changes_since(connection, Wanted(since, LOOKED_UP_MAX))
        except asyncpg.DataError:
            # A snapshot that only looks like one.
            self.lists.begin_anew(since)
            return
        self.lists.resume(since, changes)
        # Whatever is changed between this look and the next one is told by that.
        self._since = self._since or changes.cursor

    def _tell(self, changes: Changes, now_s: float, *, is_gapless: bool) -> None:
        texts = EventTexts()
        self.sagas.see(changes, texts)
        self.lists.tell(changes, texts, now_s, is_gapless=is_gapless)
        self.answers.fulfil(changes.answers)
        self.letters.fulfil(changes.letters)

    def _lose(self, came: Iterable[object], error: Exception) -> None:
        # What the look asked for in any case was not found.
        self.sagas.refresh()
        if self._is_away:
            for follower in came:
                if isinstance(follower, Viewer):
                    follower.tell(UNREACHABLE)
            return
        self._is_away = True
        log.warning("postgres cannot be reached; viewers are told, and miss nothing", error=str(error))
        self._tell_all(UNREACHABLE)

    def _beat(self) -> None:
        if self._is_away:
            self._tell_all(comment("postgres cannot be reached"))
            return
        for viewer in self.viewers:
            if not isinstance(viewer, ListViewer):
                viewer.tell(comment())
        self.lists.beat(self._since)

    def _tell_all(self, text: bytes) -> None:
        for viewer in self.viewers:
            viewer.tell(text)
