"""What tests of the workers' SDK need: commands as they arrive, and replies as the service would read them."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import structlog
from redis.asyncio import Redis

from saga_service.base import clock
from saga_service.base.lifecycle import Milestone
from saga_service.core.effects import Command
from saga_service.core.events import Replied
from saga_service.core.ids import SagaId, saga_id_from_key
from saga_service.core.vocabulary import Direction
from saga_service.streams import pipeline
from saga_service.streams.connection import connect
from saga_service.streams.pipeline import Reply
from saga_service.wire.commands import ReceivedCommand, read_command, write_command
from saga_service.wire.encryption import Cipher
from saga_service.wire.entries import Entry, Message
from saga_service.wire.replies import read_reply
from saga_service.wire.transport import StreamNames, TransportError
from saga_service.worker.copies import Copies
from saga_service.worker.dispatcher import Dispatcher
from saga_service.worker.handover import Handover
from saga_service.worker.observer import WorkerObserver
from saga_service.worker.registration import Handler
from saga_service.worker.replies import Replies
from tests.support.builders import SERVER_ID, delivered
from tests.support.fakes import Faults

NAMES = StreamNames()
STREAM, GROUP = NAMES.commands("payment"), "payment"
FAR_AWAY_MS = 600_000


def saga_id(number: int = 1) -> SagaId:
    return saga_id_from_key("order", f"order-{number}")


def message(
    number: int = 1,
    *,
    command_type: str = "payment.charge",
    direction: Direction = Direction.ACTION,
    attempt: int = 1,
    data: Mapping[str, Any] | None = None,
    outputs: Mapping[str, Any] | None = None,
    deadline_in_ms: int = FAR_AWAY_MS,
    traceparent: str | None = None,
    errors_are_unknown: bool = False,
) -> Message:
    """The command of saga `number`, as the orchestrator sends it."""
    command = Command(
        type=command_type,
        saga_id=saga_id(number),
        saga="order",
        step="charge",
        direction=direction,
        attempt=attempt,
        deadline_ms=time.time_ns() // 1_000_000 + deadline_in_ms,
        input={"amount": 5} if data is None else data,
        outputs=outputs or {},
        traceparent=traceparent,
        errors_are_unknown=errors_are_unknown,
    )
    return write_command(command, NAMES)


def command_entry(number: int = 1, entry_id: str | None = None, **more: Any) -> Entry:
    return delivered(message(number, **more), entry_id or f"{1_700 + number}-0")


def command(number: int = 1, **more: Any) -> ReceivedCommand:
    return read_command(command_entry(number, **more))


def understood(reply: Message) -> Replied:
    """What the service makes of a reply."""
    assert reply.stream == NAMES.replies
    return read_reply(delivered(reply))


def acknowledgement(entry_ids: Sequence[str]) -> pipeline.Command:
    return pipeline.acknowledge(STREAM, GROUP, entry_ids)


class RedisInMemory:
    """Takes whole pipelines: keeps what is added and acknowledged, and what went together in one round trip."""

    def __init__(self) -> None:
        self.added: list[Message] = []
        self.acknowledged: list[str] = []
        self.round_trips: list[list[str]] = []
        self.tried = Milestone()
        """Reached when a round trip begins."""
        self.faults = Faults()
        """Of whole round trips: the connection is lost before Redis sees any of it."""
        self.lost_replies = Faults()
        """Of whole round trips: Redis has carried all of it out, and the connection is lost before that is known."""
        self.refusals: dict[str, TransportError] = {}
        """By stream to add to, or by 'XACK': what Redis answers instead."""

        self.server_id = SERVER_ID
        """The id of its run: another one after a restart."""
        self.ahead_ms = 0
        """How far this server's clock is ahead of the machine's."""
        self.keys: set[str] = set()
        """The keys that were set."""
        self.deliveries: dict[str, int] = {}
        """How often an entry was given out; 0 where it is not pending for us, and 1 where nothing else is said."""
        self.passed_on: list[Entry] = []

        self.meanwhile: deque[Callable[[], None]] = deque()
        """What happens while a round trip is under way, one for each."""

    async def send(self, commands: Sequence[pipeline.Command]) -> list[Reply]:
        self.tried.reached()
        self.faults.strike()
        self.round_trips.append([str(command[0]) for command in commands])
        replies = [self._carry_out(command) for command in commands]
        await asyncio.sleep(0)
        if self.meanwhile:
            self.meanwhile.popleft()()
        self.lost_replies.strike()
        return replies

    def _carry_out(self, command: pipeline.Command) -> Reply:
        if command[0] in self._QUESTIONS:
            return self._answer(*map(str, command))
        name, stream, _, *rest = map(str, command)
        refusal = self.refusals.get(name if name == "XACK" else stream)
        if refusal is not None:
            return refusal
        if name == "XACK":
            self.acknowledged += rest
        else:
            self.added.append(Message(stream, tuple(rest)))
        return b"1-0"

    _QUESTIONS = ("TIME", "INFO", "SET", "EXISTS", "XPENDING")

    def _answer(self, name: str, *words: str) -> Reply:
        if refusal := self.refusals.get(name):
            return refusal
        match name:
            case "TIME":
                now_us = time.time_ns() // 1_000 + self.ahead_ms * 1_000
                return [str(now_us // 1_000_000).encode(), str(now_us % 1_000_000).encode()]
            case "INFO":
                run, master = self.server_id[:8], self.server_id[8:]
                return f"# Server\r\nrun_id:{run}f\r\n# Replication\r\nmaster_replid:{master}f\r\n".encode()
            case "SET":
                self.keys.add(words[0])
                return b"OK"
            case "EXISTS":
                return int(words[0] in self.keys)
            case _:
                deliveries = self.deliveries.get(words[2], 1)
                return [[words[2].encode(), words[-1].encode(), 5, deliveries]] if deliveries else []

    async def pass_on(self, entry: Entry) -> bool:
        self.tried.reached()
        self.faults.strike()
        self.passed_on.append(entry)
        return True

    @property
    def replies(self) -> list[Replied]:
        return [understood(message) for message in self.added if message.stream == NAMES.replies]


def dispatcher_of(
    handlers: Mapping[str, Handler],
    replies: Replies,
    redis: RedisInMemory | None = None,
    *,
    concurrency: int = 1,
    copies: Copies | None = None,
    cipher: Cipher | None = None,
    reply_bytes_max: int = 10_000,
    now_ms: Callable[[], int] = clock.now_ms,
    observer: WorkerObserver | None = None,
) -> Dispatcher:
    """A dispatcher with all that it needs. Late commands and copies wait for `copies`, whose loop the test runs."""
    server, log = redis or RedisInMemory(), structlog.get_logger()
    handover = Handover(server.pass_on, replies.send, lambda _: None, now_ms, log)
    asking = copies_of(server) if copies is None else copies
    return Dispatcher(
        *(handlers, replies, asking, handover, concurrency, reply_bytes_max, log, cipher), None, now_ms, observer
    )


def copies_of(redis: RedisInMemory) -> Copies:
    return Copies(redis.send, NAMES, STREAM, GROUP, "me", structlog.get_logger())


async def waiting_for_room(dispatcher: Dispatcher) -> asyncio.Task[int]:
    """A wait for room that has found none."""
    before = dispatcher.without_room.count
    waiting = asyncio.create_task(dispatcher.wait_for_room())
    async with asyncio.timeout(10):
        await dispatcher.without_room.times(before + 1)
    return waiting


async def add_originals(client: Redis, *messages: Message) -> None:
    """Add commands as the service does: on a connection that knows the run of the server."""

    def commands(server_id: str | None) -> list[pipeline.Command]:
        assert server_id is not None
        return [pipeline.add(message, server_id) for message in messages]

    knowing = connect(_url_of(client), knows_server=True)
    await pipeline.send(knowing, commands)
    await knowing.aclose()


def _url_of(client: Redis) -> str:
    options = client.connection_pool.connection_kwargs
    if "path" in options:
        return f"unix://{options['path']}?db={options.get('db') or 0}"
    return f"redis://{options['host']}:{options['port']}/{options.get('db') or 0}"


async def replies_in(client: Redis, stream: str = NAMES.replies) -> list[Replied]:
    """All replies on a real server, in the order in which they came."""
    return [read_reply(entry) for entry in await entries_in(client, stream)]


async def entries_in(client: Redis, stream: str) -> list[Entry]:
    rows = await client.execute_command("XRANGE", stream, "-", "+")
    return [Entry(stream, row[0].decode(), dict(zip(row[1][::2], row[1][1::2], strict=True))) for row in rows]
