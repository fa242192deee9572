"""Publishing what was committed, and acknowledging what it came from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from saga_service.base.backoff import Backoff
from saga_service.streams.faults import describe, is_transient
from saga_service.streams.group_reader import GroupReader
from saga_service.streams.pipeline import Command, Reply, acknowledge, add, send
from saga_service.wire.entries import Message

log = structlog.get_logger(__name__)
Handled = tuple[str, Sequence[str]]
"""A stream, and the ids of entries that are to be acknowledged on it."""
Refusal = tuple[Message, RedisError]


class RedisPublisher:
    """`readers` are the groups that entries were read in, by stream."""

    def __init__(self, client: Redis, readers: dict[str, GroupReader]) -> None:
        self._client = client
        self._readers = readers

    async def publish(self, messages: Sequence[Message], handled: Iterable[Handled]) -> list[Message]:
        """Add every message, then acknowledge every handled entry, in one pipeline.

        Keeps trying while Redis is away or out of memory. What comes back was refused for another reason (a key of the
        wrong type, say): all else was added, and the outbox still has it.
        """
        backoff = Backoff()
        waiting, acknowledgements = list(messages), list(handled)
        while True:
            try:
                replies = await send(self._client, [*map(add, waiting), *self._acknowledging(acknowledgements)])
            except (RedisError, OSError) as error:
                if not is_transient(error):
                    raise
                log.warning("redis is away; publishing waits", error=describe(error), messages=len(waiting))
                await backoff.wait()
                continue
            refused = _refusals(waiting, replies)
            acknowledgements = self._settle(acknowledgements, replies[len(waiting) :])
            waiting = [message for message, _ in refused]
            lasting = not acknowledgements and not any(is_transient(reply) for _, reply in refused)
            _tell(refused, lasting)
            if lasting:
                return waiting
            await backoff.wait()

    def _acknowledging(self, handled: Iterable[Handled]) -> Iterable[Command]:
        for stream, entry_ids in handled:
            yield acknowledge(stream, self._readers[stream].group, entry_ids)

    def _settle(self, handled: Sequence[Handled], replies: Sequence[Reply]) -> list[Handled]:
        """What is acknowledged, or never can be (its group has vanished), is off our hands; the rest comes back."""
        left = []
        for (stream, entry_ids), reply in zip(handled, replies, strict=True):
            if isinstance(reply, RedisError) and is_transient(reply):
                left.append((stream, entry_ids))
            else:
                self._readers[stream].settle(entry_ids)
        return left


def _refusals(messages: Sequence[Message], replies: Sequence[Reply]) -> list[Refusal]:
    return [
        (message, reply) for message, reply in zip(messages, replies, strict=False) if isinstance(reply, RedisError)
    ]


def _tell(refused: Sequence[Refusal], lasting: bool) -> None:
    if not refused:
        return
    message, error = refused[0]
    tell = log.error if lasting else log.warning
    tell(
        "redis refuses messages; they stay in the outbox",
        stream=message.stream,
        error=str(error),
        messages=len(refused),
    )
