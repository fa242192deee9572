"""What a test says of commands before they are sent: how each is answered, when, and whether anybody hears of it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from pydantic import BaseModel
from pydantic_core import to_jsonable_python

from saga_service.core.ids import CommandId, SagaId
from saga_service.core.state import Fault
from saga_service.core.vocabulary import Outcome
from saga_service.definitions.authoring import Duration
from saga_service.definitions.durations import duration_ms
from saga_service.wire.entries import Message
from saga_service.wire.json import write
from saga_service.wire.replies import write_failure, write_success


class Asked(NamedTuple):
    """The command that is answered."""

    reply_to: str
    id: CommandId
    saga_id: SagaId


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer to one command."""

    reply: Callable[[Asked], Message] | None = None
    """None: whoever answers where nothing is scripted, which is the worker's handler where there is one."""
    after_ms: int | None = None
    """How long it takes; None for the simulation's own `answers_after`."""
    deliveries: int = 1
    is_heard: bool = True
    """Whether the reply arrives."""
    is_taken: bool = True
    """Whether any worker gets the command."""
    beat_ms: int | None = None
    """How far apart the signs of life are that come before it."""


def plain(data: Mapping[str, Any] | BaseModel | None) -> dict[str, Any]:
    """The JSON object that this becomes on the wire. Raises TypeError where it becomes none."""
    value = to_jsonable_python({} if data is None else data)
    if not isinstance(value, dict):
        raise TypeError(f"data is a mapping or a pydantic model, but is of type {type(data).__name__}")
    write(value)
    return value


class Script:
    """The answers to one command's attempts, in their order. Each verb adds one, and what follows it says more of that
    one. When all are given, the next attempt is answered as if there were no script.

        sim.on("payment.charge").fails("card_declined").fails().after("3s").times_out().succeeds({"receipt": "R-1"})
    """

    def __init__(self) -> None:
        self._answers: deque[Answer] = deque()
        self._goes_on = False

    def succeeds(self, output: Mapping[str, Any] | BaseModel | None = None) -> Script:
        data = plain(output)
        return self._add(Answer(lambda asked: write_success(asked.reply_to, asked.id, asked.saga_id, data)))

    def fails(
        self,
        code: str = "failed",
        message: str = "as the test has it",
        *,
        retry_after: Duration | None = None,
    ) -> Script:
        """This attempt fails; the step's policy decides what comes next. `retry_after` is the worker's own wish for the
        wait."""
        delay_ms = None if retry_after is None else duration_ms(retry_after)
        return self._add(Answer(_failure(Outcome.FAILED, Fault(code, message), delay_ms)))

    def rejects(self, code: str = "rejected", message: str = "as the test has it") -> Script:
        """It can never succeed; of a probe: the action did not happen."""
        return self._add(Answer(_failure(Outcome.REJECTED, Fault(code, message), None)))

    def times_out(self) -> Script:
        """The command gets lost: no handler sees it, and nobody answers."""
        return self._add(
            Answer(
                lambda asked: write_success(asked.reply_to, asked.id, asked.saga_id, {}), is_heard=False, is_taken=False
            )
        )

    def is_handled(self) -> Script:
        """The worker's handler answers, as it does where nothing is scripted."""
        return self._add(Answer())

    def after(self, delay: Duration) -> Script:
        """It takes this long; longer than the step's time-out is late."""
        return self._change(after_ms=duration_ms(delay))

    def twice(self) -> Script:
        """The command is delivered twice: a handler carries it out twice, and two replies come."""
        return self._change(deliveries=2)

    def unheard(self) -> Script:
        """The reply gets lost. What was done is done."""
        return self._change(is_heard=False)

    def beating(self, every: Duration) -> Script:
        """Signs of life come before it. Raises ValueError for an interval of 0, and where a handler answers, which
        gives its own."""
        if self._latest().reply is None:
            raise ValueError("a handler gives its own signs of life, by context.progress()")
        beat_ms = duration_ms(every)
        if beat_ms == 0:
            raise ValueError("signs of life come some time apart, not every 0s")
        return self._change(beat_ms=beat_ms, is_taken=True)

    def times(self, count: int) -> Script:
        """This many attempts are answered so. Raises ValueError below 1."""
        if count < 1:
            raise ValueError(f"an answer is given at least once, not {count} times")
        self._answers.extend([self._latest()] * (count - 1))
        return self

    def always(self) -> Script:
        """All further attempts are answered so."""
        self._latest()
        self._goes_on = True
        return self

    def take(self) -> Answer | None:
        """The next answer; None where the script is at its end."""
        if not self._answers:
            return None
        return self._answers[0] if self._goes_on and len(self._answers) == 1 else self._answers.popleft()

    def _add(self, answer: Answer) -> Script:
        if self._goes_on:
            raise ValueError("all further attempts are answered already, by 'always'")
        self._answers.append(answer)
        return self

    def _latest(self) -> Answer:
        if not self._answers:
            raise ValueError("say first what the answer is: sim.on(...).fails().after('3s')")
        return self._answers[-1]

    def _change(self, **what: Any) -> Script:
        self._answers[-1] = replace(self._latest(), **what)
        return self


def _failure(outcome: Outcome, fault: Fault, retry_after_ms: int | None) -> Callable[[Asked], Message]:
    return lambda asked: write_failure(asked.reply_to, asked.id, asked.saga_id, outcome, fault, retry_after_ms)
