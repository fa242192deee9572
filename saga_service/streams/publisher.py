"""Publishing what was committed, and acknowledging what it came from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import structlog

from saga_service.base.clock import Backoff
from saga_service.streams.connection import RedisClient
from saga_service.streams.consumer import Consumer
from saga_service.streams.pipeline import Command, Reply, add, send
from saga_service.wire.entries import Message
from saga_service.wire.transport import TransportError, TransportUnavailable

log = structlog.get_logger(__name__)


class Handled(NamedTuple):
    """Entries that are to be acknowledged on a stream."""

    stream: str
    entry_ids: Sequence[str]


class Refusal(NamedTuple):
    """A message that Redis did not take."""

    message: Message
    error: TransportError


class RedisPublisher:
    """`consumers` are those that the entries were read by, by stream."""

    def __init__(self, client: RedisClient, consumers: Mapping[str, Consumer]) -> None:
        self._client = client
        self._consumers = consumers
        self.server_id: str | None = None

    async def publish(
        self,
        messages: Sequence[Message],
        handled: Iterable[tuple[str, Sequence[str]]],
        server_before: str | None = None,
    ) -> list[Message]:
        """Add every message, then acknowledge every handled entry, in one pipeline; the messages that were refused.

        Keeps trying while Redis is away or out of memory. A message comes back where Redis refuses it for another
        reason (a key of the wrong type, say): all else was added, and the outbox still has it. On another run than
        `server_before` a message is no original: on a run before it a copy may have begun whose mark is lost.
        """
        backoff = Backoff()
        waiting, unacknowledged = list(messages), [Handled(*each) for each in handled]
        while waiting or unacknowledged:
            acknowledgements = self._acknowledgements(unacknowledged)
            try:
                replies = await send(
                    self._client, partial(self._commands, waiting, [*acknowledgements.values()], server_before)
                )
            except TransportUnavailable as error:
                log.warning("redis is away; publishing waits", error=str(error), messages=len(waiting))
                if not error.nothing_was_sent:
                    # Redis may have them already, so what is sent from here on may be a copy.
                    waiting = [replace(message, is_original=False) for message in waiting]
                await backoff.wait()
                continue
            refused = _refusals(waiting, replies)
            unacknowledged = self._settle(
                unacknowledged, dict(zip(acknowledgements, replies[len(waiting) :], strict=True))
            )
            waiting = [message for message, _ in refused]
            is_final = not unacknowledged and not any(_passes(error) for _, error in refused)
            _log_refusals(refused, is_final)
            if is_final:
                return waiting
            await backoff.wait()
        return waiting

    def _commands(
        self,
        messages: Sequence[Message],
        acknowledgements: Sequence[Command],
        server_before: str | None,
        server_id: str | None,
    ) -> list[Command]:
        self.server_id = server_id
        same_run = server_id if server_id == server_before else None
        return [*(add(message, same_run) for message in messages), *acknowledgements]

    def _acknowledgements(self, handled: Iterable[Handled]) -> dict[str, Command]:
        """By stream; none for entries of a stream that is gone."""
        commands = ((each.stream, self._consumers[each.stream].acknowledgement(each.entry_ids)) for each in handled)
        return {stream: command for stream, command in commands if command is not None}

    def _settle(self, handled: Iterable[Handled], replies: Mapping[str, Reply]) -> list[Handled]:
        """Settle what is acknowledged, or never can be because its group has vanished; the rest comes back."""
        left = []
        for each in handled:
            if _passes(replies.get(each.stream)):
                left.append(each)
            else:
                self._consumers[each.stream].settle(each.entry_ids)
        return left


def _refusals(messages: Sequence[Message], replies: Sequence[Reply]) -> list[Refusal]:
    return [
        Refusal(message, reply)
        for message, reply in zip(messages, replies, strict=False)
        if isinstance(reply, TransportError)
    ]


def _passes(reply: Reply) -> bool:
    """True for a refusal that may be over at the next try."""
    return isinstance(reply, TransportUnavailable)


def _log_refusals(refused: Sequence[Refusal], is_final: bool) -> None:
    if not refused:
        return
    message, error = refused[0]
    level = log.error if is_final else log.warning
    level(
        "redis refuses messages; they stay in the outbox",
        stream=message.stream,
        error=str(error),
        messages=len(refused),
    )
