"""The outside in memory: a store, a publisher and a source that keep a journal and fail when told to."""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TypeVar

import pytest

from saga_service.base.clock import Backoff
from saga_service.base.lifecycle import Milestone, Shutdown
from saga_service.core.definition import Definition
from saga_service.core.events import BusinessKey
from saga_service.core.ids import SagaId, command_id, saga_id_from_key
from saga_service.core.state import SagaState
from saga_service.core.vocabulary import Direction
from saga_service.engine.batch import BatchDecoder, Item
from saga_service.engine.decode import Decoder
from saga_service.engine.deferral import DeferralPolicy
from saga_service.engine.engine import Committed, Engine
from saga_service.engine.failures import StoreRefused, StoreTimedOut
from saga_service.engine.outbox import OutboxRows, Outgoing
from saga_service.engine.ports import Batch, Deferred, DefinitionRegistry, KeyedSaga, StartsBacklog
from saga_service.engine.saga_loader import SagaCache, SagaLoader
from saga_service.runtime.intake import Intake
from saga_service.runtime.lane import Lane
from saga_service.testing.memory_store import MemoryStore, Request
from saga_service.wire.encryption import Cipher
from saga_service.wire.entries import Entry, Message
from saga_service.wire.events import write_event
from saga_service.wire.replies import write_success
from saga_service.wire.saga_spec import UnreadableDocument
from saga_service.wire.transport import REQUESTS, StreamNames
from tests.support.builders import START_MS, PlainBlueprint, PlainCatalog, definition, delivered

TURNS_MAX = 1_000
T = TypeVar("T")


class Faults:
    """What goes wrong, call by call: an exception is raised, None lets the call through, and after the last all go."""

    def __init__(self) -> None:
        self._coming: deque[BaseException | None] = deque()
        self.lasting: BaseException | None = None

    def then(self, *outcomes: BaseException | None) -> None:
        self._coming.extend(outcomes)

    def strike(self) -> None:
        fault = self._coming.popleft() if self._coming else self.lasting
        if fault is not None:
            raise fault


class FaultyStore(MemoryStore):
    """A store in memory that keeps a journal and fails when told to.

    Requests need not be made before: a test names any number, and a request that has no result yet is open.
    """

    def __init__(self, journal: list[str] | None = None) -> None:
        super().__init__(clock_ms=lambda: START_MS)
        self.journal = [] if journal is None else journal
        self.commits: list[Batch] = []
        self.parked: list[SagaId] = []
        self.commit_faults = Faults()
        self.load_faults = Faults()
        self.probe_faults = Faults()
        self.after_commit_faults = Faults()
        """What goes wrong once everything is written: nobody gets to know that it was."""
        self.refuses: Callable[[Batch], bool] = lambda _: False
        self.times_out: Callable[[Batch], bool] = lambda _: False
        """Batches that meet a lock which somebody keeps."""
        self.unreadable: dict[tuple[str, str], str] = {}
        """Definitions that a later release has stored, each with the reason why this one cannot read it."""
        self._request_ids = itertools.count(1_001)

    @property
    def deferred(self) -> dict[int, Deferred]:
        """Entries that wait for their sagas, each as the next claim returns it, by the numbers of their rows."""
        return {
            number: Deferred(request.claimed(number, START_MS), request.due_at_ms)
            for number, request in self.requests.items()
        }

    async def load(self, saga_ids: Sequence[SagaId]) -> list[SagaState]:
        self.journal.append(f"load {len(saga_ids)}")
        await asyncio.sleep(0)
        self.load_faults.strike()
        return await super().load(saga_ids)

    async def commit(self, batch: Batch) -> int | None:
        await asyncio.sleep(0)
        self.commit_faults.strike()
        if self.refuses(batch):
            raise StoreRefused("a value that cannot be stored")
        if self.times_out(batch):
            self.journal.append("time out")
            raise StoreTimedOut("canceling statement due to lock timeout")
        with self._made_up_requests(batch):
            outbox_id = await super().commit(batch)
        self.journal.append("commit")
        self.commits.append(batch)
        self.parked.extend(batch.parked)
        self.after_commit_faults.strike()
        return outbox_id

    @contextmanager
    def _made_up_requests(self, batch: Batch) -> Iterator[None]:
        """Open for the commit, and gone again where it fails. What is deferred again was claimed before."""
        named = {result.request_id: Request(Entry(REQUESTS, str(result.request_id), {})) for result in batch.results}
        for entry, due_at_ms, *_ in batch.deferred:
            if row := entry.request:
                named[row.number] = Request(replace(entry, request=None), due_at_ms, row.since_ms, row.attempts)
                if row.number in self.requests:
                    self.requests[row.number].attempts = row.attempts
        known = self.requests.keys() | self.results.keys()
        made_up = {number: request for number, request in named.items() if number not in known}
        self.requests |= made_up
        try:
            yield
        except BaseException:
            for number in made_up:
                del self.requests[number]
            raise

    async def probe(self) -> None:
        self.journal.append("probe")
        await asyncio.sleep(0)
        self.probe_faults.strike()

    async def ids_with_key(self, keys: Sequence[BusinessKey]) -> list[KeyedSaga]:
        self.journal.append(f"keys {len(keys)}")
        await asyncio.sleep(0)
        return await super().ids_with_key(keys)

    async def definition(self, saga: str, version: str) -> Definition | None:
        self.journal.append(f"definition {saga} {version}")
        await asyncio.sleep(0)
        if (saga, version) in self.unreadable:
            raise UnreadableDocument(self.unreadable[saga, version])
        return await super().definition(saga, version)


class MemoryPublisher:
    """Takes everything, unless told to refuse or to fail."""

    def __init__(self, journal: list[str] | None = None) -> None:
        self.journal = [] if journal is None else journal
        self.messages: list[Message] = []
        self.acknowledged: list[tuple[str, str]] = []
        self.refused: list[Message] = []
        self.faults = Faults()
        self.server_id: str | None = None

    async def publish(
        self,
        messages: Sequence[Message],
        handled: Iterable[tuple[str, Sequence[str]]],
        server_before: str | None = None,
    ) -> list[Message]:
        await asyncio.sleep(0)
        self.faults.strike()
        self.journal.extend(f"add to {message.stream}" for message in messages)
        self.messages.extend(messages)
        for stream, entry_ids in handled:
            self.journal.append(f"acknowledge {len(entry_ids)} of {stream}")
            self.acknowledged.extend((stream, entry_id) for entry_id in entry_ids)
        return self.refused


class ScriptedSource:
    """Gives and raises what it was told, in order; `at_the_end` is called once all of it is told."""

    def __init__(self, stream: str = "saga:events", journal: list[str] | None = None) -> None:
        self.stream = stream
        self.journal = [] if journal is None else journal
        self.reads: deque[list[Entry] | Exception] = deque()
        self.reclaims: deque[tuple[list[Entry], bool] | Exception] = deque()
        """Each with whether it reaches the end of the pending list."""
        self.groups: deque[bool | Exception] = deque()
        self.removals: deque[Exception] = deque()
        self.asked_for: list[int] = []
        self.blocks_ms: list[int] = []
        self.at_the_end: Callable[[], None] = lambda: None
        self.leave_faults = Faults()
        self.has_read = Milestone()
        self.reclaim_is_through = True

    async def read(self, count_max: int, block_ms: int) -> list[Entry]:
        self.asked_for.append(count_max)
        self.blocks_ms.append(block_ms)
        self.has_read.reached()
        return await self._next("read", self.reads, [])

    async def reclaim(self, count_max: int, min_idle_ms: int) -> list[Entry]:
        assert min_idle_ms == RECLAIM_IDLE_MS
        found = await self._next(f"reclaim {count_max}", self.reclaims, ([], True), may_end=False)
        entries, self.reclaim_is_through = found
        return entries

    async def has_group(self) -> bool:
        return not (self.groups and self.groups[0] is True)

    async def ensure_group(self) -> bool:
        return await self._next("ensure group", self.groups, False, may_end=False)

    async def remove_dead_consumers(self, idle_ms: int) -> int:
        self.journal.append(f"remove consumers idle {idle_ms}")
        if self.removals:
            raise self.removals.popleft()
        return 0

    async def leave(self) -> None:
        self.journal.append(f"leave {self.stream}")
        self.leave_faults.strike()

    async def _next(self, name: str, script: deque[T | Exception], when_told: T, *, may_end: bool = True) -> T:
        self.journal.append(name)
        await asyncio.sleep(0)
        if not script:
            if may_end and not (self.reads or self.reclaims or self.groups):
                self.at_the_end()
            return when_told
        answer = script.popleft()
        if isinstance(answer, Exception):
            raise answer
        return answer


class PausesThatPass(Shutdown):
    """Pauses are over at once and kept in `pauses_s`; the last of `pauses_max` requests the shutdown."""

    def __init__(self, pauses_max: int = 5) -> None:
        super().__init__()
        self.pauses_s: list[float] = []
        self._pauses_max = pauses_max

    async def pause(self, seconds: float) -> None:
        self.pauses_s.append(seconds)
        if len(self.pauses_s) >= self._pauses_max:
            self.request()
        await asyncio.sleep(0)


@pytest.fixture
def backoffs(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Backoffs pass at once; how long each would have taken, in seconds."""
    waited_s: list[float] = []

    async def pass_at_once(backoff: Backoff) -> None:
        waited_s.append(backoff.next_s())
        assert len(waited_s) < TURNS_MAX, "this never ends"
        await asyncio.sleep(0)

    monkeypatch.setattr(Backoff, "wait", pass_at_once)
    return waited_s


async def turns(count: int = 20) -> None:
    """Let every other task go on for so many turns of the loop."""
    for _ in range(count):
        await asyncio.sleep(0)


# ------------------------------------------------------------------------------------------------- all of it together

NAMES = StreamNames()
ORDER = definition("reserve", "charge")
DATA_BYTES_MAX = 10_000
BATCH_BYTES_MAX = 1_000_000
RECLAIM_IDLE_MS = 60_000


class ServiceInMemory:
    """An engine with a memory for all that lies outside, and a clock that stands still."""

    def __init__(
        self,
        store: FaultyStore | None = None,
        defined: Definition = ORDER,
        cipher: Cipher | None = None,
        *,
        registry: DefinitionRegistry | None = None,
        deferral_max_ms: int = 0,
        key_field: str | None = None,
        starts: StartsBacklog | None = None,
    ) -> None:
        self.journal: list[str] = []
        self.defined = defined
        self.store = store or FaultyStore()
        self.store.journal = self.journal
        self.publisher = MemoryPublisher(self.journal)
        self.outbox = OutboxRows()
        self.cache = SagaCache(100)
        self.now_ms = START_MS
        self.catalog = PlainCatalog(PlainBlueprint(defined, integers=["amount"], key_field=key_field))
        deferral = DeferralPolicy(deferral_max_ms)
        self.engine = Engine(
            self.store,
            BatchDecoder(Decoder(self.catalog, NAMES, DATA_BYTES_MAX, cipher), registry, deferral, self._clock_ms),
            SagaLoader(self.store, {(defined.name, defined.version): defined}, self.cache, self._clock_ms),
            Outgoing(NAMES, self.outbox, cipher),
            deferral=deferral,
            now_ms=self._clock_ms,
            starts=starts,
        )

    def _clock_ms(self) -> int:
        return self.now_ms

    async def process(self, *items: Item) -> Committed:
        """For a batch that stays whole."""
        committed = await self.process_apart(*items)
        assert len(committed) == 1, "the batch was taken apart"
        return committed[0]

    async def process_apart(self, *items: Item) -> list[Committed]:
        """For a batch that may be taken apart."""
        return [committed async for committed in self.engine.process(items)]

    async def take(self, *items: Item) -> None:
        """All the way, as the service does it: intake, lane, engine, publisher."""
        intake = Intake(BATCH_BYTES_MAX, Shutdown())
        intake.inlet(len(items)).put(items)
        intake.drained.request()
        await Lane(intake, self.engine, self.publisher, self.outbox, len(items), lambda _: None).run()


def start(number: int = 1, entry_id: str | None = None, **more: str) -> Entry:
    message = write_event(NAMES.events, "order", {"amount": 5}, key=f"order-{number}")
    made = delivered(message, entry_id or f"1700-{number}")
    return replace(made, fields={**made.fields, **{name.encode(): value.encode() for name, value in more.items()}})


def saga_id(number: int = 1) -> SagaId:
    return saga_id_from_key("order", f"order-{number}")


def success(step: str, number: int = 1, attempt: int = 1, entry_id: str = "1800-0") -> Entry:
    command = command_id(saga_id(number), step, Direction.ACTION, attempt)
    return delivered(write_success(NAMES.replies, command, saga_id(number), {"by": step}), entry_id)
