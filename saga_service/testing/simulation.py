"""The simulation: a service with its streams, its workers and its clock, all in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from itertools import count
from typing import Any
from weakref import WeakValueDictionary

from pydantic import BaseModel

from saga_service.core.vocabulary import Operation, Resolution
from saga_service.definitions.authoring import Duration
from saga_service.definitions.keywords import duration_ms
from saga_service.testing.catalogs import Source, catalog_of
from saga_service.testing.environment import Environment
from saga_service.testing.saga import BEGINNING, Condition, NotReached, SimulatedSaga, moment_ms, moment_text
from saga_service.testing.scripts import CommandNames, Script, plain
from saga_service.testing.service import SimulatedService
from saga_service.wire.dead_letters import DeadLetter
from saga_service.wire.entries import Message, message_of
from saga_service.wire.events import write_event
from saga_service.wire.json import write
from saga_service.wire.transport import OWN_TYPES_PREFIX, StreamNames
from saga_service.worker.worker import Worker

EVENTS_MAX = 20_000
ACTOR = "the test"
Data = Mapping[str, Any] | BaseModel


class Simulation:
    """Sagas that run in memory, in virtual time, without a server. One test sees the same moments at every run.

        sim = Simulation(order, workers=[payment])
        sim.on("inventory.reserve").fails("busy").succeeds({"shelf": 7})
        saga = sim.start("order", {"order_id": "A-1", "amount": 30})
        sim.run()
        assert saga.sent == ["0s reserve", "0.2s reserve (attempt 2)", "0.2s charge"]

    `workers` answer the commands of their services with their real handlers. Commands of other services succeed, unless
    `on` says otherwise, and take the time `replies_after`; their output is an example of what the step's `output`
    declares, and empty without one. `jitter=False` makes every wait before a
    retry as long as its policy allows. Transactional handlers are given `connection` in the place of one to Postgres;
    inboxes are kept in memory. The simulation begins at `now`. One call of `run`, `advance` or `until` lets at most
    `events_max` events happen.

    Raises DefinitionErrors for a wrong saga, and TypeError for a value that is no saga or no worker.
    """

    def __init__(
        self,
        sagas: Source,
        workers: Iterable[Worker] = (),
        *,
        now: datetime | int = BEGINNING,
        jitter: bool = True,
        replies_after: Duration = 0,
        connection: Any = None,
        events_max: int = EVENTS_MAX,
    ) -> None:
        self._names = StreamNames()
        self._began_ms = moment_ms(now)
        catalog = catalog_of(sagas, jitter=jitter)
        definitions = list(catalog.definitions())
        self._command_names = CommandNames(definitions)
        self._environment = Environment(definitions, workers, self._names, duration_ms(replies_after), connection)
        self._service = SimulatedService(catalog, self._environment, self._names, self._began_ms, events_max)
        self._ids = count(1)
        LIVE[next(_NUMBERS)] = self

    def on(self, name: str, *, step: str | None = None, saga: str | None = None) -> Script:
        """The script for commands of this type, or for child sagas of this name, which it stands in for.

        With `step` the script is for steps of that name alone, with `saga` for steps of that saga's definition. A
        second call gives the same script. Raises ValueError for a name that no step sends.
        """
        self._command_names.check(name, step, saga)
        return self._environment.script(name, saga, step)

    def start(
        self, saga: str, data: Data | None = None, *, key: str | None = None, event_id: str | None = None
    ) -> SimulatedSaga:
        """Start a saga now, by its name or one of its event types.

        A key, and an event id, starts one saga however often it is given; without either each call starts another.
        Raises Refused.
        """
        event_id = event_id or f"event-{next(self._ids)}"
        return self._add(write_event(self._names.events, saga, plain(data), event_id=event_id, key=key))

    def add(self, stream: str, **fields: str) -> SimulatedSaga:
        """Add an entry to any stream that the service reads, as XADD does; the saga that it is addressed to.

        An entry for a saga that is not started yet waits for its start. Raises Refused.
        """
        return self._add(Message(stream, tuple(part for field in fields.items() for part in field)))

    def signal(
        self,
        saga: SimulatedSaga | str,
        name: str,
        data: Data | None = None,
        *,
        key: str | None = None,
        signal_id: str | None = None,
        step: str | None = None,
    ) -> None:
        """Send a signal now, to a saga of this simulation or to the saga with this name and business key.

        A signal by key may come before its saga is started, and may be for a child saga. One `signal_id` is one signal
        however often it is sent. A `step` is the one that is meant, where several wait for a signal of this name.
        Raises Refused, and ValueError for a name without its key.
        """
        if isinstance(saga, SimulatedSaga):
            address: dict[str, str] = {"saga_id": saga.id}
        elif key is not None:
            address = {"saga": saga, "subject": key}
        else:
            raise ValueError(f"a signal by name needs the key as well: sim.signal('{saga}', '{name}', key=...)")
        signal_id = signal_id or f"signal-{next(self._ids)}"
        self._add(self._event(name, **address, id=signal_id, step=step or "", data=write(plain(data))))

    def cancel(self, saga: SimulatedSaga, *, reason: str = "") -> None:
        """Stop the saga, and compensate its steps. Raises Refused, as every operation does."""
        self._request(saga, Operation.CANCEL, reason=reason)

    def compensate(self, saga: SimulatedSaga, *, reason: str = "") -> None:
        """Stop and compensate the saga, even if it is completed."""
        self._request(saga, Operation.COMPENSATE, reason=reason)

    def pause(self, saga: SimulatedSaga, *, reason: str = "") -> None:
        self._request(saga, Operation.PAUSE, reason=reason)

    def resume(self, saga: SimulatedSaga, *, reason: str = "") -> None:
        self._request(saga, Operation.RESUME, reason=reason)

    def retry(self, saga: SimulatedSaga, step: str | None = None, *, reason: str = "") -> None:
        """Begin the next attempt of a parked or waiting step now. Without a step, of every parked step."""
        self._request(saga, Operation.RETRY, step=step or "", reason=reason)

    def skip(self, saga: SimulatedSaga, step: str | None = None, *, reason: str = "") -> None:
        """Go on without a parked step. Without a step, without every parked step."""
        self._request(saga, Operation.SKIP, step=step or "", reason=reason)

    def resolve(
        self,
        saga: SimulatedSaga,
        step: str | None = None,
        resolution: Resolution | str = Resolution.SUCCEEDED,
        output: Data | None = None,
        *,
        reason: str = "",
    ) -> None:
        """Say how a step ended: `succeeded` (with its output), `failed` or `compensated`."""
        data = "" if output is None else write(plain(output))
        resolved = Resolution(resolution).value
        self._request(saga, Operation.RESOLVE, step=step or "", resolution=resolved, data=data, reason=reason)

    @property
    def now(self) -> datetime:
        return datetime.fromtimestamp(self._service.now_ms / 1000, UTC)

    @property
    def elapsed(self) -> str:
        """The time since the simulation began: `1m 0.2s`."""
        return moment_text(self._service.now_ms - self._began_ms)

    def run(self) -> None:
        """Let time pass until nothing is left to happen, time-outs included. Raises NeverEnds."""
        self._run_until(lambda: False)

    def advance(self, duration: Duration) -> None:
        """Let this much time pass, with every event that falls into it; `advance(0)` is all that is due now."""
        until_ms = self._service.now_ms + duration_ms(duration)
        self._run_until(lambda: False, until_ms)
        self._service.now_ms = until_ms

    def until(self, saga: SimulatedSaga, condition: Condition) -> None:
        """Let time pass until the saga has this status, or until the condition is met, and no longer.

        Raises NotReached, with the saga's timeline, where that never happens.
        """
        is_met = condition if callable(condition) else lambda: saga.status == condition
        if not self._run_until(is_met):
            awaited = "the condition was never met" if callable(condition) else f"it is never {condition}"
            raise NotReached(f"{awaited}, and nothing is left to happen\n{saga.timeline()}")

    def _run_until(self, is_met: Callable[[], bool], until_ms: int | None = None) -> bool:
        """True where the condition was met. Raises NeverEnds."""
        self._service.begin_counting()
        while not is_met():
            next_ms = self._service.next_ms()
            if next_ms is None or (until_ms is not None and next_ms > until_ms):
                return False
            self._service.happen(next_ms)
        return True

    @property
    def sagas(self) -> list[SimulatedSaga]:
        """All sagas, children included, in the order in which they were started."""
        return [SimulatedSaga(self._service, saga_id) for saga_id in self._service.records]

    @property
    def dead_letters(self) -> list[DeadLetter]:
        """The dead letters of entries that were delivered, each with its reason."""
        return list(self._service.dead_letters)

    def __repr__(self) -> str:
        return f"<Simulation after {self.elapsed}: {', '.join(map(repr, self.sagas)) or 'no saga yet'}>"

    def _request(self, saga: SimulatedSaga, operation: Operation, **fields: str) -> None:
        self._add(self._event(f"{OWN_TYPES_PREFIX}{operation.value}", saga_id=saga.id, actor=ACTOR, **fields))

    def _event(self, event_type: str, **fields: str) -> Message:
        given = {name: value or None for name, value in fields.items()}
        return message_of(self._names.events, type=event_type, **given)

    def _add(self, message: Message) -> SimulatedSaga:
        return SimulatedSaga(self._service, self._service.add(message))


LIVE: WeakValueDictionary[int, Simulation] = WeakValueDictionary()
"""The simulations that are still referred to, in the order of their making, for `pytest_plugin`."""
_NUMBERS = count(1)
