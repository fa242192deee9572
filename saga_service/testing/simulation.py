"""What a test writes against: a service, its streams, its workers and its clock, all in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from itertools import count
from typing import Any
from weakref import WeakValueDictionary

from pydantic import BaseModel

from saga_service.core.ids import SagaId
from saga_service.core.vocabulary import Operation, Resolution
from saga_service.definitions.authoring import Duration
from saga_service.definitions.durations import duration_ms
from saga_service.testing.command_names import SentNames
from saga_service.testing.environment import Outside
from saga_service.testing.errors import NotReached
from saga_service.testing.saga import Condition, SimulatedSaga
from saga_service.testing.scripts import Script, plain
from saga_service.testing.service import ServiceInMemory
from saga_service.testing.sources import Source, catalog_of
from saga_service.testing.timeline import BEGINNING, moment_ms, moment_text
from saga_service.wire.dead_letters import DeadLetter
from saga_service.wire.entries import WIRE_VERSION, Message
from saga_service.wire.events import write_event
from saga_service.wire.json import write
from saga_service.wire.stream_names import OWN_TYPES_PREFIX, StreamNames
from saga_service.worker.worker import Worker

EVENTS_MAX = 20_000
ACTOR = "the test"
Data = Mapping[str, Any] | BaseModel


class Simulation:
    """Sagas that run in memory, in virtual time, without a server. Nothing happens by chance: the same test always
    sees the same moments.

        sim = Simulation(order, workers=[payment])
        sim.on("inventory.reserve").fails("busy").succeeds({"shelf": 7})
        saga = sim.start("order", {"order_id": "A-1", "amount": 30})
        sim.run()
        assert saga.sent == ["0s reserve", "0.2s reserve (attempt 2)", "0.2s charge"]

    `workers` answer the commands of their services with their real handlers; commands of other services succeed with
    no output, unless `on` says otherwise. `answers_after` is how long such an answer takes. `jitter=False` makes every
    wait before a retry as long as its policy allows. `connection` is what transactional handlers get in the place of
    one to Postgres; inboxes are kept in memory. `now` is when the simulation begins. `events_max` bounds what one
    call of `run`, `advance` or `until` lets happen.

    Raises DefinitionErrors for a saga that is wrong, and TypeError for what is no saga, or no worker.
    """

    def __init__(
        self,
        sagas: Source,
        workers: Iterable[Worker] = (),
        *,
        now: datetime | int = BEGINNING,
        jitter: bool = True,
        answers_after: Duration = 0,
        connection: Any = None,
        events_max: int = EVENTS_MAX,
    ) -> None:
        self._names = StreamNames()
        self._began_ms = moment_ms(now)
        catalog = catalog_of(sagas, jitter=jitter)
        self._sent_names = SentNames(catalog.definitions())
        self._outside = Outside(workers, self._names, duration_ms(answers_after), connection)
        self._service = ServiceInMemory(catalog, self._outside, self._names, self._began_ms, events_max)
        self._ids = count(1)
        LIVE[next(_NUMBERS)] = self

    def on(self, name: str, *, step: str | None = None) -> Script:
        """How commands of this type are answered, or child sagas of this name in their place; of one step only, where
        it is given. Asked again for the same it gives the same script. Raises ValueError for what no step sends."""
        self._sent_names.check(name, step)
        return self._outside.script(name, step)

    def start(
        self, saga: str, data: Data | None = None, *, key: str | None = None, event_id: str | None = None
    ) -> SimulatedSaga:
        """Start a saga now, by its name or one of its event types. The same key or event starts the same saga; without
        either each call starts another. Raises Refused."""
        event_id = event_id or f"event-{next(self._ids)}"
        return self._add(write_event(self._names.events, saga, plain(data), event_id=event_id, key=key))

    def add(self, stream: str, **fields: str) -> SimulatedSaga:
        """As XADD: an entry on any stream that starts sagas. Raises Refused."""
        return self._add(Message(stream, tuple(part for field in fields.items() for part in field)))

    def signal(
        self, saga: SimulatedSaga, name: str, data: Data | None = None, *, signal_id: str | None = None
    ) -> SimulatedSaga:
        """Tell a saga something now. The same id twice is the same signal. Raises Refused."""
        signal_id = signal_id or f"signal-{next(self._ids)}"
        return self._add(self._event(name, saga.id, id=signal_id, data=write(plain(data))))

    def cancel(self, saga: SimulatedSaga, *, reason: str = "") -> None:
        """Stop, and undo what was done. Raises Refused, as all that people ask."""
        self._ask(saga, Operation.CANCEL, reason=reason)

    def compensate(self, saga: SimulatedSaga, *, reason: str = "") -> None:
        """As cancel, and for a completed saga as well."""
        self._ask(saga, Operation.COMPENSATE, reason=reason)

    def pause(self, saga: SimulatedSaga, *, reason: str = "") -> None:
        self._ask(saga, Operation.PAUSE, reason=reason)

    def resume(self, saga: SimulatedSaga, *, reason: str = "") -> None:
        self._ask(saga, Operation.RESUME, reason=reason)

    def retry(self, saga: SimulatedSaga, step: str | None = None, *, reason: str = "") -> None:
        """Try what is parked, or waits for its next attempt, now. Without a step, all that is parked; so below."""
        self._ask(saga, Operation.RETRY, step=step or "", reason=reason)

    def skip(self, saga: SimulatedSaga, step: str | None = None, *, reason: str = "") -> None:
        """Go on without it."""
        self._ask(saga, Operation.SKIP, step=step or "", reason=reason)

    def resolve(
        self,
        saga: SimulatedSaga,
        step: str | None = None,
        resolution: Resolution | str = Resolution.SUCCEEDED,
        output: Data | None = None,
        *,
        reason: str = "",
    ) -> None:
        """Say what became of a step: `succeeded` (with its output), `failed` or `compensated`."""
        data = "" if output is None else write(plain(output))
        resolved = Resolution(resolution).value
        self._ask(saga, Operation.RESOLVE, step=step or "", resolution=resolved, data=data, reason=reason)

    @property
    def now(self) -> datetime:
        return datetime.fromtimestamp(self._service.now_ms / 1000, UTC)

    @property
    def elapsed(self) -> str:
        """The time since the simulation began: `1m 0.2s`."""
        return moment_text(self._service.now_ms - self._began_ms)

    def run(self) -> None:
        """Let time pass until nothing is left to happen by itself, time-outs included. Raises NeverEnds."""
        self._run_until(lambda: False)

    def advance(self, duration: Duration) -> None:
        """Let this much time pass, and what falls into it happen; `advance(0)` is all that is due now."""
        until_ms = self._service.now_ms + duration_ms(duration)
        self._run_until(lambda: False, until_ms)
        self._service.now_ms = until_ms

    def until(self, saga: SimulatedSaga, condition: Condition) -> None:
        """Let time pass until the saga has this status, or until what is asked is true, and no longer. Raises
        NotReached, with the saga's timeline, where it never comes."""
        asked = condition if callable(condition) else lambda: saga.status == condition
        if not self._run_until(asked):
            awaited = "what was waited for did not come" if callable(condition) else f"it is never {condition}"
            raise NotReached(f"{awaited}, and nothing is left to happen\n{saga.timeline()}")

    def _run_until(self, reached: Callable[[], bool], until_ms: int | None = None) -> bool:
        """Whether it was reached. Raises NeverEnds."""
        self._service.begin_counting()
        while not reached():
            next_ms = self._service.next_ms()
            if next_ms is None or (until_ms is not None and next_ms > until_ms):
                return False
            self._service.happen(next_ms)
        return True

    @property
    def sagas(self) -> list[SimulatedSaga]:
        """All of them, in the order in which they were started; child sagas too."""
        return [SimulatedSaga(self._service, saga_id) for saga_id in self._service.records]

    @property
    def dead_letters(self) -> list[DeadLetter]:
        """What the service could not use."""
        return list(self._service.dead_letters)

    def __repr__(self) -> str:
        return f"<Simulation after {self.elapsed}: {', '.join(map(repr, self.sagas)) or 'no saga yet'}>"

    def _ask(self, saga: SimulatedSaga, operation: Operation, **fields: str) -> None:
        self._add(self._event(f"{OWN_TYPES_PREFIX}{operation.value}", saga.id, actor=ACTOR, **fields))

    def _event(self, event_type: str, saga_id: SagaId, **fields: str) -> Message:
        given = {"v": WIRE_VERSION, "type": event_type, "saga_id": saga_id, **fields}
        return Message(self._names.events, tuple(part for field in given.items() if field[1] for part in field))

    def _add(self, message: Message) -> SimulatedSaga:
        return SimulatedSaga(self._service, self._service.add(message))


LIVE: WeakValueDictionary[int, Simulation] = WeakValueDictionary()
"""Those that somebody still holds, in the order in which they were made: `pytest_plugin` shows a failed test's."""
_NUMBERS = count(1)
