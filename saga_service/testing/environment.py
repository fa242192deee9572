"""The environment of the simulated service: workers, scripts, and the child sagas that scripts stand in for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any, NamedTuple

from saga_service.core.definition import Definition
from saga_service.core.effects import ChildRequest
from saga_service.core.ids import SagaId, command_id, service_of
from saga_service.core.vocabulary import ChildOperation
from saga_service.testing.default_outputs import DefaultOutputs
from saga_service.testing.handlers import carry_out
from saga_service.testing.scripts import Reply, Script, SentCommand, default_success
from saga_service.wire.commands import ReceivedCommand, read_command
from saga_service.wire.entries import Entry, Message
from saga_service.wire.replies import write_progress
from saga_service.wire.transport import StreamNames
from saga_service.worker.execution import ExactlyOnce, unknown_command
from saga_service.worker.registration import Handler
from saga_service.worker.worker import Worker

_NO_WORKERS = "workers are a list of them, Simulation(sagas, [worker]), but here is a '{}'"
_DEFAULT = Reply()


class DelayedMessage(NamedTuple):
    """A message to the service. `after_ms` counts from the delivery of the command that it answers."""

    after_ms: int
    message: Message


class Environment:
    """Answers commands by their scripts, then by workers' handlers. A command that has neither succeeds.

    Raises ValueError where two workers are for one service, and TypeError for what is no worker.
    """

    def __init__(
        self,
        definitions: Iterable[Definition],
        workers: Iterable[Worker],
        names: StreamNames,
        replies_after_ms: int,
        connection: Any = None,
    ) -> None:
        self._default_outputs = DefaultOutputs(definitions)
        self._workers: dict[str, Worker] = {}
        for worker in _workers(workers):
            if self._workers.setdefault(worker.service, worker) is not worker:
                raise ValueError(f"more than one worker for the service '{worker.service}'; put its handlers into one")
        self._inboxes = {worker.service: _inbox(connection) for worker in self._workers.values() if worker.inbox}
        self._has_connection = connection is not None
        self._names = names
        self._replies_after_ms = replies_after_ms
        self._scripts: dict[tuple[str, str | None, str | None], Script] = {}
        self._replaced_children: set[SagaId] = set()

    def script(self, name: str, saga: str | None, step: str | None) -> Script:
        """The script for a command's type or a child saga's name; for one saga or one step where it is given."""
        return self._scripts.setdefault((name, saga, step), Script())

    def replies(self, entry: Entry, now_ms: int) -> Iterator[DelayedMessage]:
        """The messages that come back for the command that was delivered as this entry."""
        received = read_command(entry)
        reply = self._scripted(received.type, received.saga, received.step) or _DEFAULT
        for _ in range(reply.deliveries):
            if reply.write is None:
                messages = self._handled(received, now_ms, reply)
            else:
                message = reply.write(self._received(received)) if reply.arrives else None
                messages = self._replied(message, received, now_ms, reply)
            # A handler runs even where its reply gets lost.
            arriving = list(messages)
            if reply.arrives or reply.write is not None:
                yield from arriving

    def _received(self, command: ReceivedCommand) -> SentCommand:
        output = partial(self._default_outputs.of, command.saga, command.step, command.direction)
        return SentCommand(command.reply_to, command.id, command.saga_id, output)

    def _replied(
        self, message: Message | None, command: ReceivedCommand, now_ms: int, reply: Reply
    ) -> Iterator[DelayedMessage]:
        after_ms = self._after_ms(reply)
        if reply.reaches_worker and command.expects_heartbeats:
            yield DelayedMessage(0, _heartbeat(command))
        if reply.heartbeat_ms is not None:
            until_ms = after_ms if reply.arrives else command.deadline_ms - now_ms
            for beat_ms in range(reply.heartbeat_ms, until_ms, reply.heartbeat_ms):
                yield DelayedMessage(beat_ms, _heartbeat(command))
        if message is not None:
            yield DelayedMessage(after_ms, message)

    def _handled(self, command: ReceivedCommand, now_ms: int, reply: Reply) -> Iterator[DelayedMessage]:
        worker = self._workers.get(service_of(command.type))
        if worker is None:
            message = default_success(self._received(command)) if reply.arrives else None
            yield from self._replied(message, command, now_ms, reply)
            return
        handler = worker.handlers.get(command.type)
        if handler is None:
            yield DelayedMessage(self._after_ms(reply), unknown_command(command, worker.handlers))
            return
        self._check_connection(handler)
        handled = carry_out(handler, command, now_ms, self._inboxes.get(worker.service))
        for beat_ms in handled.heartbeats_ms:
            yield DelayedMessage(beat_ms, _heartbeat(command))
        if handled.reply is not None:
            yield DelayedMessage(handled.took_ms + self._after_ms(reply), handled.reply)

    def _check_connection(self, handler: Handler) -> None:
        if handler.takes_connection and not self._has_connection:
            raise ValueError(
                f"handler '{handler.name}' of '{handler.command_type}' takes a connection, and here is no server; "
                "give it a stand-in, Simulation(..., connection=...), or answer in its place, "
                f"sim.on('{handler.command_type}').succeeds()"
            )

    def child_replies(self, request: ChildRequest, parent: str) -> list[DelayedMessage] | None:
        """The messages to a child saga's parent where a script stands in for the child; None where none does.

        `parent` is the name of the parent's definition.
        """
        sent = self._requested(request, parent)
        if request.operation is ChildOperation.START:
            reply = self._scripted(request.saga, parent, request.step)
            if reply is None or reply.write is None:
                return None
            self._replaced_children.add(request.child_id)
            if not reply.arrives:
                return []
            return [DelayedMessage(self._after_ms(reply), reply.write(sent))] * reply.deliveries
        if request.child_id not in self._replaced_children:
            return None
        if request.operation is ChildOperation.CANCEL:
            return []
        return [DelayedMessage(self._replies_after_ms, default_success(sent))]

    def _requested(self, request: ChildRequest, parent: str) -> SentCommand:
        output = partial(self._default_outputs.of, parent, request.step, request.direction)
        return SentCommand(self._names.replies, command_id(*request.command), request.command.saga_id, output)

    def _scripted(self, name: str, saga: str, step: str) -> Reply | None:
        """The next reply of the most exact script that has one."""
        for known in ((name, saga, step), (name, None, step), (name, saga, None), (name, None, None)):
            script = self._scripts.get(known)
            reply = None if script is None else script.take()
            if reply is not None:
                return reply
        return None

    def _after_ms(self, reply: Reply) -> int:
        return self._replies_after_ms if reply.after_ms is None else reply.after_ms


def _heartbeat(command: ReceivedCommand) -> Message:
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
    from saga_service.testing.handlers import MemoryExactlyOnce

    return MemoryExactlyOnce(connection)
