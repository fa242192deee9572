"""Definitions, sagas that live in memory, stream entries: what tests of the core and the wire are built of."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from saga_service.core.advance import advance
from saga_service.core.definition import (
    Definition,
    Expression,
    ExpressionFailed,
    OutputMisfit,
    Shape,
    StepDefinition,
    Variables,
)
from saga_service.core.effects import ChildRequest, Command, Ended, HistoryEntry, ParentReply, Sent, Transition
from saga_service.core.events import Event, OperationRequested, Replied, Signalled, Started, TimerDue, TransportLost
from saga_service.core.ids import CommandName, SagaId, saga_id_from_key
from saga_service.core.retry import RetryPolicy
from saga_service.core.state import Fault, JsonObject, SagaState, StepState
from saga_service.core.vocabulary import (
    ChildOperation,
    Direction,
    Kind,
    OnUnknown,
    Operation,
    Outcome,
    Resolution,
    Task,
    UndoOrder,
)
from saga_service.wire.entries import Entry, Message, RequestRow
from saga_service.wire.saga_spec import InvalidInput, SagaSpec
from saga_service.wire.transport import RECOVERY

START_MS = 1_000_000
TIMEOUT_MS = 30_000
COMPENSATION_TIMEOUT_MS = 20_000
RETRY = RetryPolicy(attempts_max=3, delay_first_ms=200, delay_factor=2.0, delay_max_ms=30_000)
ONCE = RetryPolicy(attempts_max=1)
SAGA_ID = saga_id_from_key("order", "order-1")


def step(
    name: str,
    *,
    retry: RetryPolicy = RETRY,
    timeout_ms: int = TIMEOUT_MS,
    undoable: bool = True,
    compensation_retry: RetryPolicy = RETRY,
    compensation_timeout_ms: int = COMPENSATION_TIMEOUT_MS,
    after: tuple[str, ...] | None = None,
    when: Expression | None = None,
    sent: Expression | None = None,
    kind: Kind = Kind.COMPENSATABLE,
    heartbeat_ms: int | None = None,
    on_unknown: OnUnknown = OnUnknown.RETRY,
) -> StepDefinition:
    """The step `charge` is done by `service.charge`; if `undoable` it is taken back by `service.undo-charge`, and with
    OnUnknown.PROBE it is asked about by `service.look-for-charge`."""
    return StepDefinition(
        name=name,
        action=f"service.{name}",
        after=after,
        when=when,
        input=sent,
        kind=kind,
        heartbeat_ms=heartbeat_ms,
        on_unknown=on_unknown,
        probe=f"service.look-for-{name}" if on_unknown is OnUnknown.PROBE else None,
        compensation=f"service.undo-{name}" if undoable else None,
        retry=retry,
        timeout_ms=timeout_ms,
        compensation_retry=compensation_retry,
        compensation_timeout_ms=compensation_timeout_ms,
    )


def nap(name: str, timeout_ms: int = TIMEOUT_MS, *, after: tuple[str, ...] | None = None) -> StepDefinition:
    return StepDefinition(name=name, task=Task.SLEEP, timeout_ms=timeout_ms, after=after)


def approval(
    name: str,
    signal: str = "approved",
    *,
    timeout_ms: int = TIMEOUT_MS,
    default: JsonObject | None = None,
    after: tuple[str, ...] | None = None,
    kind: Kind = Kind.COMPENSATABLE,
    output: Shape | None = None,
) -> StepDefinition:
    """A step that waits for a signal."""
    return StepDefinition(
        name=name,
        task=Task.SIGNAL,
        action=signal,
        timeout_ms=timeout_ms,
        default=default,
        after=after,
        kind=kind,
        output=output,
    )


@dataclass(frozen=True)
class Only:
    """A form of outputs: the one property must be there, and is all that is kept."""

    name: str

    def read(self, output: Mapping[str, Any]) -> Mapping[str, Any]:
        if self.name not in output:
            raise OutputMisfit(f"{self.name} is missing")
        return {self.name: output[self.name]}


def child(
    name: str,
    saga: str = "delivery",
    *,
    after: tuple[str, ...] | None = None,
    retry: RetryPolicy = RETRY,
    kind: Kind = Kind.COMPENSATABLE,
    on_unknown: OnUnknown = OnUnknown.RETRY,
    timeout_ms: int = TIMEOUT_MS,
) -> StepDefinition:
    """A step that another saga does."""
    return StepDefinition(
        name=name,
        task=Task.CHILD,
        action=saga,
        after=after,
        retry=retry,
        kind=kind,
        on_unknown=on_unknown,
        timeout_ms=timeout_ms,
        compensation_retry=RETRY,
        compensation_timeout_ms=COMPENSATION_TIMEOUT_MS,
    )


def definition(
    *steps: StepDefinition | str,
    name: str = "order",
    deadline_ms: int | None = None,
    undo: UndoOrder = UndoOrder.REVERSE,
) -> Definition:
    """A name alone stands for a step with the defaults of this file."""
    given = tuple(step(each) if isinstance(each, str) else each for each in steps)
    return Definition(name, "v1", given, deadline_ms, undo)


class Says:
    """An expression that is worked out by a function of the input and of the outputs."""

    def __init__(self, says: Callable[[Mapping[str, Any], Mapping[str, Any]], Any]) -> None:
        self._says = says

    def evaluate(self, variables: Variables) -> Any:
        return self._says(variables["input"], variables["outputs"])


def fails(*_: object) -> Any:
    """What an expression that has no value says."""
    raise ExpressionFailed("there is no such field")


ALWAYS, NEVER, NO_VALUE = Says(lambda *_: True), Says(lambda *_: False), Says(fails)


def started(defined: Definition, saga_input: JsonObject | None = None, saga_id: SagaId = SAGA_ID) -> Started:
    return Started(saga_id, defined.name, defined.version, "order-1", saga_input or {"amount": 5}, "00-trace-01")


class SagaInMemory:
    """One saga and its whole past. Its clock stands still until it is told to go on.

    The verbs answer the latest attempt unless told which one: `succeed`, `fail` and `reject` a step's action,
    `undo_succeeds`, `undo_fails` and `undo_rejected` its compensation, `it_happened`, `it_did_not_happen` and
    `nobody_can_tell` the question that was asked about it.
    """

    def __init__(self, defined: Definition, *, now_ms: int = START_MS) -> None:
        self.definition = defined
        self.now_ms = now_ms
        self.current: SagaState | None = None
        self.sent: list[Command] = []
        self.history: list[HistoryEntry] = []
        self.ends: list[Ended] = []
        self.requests: list[ChildRequest] = []
        self.replies: list[ParentReply] = []

    # ------------------------------------------------------------------------------------------------ what it is

    @property
    def state(self) -> SagaState:
        assert self.current is not None, "the saga was not started"
        return self.current

    @property
    def status(self) -> str:
        """As text: it changes between two looks, which a type checker does not believe of an enum's member."""
        return self.state.status.value

    def step(self, name: str) -> StepState:
        return self.state.steps[self.definition.positions[name]]

    @property
    def sent_names(self) -> list[str]:
        """All that was ever sent to workers, in short: `charge 1`, `charge 2`, `ask charge 1`, `undo reserve 1`."""
        return [in_short(command) for command in self.sent]

    @property
    def asked_of_children(self) -> list[str]:
        """All that was ever asked of child sagas, in short: `start deliver 1`, `cancel deliver 1`."""
        return [f"{request.operation} {request.step} {request.attempt}" for request in self.requests]

    def statuses(self, *names: str) -> list[str]:
        return [self.step(name).status.value for name in names]

    # ---------------------------------------------------------------------------------------------- what happens

    def apply(self, event: Event) -> Transition:
        transition = advance(self.definition, self.current, event, self.now_ms)
        self.current = transition.state
        self.sent.extend(sent for sent in transition.commands if isinstance(sent, Command))
        self.requests.extend(sent for sent in transition.commands if isinstance(sent, ChildRequest))
        if transition.reply is not None:
            self.replies.append(transition.reply)
        self.history.extend(transition.history)
        if transition.ended is not None:
            self.ends.append(transition.ended)
        return transition

    def start(self, saga_input: JsonObject | None = None) -> Transition:
        return self.apply(started(self.definition, saga_input))

    def succeed(self, name: str, output: JsonObject | None = None, *, attempt: int | None = None) -> Transition:
        return self._reply(name, Direction.ACTION, Outcome.SUCCEEDED, attempt, output=output)

    def fail(
        self, name: str, code: str = "failed", *, attempt: int | None = None, retry_after_ms: int | None = None
    ) -> Transition:
        return self._reply(name, Direction.ACTION, Outcome.FAILED, attempt, code, retry_after_ms)

    def reject(self, name: str, code: str = "refused", *, attempt: int | None = None) -> Transition:
        return self._reply(name, Direction.ACTION, Outcome.REJECTED, attempt, code)

    def leave_unknown(
        self, name: str, code: str = "no_answer", *, attempt: int | None = None, retry_after_ms: int | None = None
    ) -> Transition:
        return self._reply(name, Direction.ACTION, Outcome.UNKNOWN, attempt, code, retry_after_ms)

    def progress(self, name: str, *, direction: Direction = Direction.ACTION) -> Transition:
        return self._reply(name, direction, Outcome.PROGRESS)

    def undo_succeeds(self, name: str, *, attempt: int | None = None) -> Transition:
        return self._reply(name, Direction.COMPENSATION, Outcome.SUCCEEDED, attempt, output={})

    def undo_fails(
        self, name: str, code: str = "failed", *, attempt: int | None = None, retry_after_ms: int | None = None
    ) -> Transition:
        return self._reply(name, Direction.COMPENSATION, Outcome.FAILED, attempt, code, retry_after_ms)

    def undo_rejected(self, name: str, code: str = "refused", *, attempt: int | None = None) -> Transition:
        return self._reply(name, Direction.COMPENSATION, Outcome.REJECTED, attempt, code)

    def it_happened(self, name: str, output: JsonObject | None = None, *, attempt: int | None = None) -> Transition:
        return self._reply(name, Direction.PROBE, Outcome.SUCCEEDED, attempt, output=output)

    def it_did_not_happen(self, name: str, *, attempt: int | None = None) -> Transition:
        return self._reply(name, Direction.PROBE, Outcome.REJECTED, attempt, "not found")

    def nobody_can_tell(self, name: str, *, attempt: int | None = None) -> Transition:
        return self._reply(name, Direction.PROBE, Outcome.FAILED, attempt, "no answer")

    def signal(
        self,
        name: str,
        data: JsonObject | None = None,
        *,
        signal_id: str = "signal-1",
        step: str | None = None,
        data_bytes: int = 0,
    ) -> Transition:
        return self.apply(Signalled(self.state.id, name, signal_id, data or {}, step=step, data_bytes=data_bytes))

    def operate(
        self,
        operation: Operation,
        step: str | None = None,
        *,
        resolution: Resolution | None = None,
        output: JsonObject | None = None,
        reason: str | None = "because",
        answers: CommandName | None = None,
    ) -> Transition:
        """As a person called Ada."""
        return self.apply(
            OperationRequested(
                saga_id=self.state.id,
                operation=operation,
                actor="ada",
                reason=reason,
                step=step,
                resolution=resolution,
                output=output,
                answers=answers,
            )
        )

    def timer(self) -> Transition:
        return self.apply(TimerDue(self.state.id))

    def timer_when_due(self) -> Transition:
        """Let the time pass until the one thing that is due comes due."""
        due_at_ms = [step.due_at_ms for step in self.state.steps if step.due_at_ms is not None]
        assert len(due_at_ms) == 1, "exactly one thing is due"
        self.now_ms = due_at_ms[0]
        return self.timer()

    def timer_when_due_of(self, name: str) -> Transition:
        """Let the time pass until this step's own moment."""
        due_at_ms = self.step(name).due_at_ms
        assert due_at_ms is not None, "something is due"
        self.now_ms = max(self.now_ms, due_at_ms)
        return self.timer()

    def lose_transport(self) -> Transition:
        return self.apply(TransportLost(self.state.id))

    def _reply(
        self,
        name: str,
        direction: Direction,
        outcome: Outcome,
        attempt: int | None = None,
        code: str | None = None,
        retry_after_ms: int | None = None,
        *,
        output: JsonObject | None = None,
    ) -> Transition:
        step = self.step(name)
        latest = sent_attempts(step, direction)
        command = CommandName(self.state.id, name, direction, latest if attempt is None else attempt)
        fault = None if code is None else Fault(code, f"{name}: {code}")
        return self.apply(Replied(command, outcome, output, fault, retry_after_ms))


def sent_attempts(step: StepState, direction: Direction) -> int:
    """How often this was sent."""
    return {
        Direction.ACTION: step.attempts,
        Direction.COMPENSATION: step.compensation_attempts,
        Direction.PROBE: step.probes,
    }[direction]


_VERBS_IN_SHORT = {Direction.ACTION: "", Direction.COMPENSATION: "undo ", Direction.PROBE: "ask "}


def in_short(sent: Sent) -> str:
    if isinstance(sent, ChildRequest) and sent.operation is ChildOperation.CANCEL:
        return f"cancel {sent.step} {sent.attempt}"
    return f"{_VERBS_IN_SHORT[sent.direction]}{sent.step} {sent.attempt}"


def copy_of(sent: Command) -> Command:
    """What is sent where this command may be lost."""
    return sent._replace(is_copy=True)


def only_command(transition: Transition) -> Command:
    (sent,) = transition.commands
    assert isinstance(sent, Command), "it goes to a worker"
    return sent


def running(
    *steps: StepDefinition | str, deadline_ms: int | None = None, undo: UndoOrder = UndoOrder.REVERSE
) -> SagaInMemory:
    """A saga of these steps, just started."""
    saga = SagaInMemory(definition(*steps, deadline_ms=deadline_ms, undo=undo))
    saga.start()
    return saga


# ------------------------------------------------------------------------------------------------------- the wire


Name = TypeVar("Name", bound=bytes | str)


def entry(fields: Mapping[Name, bytes | str], stream: str = "saga:events", entry_id: str = "1700-0") -> Entry:
    """An entry as a stream delivers it; text stands for its UTF-8."""
    return Entry(stream, entry_id, {_octets(name): _octets(value) for name, value in fields.items()})


SERVER_ID = "0123456789abcdef"
"""The run of Redis on which everything is delivered in tests without a server."""


def resend(saga_id: SagaId = SAGA_ID, number: int = 1) -> Entry:
    """The request by which a recovery has a saga's commands sent again, as Postgres makes it."""
    fields = {b"type": b"saga.resend", b"saga_id": saga_id.encode(), b"lost": b"*"}
    return Entry(RECOVERY, f"{saga_id}:*:0", fields, request=RequestRow(number, START_MS, 1))


def delivered(message: Message, entry_id: str = "1700-0") -> Entry:
    """What a reader gets of a message that was sent."""
    fields = message.fields_on(SERVER_ID)
    names, values = fields[::2], fields[1::2]
    assert len(set(names)) == len(names) == len(values), "each field once, each with its value"
    return Entry(message.stream, entry_id, dict(zip(map(_octets, names), map(_octets, values), strict=True)))


class PlainBlueprint:
    """An input of any shape, except that the fields named in `integers` must be whole numbers."""

    def __init__(self, defined: Definition, *, integers: Iterable[str] = (), key_field: str | None = None) -> None:
        self.definition = defined
        self._integers = frozenset(integers)
        self._key_field = key_field

    def read_input(self, data: JsonObject) -> JsonObject:
        for name in self._integers & data.keys():
            if not isinstance(data[name], int):
                raise InvalidInput(f"{name}: must be a whole number")
        return dict(data)

    def read_fields(self, fields: Mapping[str, str]) -> JsonObject:
        try:
            return {name: int(value) if name in self._integers else value for name, value in fields.items()}
        except ValueError:
            raise InvalidInput("must be a whole number") from None

    def business_key(self, data: JsonObject, saga_input: JsonObject) -> str | None:
        value = None if self._key_field is None else saga_input.get(self._key_field)
        return None if value is None else str(value)

    def sent_key(self, data: JsonObject) -> str | None:
        return self.business_key(data, data)

    def written_key(self, key: str) -> str:
        return key


class PlainCatalog:
    """One blueprint under one event type and one stream."""

    def __init__(self, spec: SagaSpec, *, event_type: str = "order", stream: str = "orders") -> None:
        self._spec = spec
        self.event_type = event_type
        self._stream = stream

    def by_name(self, name: str) -> SagaSpec | None:
        return self._spec if name == self._spec.definition.name else None

    def waiting_for(self, signal: str) -> Sequence[str]:
        definition = self._spec.definition
        return [definition.name] if signal in definition.signals else []

    def by_event_type(self, event_type: str) -> SagaSpec | None:
        return self._spec if event_type == self.event_type else None

    def by_stream(self, stream: str) -> SagaSpec | None:
        return self._spec if stream == self._stream else None

    def event_types(self) -> list[str]:
        return [self.event_type]


def _octets(given: bytes | str) -> bytes:
    return given if isinstance(given, bytes) else given.encode()
