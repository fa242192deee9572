"""The test kit and the real service behind one interface, for scenarios that must come out the same on both.

Both run in virtual time and with the same scripted workers. `KitSystem` is a `Simulation`. `ServiceSystem` is the real
engine, lane and store on Postgres, with every message on real streams of Redis.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import count
from typing import Any, Protocol, cast

import asyncpg
from redis.asyncio import Redis
from structlog.testing import capture_logs

from saga_service.base.lifecycle import Shutdown
from saga_service.core.effects import HistoryEntry
from saga_service.core.events import TimerDue
from saga_service.core.ids import SagaId
from saga_service.core.state import SagaState
from saga_service.definitions import definition_from_document, readable_saga_spec
from saga_service.definitions.authoring import Duration
from saga_service.definitions.keywords import duration_ms
from saga_service.engine.batch import BatchDecoder, Item
from saga_service.engine.decode import Decoder
from saga_service.engine.deferral import DeferralPolicy
from saga_service.engine.engine import Engine
from saga_service.engine.outbox import OutboxRows, Outgoing
from saga_service.engine.saga_loader import SagaCache, SagaLoader
from saga_service.runtime.intake import Intake
from saga_service.runtime.lane import Lane
from saga_service.store.postgres_store import PostgresDefinitionRegistry, PostgresStore
from saga_service.testing import Refused, Script, Simulation
from saga_service.testing.catalogs import Source, catalog_of
from saga_service.testing.environment import Environment
from saga_service.testing.saga import BEGINNING, moment_ms
from saga_service.testing.service import DATA_BYTES_MAX, DEFERRAL_MAX_MS
from saga_service.wire.entries import Entry, Message, entry_of
from saga_service.wire.transport import StreamNames

NAMES = StreamNames()
BATCH_BYTES_MAX = 100_000_000
CLAIM_MAX, LEASE_MS = 100, 10_000
MOMENTS_MAX = 1_000


@dataclass(frozen=True)
class Observed:
    """Everything that people can see afterwards. `history` and `dead_letters` have a plain line for each row."""

    sagas: dict[SagaId, SagaState]
    history: list[str]
    dead_letters: list[str]


class System(Protocol):
    def on(self, name: str, *, step: str | None = None) -> Script:
        """The script for a command's type."""
        ...

    async def add(self, stream: str, **fields: str) -> None:
        """Add an entry to a stream now, and let the service take it."""
        ...

    async def advance(self, duration: Duration) -> None: ...

    async def run(self) -> None:
        """Let time pass until nothing is left to happen."""
        ...

    async def observe(self) -> Observed: ...


class KitSystem:
    """The test kit. A refused entry is what the service makes a dead letter of."""

    def __init__(self, sagas: Source) -> None:
        self._simulation = Simulation(sagas, jitter=False)
        self._refused: list[str] = []

    def on(self, name: str, *, step: str | None = None) -> Script:
        return self._simulation.on(name, step=step)

    async def add(self, stream: str, **fields: str) -> None:
        try:
            self._simulation.add(stream, **fields)
        except Refused as refused:
            self._refused.append(f"{stream}: {refused}")

    async def advance(self, duration: Duration) -> None:
        self._simulation.advance(duration)

    async def run(self) -> None:
        self._simulation.run()

    async def observe(self) -> Observed:
        delivered = [f"{letter.stream}: {letter.reason}" for letter in self._simulation.dead_letters]
        history = [_line(entry) for saga in self._simulation.sagas for entry in saga.history]
        states = {saga.id: saga.state for saga in self._simulation.sagas}
        return Observed(states, sorted(history), sorted(self._refused + delivered))


def _line(entry: HistoryEntry) -> str:
    fault = (entry.fault.code, entry.fault.message) if entry.fault is not None else (None, None)
    sent = [f"{each.step}:{each.label}:{each.attempt}" for each in entry.sent]
    direction = None if entry.direction is None else entry.direction.value
    return _row(
        entry.saga_id, entry.revision, entry.at_ms, entry.event, entry.status.value, entry.step, direction,
        entry.attempt, sent, *fault, entry.actor, entry.reason or None,
    )  # fmt: skip


def _row(saga_id: str, revision: int, *values: object) -> str:
    return f"{saga_id} {revision:4} {values}"


class ServiceSystem:
    """The service's own parts on real servers. The scripted workers read and write the real streams."""

    def __init__(self, pool: asyncpg.Pool, client: Redis, sagas: Source) -> None:
        self.now_ms = moment_ms(BEGINNING)
        catalog = catalog_of(sagas, jitter=False)
        self._documents = [spec.document for spec in catalog.specs()]
        self._pool = pool
        self._client = client
        self._environment = Environment(catalog.definitions(), [], NAMES, 0)
        self._store = PostgresStore(pool, definition_from_document, clock_ms=self._clock_ms)
        self._outbox = OutboxRows()
        deferral = DeferralPolicy(DEFERRAL_MAX_MS)
        registry = PostgresDefinitionRegistry(pool, readable_saga_spec)
        deployed = {(each.name, each.version): each for each in catalog.definitions()}
        self._engine = Engine(
            self._store,
            BatchDecoder(Decoder(catalog, NAMES, DATA_BYTES_MAX), registry, deferral, self._clock_ms),
            SagaLoader(self._store, deployed, SagaCache(100), self._clock_ms),
            Outgoing(NAMES, self._outbox),
            deferral=deferral,
            now_ms=self._clock_ms,
        )
        self._numbers = count(1)
        self._last_ids: dict[str, str] = {}
        """The last entry read of each stream that has any."""
        self._unread: deque[Entry] = deque()
        self._delayed: list[tuple[int, int, Message]] = []

    def _clock_ms(self) -> int:
        return self.now_ms

    async def begin(self) -> None:
        await self._store.remember_definitions(self._documents)

    def on(self, name: str, *, step: str | None = None) -> Script:
        return self._environment.script(name, None, step)

    async def add(self, stream: str, **fields: str) -> None:
        entry_id = await self._xadd(Message(stream, tuple(part for field in fields.items() for part in field)))
        await self._read()
        [added] = [entry for entry in self._unread if entry.id == entry_id]
        self._unread.remove(added)
        await self._process([added])

    async def advance(self, duration: Duration) -> None:
        until_ms = self.now_ms + duration_ms(duration)
        await self._run_until(until_ms)
        self.now_ms = until_ms

    async def run(self) -> None:
        await self._run_until(None)

    async def observe(self) -> Observed:
        ids = [row[0] for row in await self._pool.fetch("select id::text from saga.sagas")]
        history = await self._pool.fetch(
            "select saga_id::text, revision, (extract(epoch from at) * 1000)::bigint, event, status, step, direction,"
            " attempt, sent, error_code, error_message, actor, reason from saga.history"
        )
        letters = await self._pool.fetch("select stream, reason from saga.dead_letters")
        return Observed(
            {state.id: state for state in await self._store.load(ids)},
            sorted(_row(*row) for row in history),
            sorted(f"{letter['stream']}: {letter['reason']}" for letter in letters),
        )

    server_id = None

    async def publish(
        self,
        messages: Sequence[Message],
        handled: Iterable[tuple[str, Sequence[str]]],
        server_before: str | None = None,
    ) -> list[Message]:
        """Fulfils `engine.ports.Publisher`. `_last_ids` stand for the acknowledgements."""
        for message in messages:
            await self._xadd(message)
        return []

    async def _run_until(self, until_ms: int | None) -> None:
        for _ in range(MOMENTS_MAX):
            await self._settle()
            next_ms = await self._next_ms()
            if next_ms is None or (until_ms is not None and next_ms > until_ms):
                return
            self.now_ms = next_ms
            while self._delayed and self._delayed[0][0] <= next_ms:
                await self._xadd(heappop(self._delayed)[2])
        raise AssertionError(f"after {MOMENTS_MAX} moments it goes on")

    async def _settle(self) -> None:
        """Let everything happen that is due at this moment: entries, then deferred entries, then timers."""
        while True:
            await self._read()
            if self._unread:
                await self._deliver()
            elif requests := await self._store.claim_requests(self.now_ms, CLAIM_MAX, LEASE_MS):
                await self._process(requests)
            else:
                due, _ = await self._store.claim_due(self.now_ms, CLAIM_MAX, LEASE_MS)
                if not due:
                    return
                await self._process([TimerDue(saga_id) for saga_id in due])

    async def _deliver(self) -> None:
        """Deliver the next entry to its worker, or the next few to the service, as one batch."""
        if _is_command(self._unread[0]):
            for after_ms, message in self._environment.replies(self._unread.popleft(), self.now_ms):
                heappush(self._delayed, (self.now_ms + after_ms, next(self._numbers), message))
            while self._delayed and self._delayed[0][0] <= self.now_ms:
                await self._xadd(heappop(self._delayed)[2])
            return
        batch: list[Item] = []
        while self._unread and not _is_command(self._unread[0]):
            batch.append(self._unread.popleft())
        await self._process(batch)

    async def _process(self, items: Sequence[Item]) -> None:
        intake = Intake(BATCH_BYTES_MAX, Shutdown())
        intake.inlet(len(items)).put(items)
        intake.drained.request()
        with capture_logs():
            await Lane(intake, self._engine, self, self._outbox, len(items), lambda _: None).run()

    async def _next_ms(self) -> int | None:
        deferred_ms = await self._pool.fetchval(
            "select min(due_at_ms) from saga_private.requests where answered_at_ms is null"
        )
        _, timer_ms = await self._store.claim_due(self.now_ms, CLAIM_MAX, LEASE_MS)
        delayed_ms = self._delayed[0][0] if self._delayed else None
        return min((each for each in (deferred_ms, timer_ms, delayed_ms) if each is not None), default=None)

    async def _xadd(self, message: Message) -> str:
        # The ids of all streams together are in the order of the messages, and so tell which entry came first.
        entry_id = f"{self.now_ms}-{next(self._numbers)}"
        names, values = message.fields[::2], message.fields[1::2]
        await self._client.xadd(message.stream, dict(zip(names, values, strict=True)), id=entry_id)
        if message.stream != NAMES.outcomes:
            self._last_ids.setdefault(message.stream, "0-0")
        return entry_id

    async def _read(self) -> None:
        # Any: the client's own types cover all its modes of answering at once.
        answer: Any = await self._client.xread(cast("dict[Any, Any]", self._last_ids)) if self._last_ids else []
        entries = [
            entry_of(stream.decode(), entry_id.decode(), flat)
            for stream, found in answer or ()
            for entry_id, flat in found
        ]
        self._last_ids |= {entry.stream: entry.id for entry in entries}
        self._unread.extend(sorted(entries, key=lambda entry: tuple(map(int, entry.id.split("-")))))


def _is_command(entry: Entry) -> bool:
    return entry.stream.startswith(NAMES.commands(""))
