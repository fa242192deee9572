"""Scripts: how each attempt of a command is answered, when, and what of it gets lost."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from pydantic import BaseModel

from saga_service.base.similar_names import closest
from saga_service.core.definition import Definition, StepDefinition
from saga_service.core.ids import CommandId, SagaId
from saga_service.core.state import Fault, JsonObject
from saga_service.core.vocabulary import Outcome, Task
from saga_service.definitions.authoring import Duration
from saga_service.definitions.keywords import duration_ms
from saga_service.wire.entries import Message
from saga_service.wire.replies import write_failure, write_success
from saga_service.worker.handler_results import InvalidResult, json_object


class SentCommand(NamedTuple):
    """The command that a reply answers."""

    reply_to: str
    id: CommandId
    saga_id: SagaId
    default_output: Callable[[], JsonObject]
    """The output of a success for which no output is given. Raises NoOutput."""


@dataclass(frozen=True, slots=True)
class Reply:
    """The scripted reply to one attempt of a command."""

    write: Callable[[SentCommand], Message] | None = None
    """Makes the message. None leaves the reply to the worker's handler, or to the default where there is none."""
    after_ms: int | None = None
    """The time that the command takes; None for the simulation's own `replies_after`."""
    deliveries: int = 1
    arrives: bool = True
    """False where the reply gets lost on its way to the service."""
    reaches_worker: bool = True
    """False where the command gets lost on its way to the worker."""
    heartbeat_ms: int | None = None
    """The time between the heartbeats that come before the reply; None for no heartbeats."""


def plain(data: Mapping[str, Any] | BaseModel | None) -> dict[str, Any]:
    """The JSON object that `data` becomes on the wire. Raises TypeError where it becomes none, or loses a value."""
    try:
        return json_object(data)
    except InvalidResult as error:
        raise TypeError(str(error)) from None


class Script:
    """The replies to one command's attempts, in their order.

    `succeeds`, `fails`, `rejects`, `leaves_unknown`, `times_out` and `handled` each add a reply; the other methods
    change the latest one. After the last reply, attempts are answered as if there were no script.

        sim.on("payment.charge").fails("card_declined").fails().after("3s").times_out().succeeds({"receipt": "R-1"})
    """

    def __init__(self) -> None:
        self._replies: deque[Reply] = deque()
        self._repeats_last = False

    def succeeds(self, output: Mapping[str, Any] | BaseModel | None = None) -> Script:
        """The attempt succeeds with this output; without one, with an example of what the step's `output` declares."""
        return self._add(Reply(default_success if output is None else _success(plain(output))))

    def fails(
        self,
        code: str = "failed",
        message: str = "as the test has it",
        *,
        retry_after: Duration | None = None,
    ) -> Script:
        """The attempt fails, and the step's policy decides about the next one.

        `retry_after` is the wait that the worker asks for.
        """
        delay_ms = None if retry_after is None else duration_ms(retry_after)
        return self._add(Reply(_failure(Outcome.FAILED, Fault(code, message), delay_ms)))

    def rejects(self, code: str = "rejected", message: str = "as the test has it") -> Script:
        """The command can never succeed. The rejection of a probe says that the action did not happen."""
        return self._add(Reply(_failure(Outcome.REJECTED, Fault(code, message), None)))

    def leaves_unknown(
        self, code: str = "unknown", message: str = "as the test has it", *, retry_after: Duration | None = None
    ) -> Script:
        """The worker cannot tell whether it happened: the step's `on_unknown` says what follows.

        `retry_after` is the wait that the worker asks for.
        """
        delay_ms = None if retry_after is None else duration_ms(retry_after)
        return self._add(Reply(_failure(Outcome.UNKNOWN, Fault(code, message), delay_ms)))

    def times_out(self) -> Script:
        """The command gets lost: no handler sees it, and no reply comes."""
        return self._add(Reply(default_success, arrives=False, reaches_worker=False))

    def handled(self) -> Script:
        """The worker's handler answers, as it does where nothing is scripted."""
        return self._add(Reply())

    def after(self, delay: Duration) -> Script:
        """The command takes this long. A reply after the step's time-out is late."""
        return self._change(after_ms=duration_ms(delay))

    def twice(self) -> Script:
        """The command is delivered twice: a handler carries it out twice, and two replies come."""
        return self._change(deliveries=2)

    def reply_lost(self) -> Script:
        """The command is carried out, and its reply gets lost."""
        return self._change(arrives=False)

    def heartbeats(self, every: Duration) -> Script:
        """Heartbeats come before the reply.

        Raises ValueError for an interval of 0, and where a handler answers, which sends its own heartbeats.
        """
        if self._latest().write is None:
            raise ValueError("a handler sends its own heartbeats, by context.progress()")
        heartbeat_ms = duration_ms(every)
        if heartbeat_ms == 0:
            raise ValueError("heartbeats come some time apart, not every 0s")
        return self._change(heartbeat_ms=heartbeat_ms, reaches_worker=True)

    def times(self, count: int) -> Script:
        """This many attempts get the latest reply. Raises ValueError below 1."""
        if count < 1:
            raise ValueError(f"a reply is given at least once, not {count} times")
        self._replies.extend([self._latest()] * (count - 1))
        return self

    def always(self) -> Script:
        """All further attempts get the latest reply."""
        self._latest()
        self._repeats_last = True
        return self

    def take(self) -> Reply | None:
        """The reply to the next attempt; None where the script is at its end."""
        if not self._replies:
            return None
        return self._replies[0] if self._repeats_last and len(self._replies) == 1 else self._replies.popleft()

    def _add(self, reply: Reply) -> Script:
        if self._repeats_last:
            raise ValueError("all further attempts are answered already, by 'always'")
        self._replies.append(reply)
        return self

    def _latest(self) -> Reply:
        if not self._replies:
            raise ValueError("say first what the reply is: sim.on(...).fails().after('3s')")
        return self._replies[-1]

    def _change(self, **what: Any) -> Script:
        self._replies[-1] = replace(self._latest(), **what)
        return self


def default_success(command: SentCommand) -> Message:
    """A success with the step's default output. Raises NoOutput."""
    return _success(command.default_output())(command)


def _success(output: JsonObject) -> Callable[[SentCommand], Message]:
    return lambda command: write_success(command.reply_to, command.id, command.saga_id, output)


def _failure(outcome: Outcome, fault: Fault, retry_after_ms: int | None) -> Callable[[SentCommand], Message]:
    return lambda command: write_failure(command.reply_to, command.id, command.saga_id, outcome, fault, retry_after_ms)


class CommandNames:
    """The names that a script may be for: the commands and child sagas that the steps of these definitions send.

    A script for any other name would never be used, and its test would not notice.
    """

    def __init__(self, definitions: Iterable[Definition]) -> None:
        self._places_by_name: dict[str, list[tuple[str, str]]] = {}
        self._signals: set[str] = set()
        for definition in definitions:
            self._signals.update(definition.signals)
            for step in definition.steps:
                for name in _sent_by(step):
                    self._places_by_name.setdefault(name, []).append((definition.name, step.name))

    def check(self, name: str, step: str | None, saga: str | None) -> None:
        """Raises ValueError where no step sends the name, or not this step, or no step of this saga."""
        places = self._places_by_name.get(name)
        if places is None:
            raise ValueError(self._unknown(name))
        sagas = [known for known, _ in places]
        if saga is not None and saga not in sagas:
            raise ValueError(f"saga '{saga}' does not send '{name}', but: {_listed(sagas)}{closest(saga, sagas)}")
        steps = [known for of_saga, known in places if saga in (None, of_saga)]
        if step is not None and step not in steps:
            raise ValueError(
                f"'{name}' is not sent for a step '{step}', but for: {_listed(steps)}{closest(step, steps)}"
            )

    def _unknown(self, name: str) -> str:
        if name in self._signals:
            return f"'{name}' is a signal, which no worker answers; give it by sim.signal(saga, '{name}')"
        known = list(self._places_by_name)
        return f"no saga of this simulation sends '{name}'; sent are: {_listed(known)}{closest(name, known)}"


def _sent_by(step: StepDefinition) -> Iterator[str]:
    if step.task in (Task.COMMAND, Task.CHILD):
        yield step.action
    yield from (name for name in (step.compensation, step.probe) if name is not None)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(names)) or "nothing"
