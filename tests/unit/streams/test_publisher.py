"""Publishing what was committed: everything is added in the end, and what it came from is acknowledged once."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

import pytest
import structlog
from redis import exceptions
from redis.asyncio import Redis
from redis.exceptions import AuthenticationError, InvalidResponse, RedisError, ResponseError

from saga_service.streams import publisher as module
from saga_service.streams.connection import connect
from saga_service.streams.consumer import Consumer
from saga_service.streams.errors import transport_error
from saga_service.streams.pipeline import Command, CommandsOn, Reply
from saga_service.streams.publisher import RedisPublisher
from saga_service.wire.entries import Message
from saga_service.wire.transport import StreamRefused
from tests.support.builders import SERVER_ID
from tests.support.fakes import TURNS_MAX, backoffs

__all__ = ["backoffs"]

REPLIES, EVENTS = "saga:replies", "saga:events"
OOM = ResponseError("OOM command not allowed when used memory > 'maxmemory'.")
WRONGTYPE = ResponseError("WRONGTYPE Operation against a key holding the wrong kind of value")
READONLY = ResponseError("READONLY You can't write against a read only replica.")


class Server:
    """Answers a command as it was told to, by default well; the connection may fail before any answer."""

    def __init__(self) -> None:
        self.pipelines: list[list[Command]] = []
        self.server_id: str | None = SERVER_ID
        self.failures: deque[RedisError | OSError] = deque()
        self.refusal: Callable[[Command], ResponseError | None] = lambda _: None

    async def send(self, _: Redis, commands: CommandsOn) -> list[Reply]:
        self.pipelines.append(list(commands(self.server_id)))
        assert len(self.pipelines) < TURNS_MAX, "this never ends"
        if self.failures:
            raise transport_error(self.failures.popleft())
        return [self._reply(command) for command in self.pipelines[-1]]

    def _reply(self, command: Command) -> Reply:
        refusal = self.refusal(command)
        return b"1-0" if refusal is None else transport_error(refusal)

    def sent(self, name: str) -> list[tuple[object, ...]]:
        return [command[1:] for pipeline in self.pipelines for command in pipeline if command[0] == name]

    def refuse_for(self, tries: int, refused: Callable[[Command], bool], error: ResponseError) -> None:
        """Refuse what is `refused` in the first so many pipelines."""
        self.refusal = lambda command: error if len(self.pipelines) <= tries and refused(command) else None


class Publishing:
    def __init__(self, server: Server) -> None:
        client = connect("redis://127.0.0.1:1")
        self.server = server
        self.readers = {
            stream: Consumer(client, client, stream, f"group of {stream}", "me") for stream in (REPLIES, EVENTS)
        }
        self.publisher = RedisPublisher(client, self.readers)
        self.readers[REPLIES].outstanding.update({"1-0", "2-0", "3-0"})
        self.readers[EVENTS].outstanding.update({"7-0"})

    async def publish(self, *streams: str) -> list[str]:
        """The streams of the messages that are left."""
        messages = [Message(stream, ("n", str(number))) for number, stream in enumerate(streams)]
        left = await self.publisher.publish(messages, {REPLIES: ["1-0", "2-0"], EVENTS: ["7-0"]}.items())
        return [message.stream for message in left]

    @property
    def outstanding(self) -> dict[str, set[str]]:
        return {stream: reader.outstanding for stream, reader in self.readers.items()}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    server = Server()
    monkeypatch.setattr(module, "send", server.send)
    return server


@pytest.fixture
def publishing(server: Server) -> Publishing:
    return Publishing(server)


async def test_messages_go_before_acknowledgements_in_one_pipeline(publishing: Publishing, server: Server) -> None:
    assert await publishing.publish("a", "b") == []
    assert server.pipelines == [
        [
            ("XADD", "a", "*", "n", "0"),
            ("XADD", "b", "*", "n", "1"),
            ("XACK", REPLIES, f"group of {REPLIES}", "1-0", "2-0"),
            ("XACK", EVENTS, f"group of {EVENTS}", "7-0"),
        ]
    ]
    assert publishing.outstanding == {REPLIES: {"3-0"}, EVENTS: set()}


async def test_nothing_to_publish_is_published_at_once(publishing: Publishing) -> None:
    assert await publishing.publisher.publish([], ()) == []


@pytest.mark.parametrize(
    "failure",
    [
        exceptions.ConnectionError("reset"),
        exceptions.TimeoutError("no answer"),
        OSError("unreachable"),
        ConnectionRefusedError(111, "refused"),
        AuthenticationError("the password is being changed"),
    ],
)
async def test_redis_away_is_waited_for_and_then_everything_is_sent_again(
    publishing: Publishing, server: Server, backoffs: list[float], failure: RedisError
) -> None:
    server.failures.extend([failure] * 3)
    assert await publishing.publish("a") == []
    assert len(backoffs) == 3
    assert [len(pipeline) for pipeline in server.pipelines] == [3] * 4
    assert publishing.outstanding[REPLIES] == {"3-0"}


async def test_nothing_is_settled_before_redis_has_answered(
    publishing: Publishing, server: Server, backoffs: list[float]
) -> None:
    server.failures.append(InvalidResponse("Protocol error"))
    with pytest.raises(StreamRefused, match="InvalidResponse"):
        await publishing.publish("a")
    assert publishing.outstanding == {REPLIES: {"1-0", "2-0", "3-0"}, EVENTS: {"7-0"}}
    assert backoffs == []


@pytest.mark.parametrize("refusal", [OOM, READONLY])
async def test_what_redis_has_no_room_for_is_sent_again_and_what_it_took_is_not(
    publishing: Publishing, server: Server, backoffs: list[float], refusal: ResponseError
) -> None:
    server.refuse_for(10, lambda command: command[:2] == ("XADD", "b"), refusal)
    assert await publishing.publish("a", "b", "c") == []
    assert len(backoffs) == 10, "as long as it takes: more often than a lasting refusal is tried"
    assert [args[0] for args in server.sent("XADD")] == ["a", "b", "c", *["b"] * 10]
    assert len(server.sent("XACK")) == 2, "acknowledgements went through the first time"


async def test_an_acknowledgement_that_redis_cannot_take_just_now_is_sent_again(
    publishing: Publishing, server: Server, backoffs: list[float]
) -> None:
    server.refuse_for(2, lambda _: True, READONLY)
    assert await publishing.publish("a") == []
    assert len(backoffs) == 2
    assert len(server.sent("XACK")) == 6
    assert publishing.outstanding[REPLIES] == {"3-0"}


async def test_an_acknowledgement_alone_is_sent_again_too(
    publishing: Publishing, server: Server, backoffs: list[float]
) -> None:
    server.refuse_for(2, lambda command: command[0] == "XACK" and command[1] == EVENTS, READONLY)
    assert await publishing.publish("a") == []
    assert [args[0] for args in server.sent("XACK")] == [REPLIES, EVENTS, EVENTS, EVENTS]
    assert len(server.sent("XADD")) == 1
    assert publishing.outstanding[EVENTS] == set()
    assert len(backoffs) == 2


@pytest.mark.usefixtures("backoffs")
async def test_an_acknowledgement_in_a_group_that_has_vanished_is_let_go(
    publishing: Publishing, server: Server
) -> None:
    server.refusal = lambda command: ResponseError("NOGROUP No such key") if command[0] == "XACK" else None
    assert await publishing.publish("a") == []
    assert len(server.pipelines) == 1
    assert publishing.outstanding == {REPLIES: {"3-0"}, EVENTS: set()}


async def test_a_message_refused_for_good_comes_back_and_others_are_added(
    publishing: Publishing, server: Server, backoffs: list[float]
) -> None:
    server.refusal = lambda command: WRONGTYPE if command[:2] == ("XADD", "b") else None
    with structlog.testing.capture_logs() as logs:
        assert await publishing.publish("a", "b", "c") == ["b"]
    assert backoffs == []
    assert [args[0] for args in server.sent("XADD")] == ["a", "b", "c"]
    assert len(server.sent("XACK")) == 2
    assert {line["stream"] for line in logs} == {"b"}


async def test_nothing_stays_outstanding_for_ever_when_messages_are_given_up(
    publishing: Publishing, server: Server, backoffs: list[float]
) -> None:
    """A refused message and an acknowledgement that has to wait: giving up would leave the entry to nobody."""

    def refusal(command: Command) -> ResponseError | None:
        if command[0] == "XADD":
            return WRONGTYPE
        return READONLY if len(server.pipelines) <= 3 else None

    server.refusal = refusal
    assert await publishing.publish("a") == ["a"]
    assert publishing.outstanding == {REPLIES: {"3-0"}, EVENTS: set()}
    assert len(backoffs) == 3


async def test_a_connection_lost_between_two_tries_repeats_only_what_is_left(
    publishing: Publishing, server: Server, backoffs: list[float]
) -> None:
    def lose_the_second(command: Command) -> ResponseError | None:
        if len(server.pipelines) == 1 and command[:2] == ("XADD", "b"):
            server.failures.append(exceptions.ConnectionError("reset"))
            return OOM
        return None

    server.refusal = lose_the_second
    assert await publishing.publish("a", "b") == []
    assert [[command[1] for command in pipeline] for pipeline in server.pipelines] == [
        ["a", "b", REPLIES, EVENTS],
        ["b"],
        ["b"],
    ]
    assert len(backoffs) == 2


def _command(type_of_stream: str = "a") -> Message:
    return Message(type_of_stream, ("id", "1"), is_original=True)


async def test_a_command_says_that_it_is_the_original(publishing: Publishing, server: Server) -> None:
    await publishing.publisher.publish([_command()], (), SERVER_ID)
    assert server.sent("XADD") == [("a", "*", "id", "1", "original", SERVER_ID)]


async def test_a_server_that_does_not_tell_its_run_is_sent_copies(publishing: Publishing, server: Server) -> None:
    server.server_id = None
    await publishing.publisher.publish([_command()], (), SERVER_ID)
    assert server.sent("XADD") == [("a", "*", "id", "1")]


async def test_what_was_made_before_another_run_of_redis_is_sent_as_a_copy(
    publishing: Publishing, server: Server
) -> None:
    await publishing.publisher.publish([_command()], (), publishing.publisher.server_id)
    assert publishing.publisher.server_id == SERVER_ID
    server.server_id = "fedcba9876543210"
    await publishing.publisher.publish([_command()], (), SERVER_ID)
    assert server.sent("XADD") == [("a", "*", "id", "1")] * 2


async def test_what_redis_may_have_already_is_sent_again_as_a_copy(
    publishing: Publishing, server: Server, backoffs: list[float]
) -> None:
    server.failures.append(exceptions.TimeoutError("no answer"))
    await publishing.publisher.publish([_command()], (), SERVER_ID)
    assert server.sent("XADD")[1:] == [("a", "*", "id", "1")]


async def test_what_never_left_for_want_of_a_connection_is_still_the_original(
    publishing: Publishing, monkeypatch: pytest.MonkeyPatch, backoffs: list[float]
) -> None:
    sent: list[Sequence[Command]] = []

    async def send(_: Redis, commands: CommandsOn) -> list[Reply]:
        if not sent:
            sent.append([])
            error = transport_error(ConnectionRefusedError(111, "refused"))
            error.nothing_was_sent = True
            raise error
        sent.append(commands(SERVER_ID))
        return [b"1-0"]

    monkeypatch.setattr(module, "send", send)
    await publishing.publisher.publish([_command()], (), SERVER_ID)
    assert sent[1] == [("XADD", "a", "*", "id", "1", "original", SERVER_ID)]


async def test_what_redis_refused_is_still_the_original(
    publishing: Publishing, server: Server, backoffs: list[float]
) -> None:
    server.refuse_for(1, lambda command: command[0] == "XADD", OOM)
    await publishing.publisher.publish([_command()], (), SERVER_ID)
    assert server.sent("XADD")[1] == ("a", "*", "id", "1", "original", SERVER_ID)
