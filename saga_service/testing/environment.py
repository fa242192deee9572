"""All that is not the service: who takes a command, and what comes back, when."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from saga_service.core.effects import ChildRequest, Command, Sent
from saga_service.core.ids import SagaId, command_id
from saga_service.core.vocabulary import ChildOperation
from saga_service.testing.handlers import carry_out
from saga_service.testing.scripts import Answer, Asked, Script
from saga_service.wire.commands import ReceivedCommand, read_command, service_of
from saga_service.wire.entries import Entry, Message
from saga_service.wire.replies import write_progress, write_success
from saga_service.wire.stream_names import StreamNames
from saga_service.worker.execution import ExactlyOnce, unknown_command
from saga_service.worker.registration import Handler
from saga_service.worker.worker import Worker

_NO_WORKERS = "workers are a list of them, Simulation(sagas, [worker]), but here is a '{}'"


class Coming(NamedTuple):
    """A message that arrives later. `after_ms` counts from the command's delivery."""

    after_ms: int
    message: Message


class Outside:
    """Scripts answer first, then workers' handlers; what nobody has anything to say of succeeds.

    Raises ValueError where two workers are for one service, and TypeError for what is no worker.
    """

    def __init__(
        self, workers: Iterable[Worker], names: StreamNames, answers_after_ms: int, connection: Any = None
    ) -> None:
        self._workers: dict[str, Worker] = {}
        for worker in _workers(workers):
            if self._workers.setdefault(worker.service, worker) is not worker:
                raise ValueError(f"more than one worker for the service '{worker.service}'; put its handlers into one")
        self._inboxes = {worker.service: _inbox(connection) for worker in self._workers.values() if worker.inbox}
        self._has_connection = connection is not None
        self._names = names
        self._answers_after_ms = answers_after_ms
        self._scripts: dict[tuple[str, str | None], Script] = {}
        self._stood_in_for: set[SagaId] = set()

    def script(self, name: str, step: str | None) -> Script:
        return self._scripts.setdefault((name, step), Script())

    def answers(self, command: Command, entry: Entry, now_ms: int) -> Iterator[Coming]:
        """What comes back for a command that was delivered as this entry."""
        received = read_command(entry)
        answer = self._scripted(command.type, command.step) or Answer()
        for _ in range(answer.deliveries):
            if answer.reply is None:
                coming = self._handled(received, now_ms, answer)
            else:
                asked = Asked(received.reply_to, received.id, received.saga_id)
                coming = self._replied(answer.reply(asked), received, now_ms, answer)
            # A handler is at work whether anybody hears of it or not.
            arriving = list(coming)
            if answer.is_heard or answer.reply is not None:
                yield from arriving

    def _replied(self, reply: Message, command: ReceivedCommand, now_ms: int, answer: Answer) -> Iterator[Coming]:
        after_ms = self._after_ms(answer)
        if answer.is_taken and command.expects_heartbeats:
            yield Coming(0, _sign_of_life(command))
        if answer.beat_ms is not None:
            until_ms = after_ms if answer.is_heard else command.deadline_ms - now_ms
            for beat_ms in range(answer.beat_ms, until_ms, answer.beat_ms):
                yield Coming(beat_ms, _sign_of_life(command))
        if answer.is_heard:
            yield Coming(after_ms, reply)

    def _handled(self, command: ReceivedCommand, now_ms: int, answer: Answer) -> Iterator[Coming]:
        worker = self._workers.get(service_of(command.type))
        if worker is None:
            reply = write_success(command.reply_to, command.id, command.saga_id, {})
            yield from self._replied(reply, command, now_ms, answer)
            return
        handler = worker.handlers.get(command.type)
        if handler is None:
            yield Coming(self._after_ms(answer), unknown_command(command, worker.handlers))
            return
        self._check_connection(handler)
        handled = carry_out(handler, command, now_ms, self._inboxes.get(worker.service))
        for sign_ms in handled.signs_of_life_ms:
            yield Coming(sign_ms, _sign_of_life(command))
        if handled.reply is not None:
            yield Coming(handled.took_ms + self._after_ms(answer), handled.reply)

    def _check_connection(self, handler: Handler) -> None:
        if handler.takes_connection and not self._has_connection:
            raise ValueError(
                f"handler '{handler.name}' of '{handler.command_type}' takes a connection, and here is no server; "
                "give it a stand-in, Simulation(..., connection=...), or answer in its place, "
                f"sim.on('{handler.command_type}').succeeds()"
            )

    def stands_in_for(self, request: ChildRequest) -> list[Coming] | None:
        """The answer to a child saga's parent, where a script has one in the child's place; None lets it go to the
        child."""
        if request.operation is ChildOperation.START:
            answer = self._scripted(request.saga, request.step)
            if answer is None or answer.reply is None:
                return None
            self._stood_in_for.add(request.child_id)
            once = Coming(self._after_ms(answer), answer.reply(self._asked(request)))
            return [once] * answer.deliveries if answer.is_heard else []
        if request.child_id not in self._stood_in_for:
            return None
        if request.operation is ChildOperation.CANCEL:
            return []
        asked = self._asked(request)
        return [Coming(self._answers_after_ms, write_success(asked.reply_to, asked.id, asked.saga_id, {}))]

    def _asked(self, request: ChildRequest) -> Asked:
        return Asked(self._names.replies, command_id(*request.command), request.command.saga_id)

    def _scripted(self, name: str, step: str) -> Answer | None:
        """By the step where the script names one, else by what is sent alone."""
        for known in ((name, step), (name, None)):
            script = self._scripts.get(known)
            answer = None if script is None else script.take()
            if answer is not None:
                return answer
        return None

    def _after_ms(self, answer: Answer) -> int:
        return self._answers_after_ms if answer.after_ms is None else answer.after_ms


def _sign_of_life(command: ReceivedCommand) -> Message:
    return write_progress(command.reply_to, command.id, command.saga_id)


def _workers(given: object) -> Iterator[Worker]:
    # Object: a test is not always checked for types, and a worker in the place of a list is easily written.
    if not isinstance(given, Iterable):
        raise TypeError(_NO_WORKERS.format(type(given).__name__))
    for worker in given:
        if not isinstance(worker, Worker):
            raise TypeError(_NO_WORKERS.format(type(worker).__name__))
        yield worker


def _inbox(connection: Any) -> ExactlyOnce:
    # Imported when there is one: it brings the client of Postgres, which a worker without an inbox does not need.
    from saga_service.testing.inbox import MemoryExactlyOnce

    return MemoryExactlyOnce(connection)


def sender(sent: Sent) -> SagaId:
    return sent.saga_id if isinstance(sent, Command) else sent.command.saga_id
