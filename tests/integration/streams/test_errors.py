"""Whose fault an error is, asked of real servers in real trouble, and of the texts of those that are hard to have."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import pytest
from redis.asyncio import Redis
from redis.asyncio.connection import Connection
from redis.exceptions import BusyLoadingError, DataError, InvalidResponse, RedisError, ResponseError

from saga_service.local.servers.process import run_apart
from saga_service.local.servers.programs import Account
from saga_service.local.servers.redis import EmbeddedRedis
from saga_service.streams import scripts
from saga_service.streams.connection import connect
from saga_service.streams.errors import translated
from saga_service.wire.transport import (
    AccessDenied,
    RightMissing,
    StreamLost,
    StreamRefused,
    TransportError,
    TransportUnavailable,
)
from tests.support.waiting import eventually

STREAM, GROUP = "saga:events", "g"
Trouble = Callable[[Redis], Awaitable[object]]


@pytest.fixture
async def client(own_client: Redis) -> Redis:
    """One whose server has a stream with a group, and an entry that is pending."""
    await own_client.execute_command("XADD", STREAM, "1-0", "a", "b")
    await own_client.execute_command("XGROUP", "CREATE", STREAM, GROUP, "0")
    await own_client.execute_command("XREADGROUP", "GROUP", GROUP, "me", "STREAMS", STREAM, ">")
    return own_client


async def error_of(call: Awaitable[object]) -> Exception:
    try:
        await call
    except (RedisError, OSError, TransportError) as error:
        return error
    raise AssertionError("it went through")


def words_for(error: Exception) -> type[Exception]:
    """What the rest of the service gets to know of an error."""
    try:
        with translated():
            raise error
    except Exception as told:  # noqa: BLE001 - which one it is, is the question
        return type(told)
    raise AssertionError("it was swallowed")


def add(client: Redis) -> Awaitable[object]:
    return client.execute_command("XADD", STREAM, "*", "a", "b")


def read(client: Redis, stream: str = STREAM, group: str = GROUP) -> Awaitable[object]:
    return client.execute_command("XREADGROUP", "GROUP", group, "me", "STREAMS", stream, ">")


def trim(client: Redis) -> Awaitable[object]:
    return scripts.trim_handled(client, STREAM)


def remove_consumers(client: Redis, group: str = GROUP) -> Awaitable[object]:
    return scripts.remove_idle_consumers(client, STREAM, group, 0)


def make_group(client: Redis, stream: str = "another") -> Awaitable[object]:
    return client.execute_command("XGROUP", "CREATE", stream, GROUP, "0", "MKSTREAM")


# ------------------------------------------------------------------------------------------- what passes with the time


@pytest.mark.parametrize("call", [add, make_group])
async def test_no_room_left_passes(client: Redis, call: Trouble) -> None:
    await client.execute_command("CONFIG", "SET", "maxmemory", "1")
    error = await error_of(call(client))
    assert words_for(error) is TransportUnavailable


async def test_reading_acknowledging_and_tidying_work_with_no_room_left(client: Redis) -> None:
    await add(client)
    await client.execute_command("CONFIG", "SET", "maxmemory", "1")
    assert await read(client)
    assert await client.execute_command("XACK", STREAM, GROUP, "1-0") == 1
    assert await client.execute_command("XAUTOCLAIM", STREAM, GROUP, "me", 0, "0-0")
    await trim(client)
    await scripts.renew(client, STREAM, GROUP, "me", ["1-0"])


async def test_no_room_left_within_a_script_passes(client: Redis) -> None:
    await client.execute_command("XACK", STREAM, GROUP, "1-0")
    await client.execute_command("CONFIG", "SET", "maxmemory", "1")
    # Newer servers let it through.
    with suppress(TransportUnavailable):
        await remove_consumers(client)


@pytest.mark.parametrize("call", [add, read, make_group, trim])
async def test_a_replica_that_refuses_writes_passes(client: Redis, call: Trouble) -> None:
    await client.execute_command("REPLICAOF", "127.0.0.1", "1")
    assert words_for(await error_of(call(client))) is TransportUnavailable


async def test_a_replica_without_its_master_passes(client: Redis) -> None:
    await client.execute_command("REPLICAOF", "127.0.0.1", "1")
    await client.execute_command("CONFIG", "SET", "replica-serve-stale-data", "no")
    assert words_for(await error_of(client.execute_command("XLEN", STREAM))) is TransportUnavailable


async def test_being_made_a_replica_in_the_middle_of_a_read_passes(client: Redis, own_redis: EmbeddedRedis) -> None:
    reading = connect(own_redis.url, blocking_ms=5_000, connections_max=1)
    try:
        blocked = asyncio.create_task(
            error_of(
                reading.execute_command("XREADGROUP", "GROUP", GROUP, "me", "BLOCK", 5_000, "STREAMS", STREAM, ">")
            )
        )
        await eventually(lambda: _tells(client, "clients", b"blocked_clients:1"))
        await client.execute_command("REPLICAOF", "127.0.0.1", "1")
        async with asyncio.timeout(4):
            error = await blocked
        assert str(error).startswith("UNBLOCKED")
        assert words_for(error) is TransportUnavailable
    finally:
        await reading.aclose()


async def test_too_few_replicas_pass(client: Redis) -> None:
    await client.execute_command("CONFIG", "SET", "min-replicas-to-write", "3")
    assert words_for(await error_of(add(client))) is TransportUnavailable


async def test_a_disk_that_cannot_be_written_passes(client: Redis, own_redis: EmbeddedRedis) -> None:
    (own_redis._data / "dump.rdb" / "in the way").mkdir(parents=True)
    await client.execute_command("CONFIG", "SET", "save", "1 1")
    await client.execute_command("BGSAVE")
    await eventually(lambda: _tells(client, "persistence", b"rdb_last_bgsave_status:err"))
    error = await error_of(add(client))
    assert str(error).startswith("MISCONF")
    assert words_for(error) is TransportUnavailable
    # A server that cannot save would put off its end for twenty seconds.
    own_redis.kill()


async def test_a_script_that_holds_up_everything_passes(client: Redis, own_redis: EmbeddedRedis) -> None:
    await client.execute_command("CONFIG", "SET", "lua-time-limit", "1")
    other = connect(own_redis.url)
    try:
        endless = asyncio.create_task(error_of(other.eval("while true do end", 0)))
        error = await eventually(lambda: _refusal(client))
        assert error is not None
        assert str(error).startswith("BUSY")
        assert words_for(error) is TransportUnavailable
        await client.execute_command("SCRIPT", "KILL")
        await endless
    finally:
        await other.aclose()


async def test_a_server_that_is_still_loading_passes(client: Redis, own_redis: EmbeddedRedis, tmp_path: Path) -> None:
    pipeline = client.pipeline(transaction=False)
    # What cannot be compressed: a server that loads listens again after so many megabytes.
    for number in range(500):
        pipeline.execute_command("SET", f"key {number}", os.urandom(20_000))
    await pipeline.execute()
    await client.execute_command("SAVE")
    await asyncio.to_thread(own_redis.stop)
    slowly = ["--appendonly", "no", "--key-load-delay", "5000"]
    with (tmp_path / "loading.log").open("wb") as log:
        process = run_apart([*own_redis._command(), *slowly], log.fileno(), Account())
    try:
        error = await eventually(lambda: _refusal(client, BusyLoadingError))
        assert error is not None
        assert words_for(error) is TransportUnavailable
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


async def _refusal(client: Redis, kind: type[RedisError] = ResponseError) -> RedisError | None:
    try:
        await client.execute_command("XLEN", STREAM)
    except RedisError as error:
        return error if isinstance(error, kind) else None
    return None


async def _tells(client: Redis, section: str, line: bytes) -> bool:
    return line in await client.execute_command("INFO", section)


@pytest.mark.parametrize("password", ["", ":wrong"])
async def test_a_password_that_is_being_changed_passes(client: Redis, own_redis: EmbeddedRedis, password: str) -> None:
    await client.execute_command("CONFIG", "SET", "requirepass", "secret")
    stranger = connect(own_redis.url.replace("//", f"//{password}@" if password else "//"))
    try:
        assert words_for(await error_of(add(stranger))) is AccessDenied
    finally:
        await stranger.aclose()


async def test_a_server_that_is_away_passes(client: Redis, own_redis: EmbeddedRedis) -> None:
    await asyncio.to_thread(own_redis.kill)
    for call in (add, read, trim, make_group):
        assert words_for(await error_of(call(client))) is TransportUnavailable
    await asyncio.to_thread(own_redis.start)


async def test_more_clients_than_a_server_takes_pass(client: Redis, own_redis: EmbeddedRedis) -> None:
    await client.execute_command("CONFIG", "SET", "maxclients", "1")
    one_more = connect(own_redis.url)
    try:
        assert words_for(await error_of(add(one_more))) is TransportUnavailable
    finally:
        await one_more.aclose()
        await client.execute_command("CONFIG", "SET", "maxclients", "100")


# --------------------------------------------------------------------------------------------------- what has vanished


@pytest.mark.parametrize(("call", "is_there_a_stream"), [(read, False), (read, True), (remove_consumers, True)])
async def test_a_group_that_has_vanished_is_a_loss(client: Redis, call: Trouble, is_there_a_stream: bool) -> None:
    await client.execute_command("FLUSHDB")
    if is_there_a_stream:
        await add(client)
    assert words_for(await error_of(call(client))) is StreamLost


# ------------------------------------------------------------------------------------------------ what no waiting mends


async def test_a_key_of_another_type_does_not_pass(client: Redis) -> None:
    await client.execute_command("DEL", STREAM)
    await client.execute_command("SET", STREAM, "text")
    for call in (add, read, trim, lambda client: make_group(client, STREAM)):
        assert words_for(await error_of(call(client))) is StreamRefused


async def test_a_user_who_may_not_does_not_pass(client: Redis) -> None:
    await client.execute_command("ACL", "SETUSER", "default", "-xadd")
    error = await error_of(add(client))
    assert words_for(error) is RightMissing
    assert "'xadd'" in str(error), "the right is named"


async def test_a_command_that_is_wrong_does_not_pass(client: Redis) -> None:
    assert words_for(await error_of(client.execute_command("XADD", STREAM))) is StreamRefused
    assert words_for(await error_of(client.execute_command("NONSENSE"))) is StreamRefused


@pytest.mark.parametrize("error", [InvalidResponse("Protocol error"), DataError("an object cannot be sent")])
def test_what_the_client_itself_stumbles_over_does_not_pass(error: Exception) -> None:
    assert words_for(error) is StreamRefused


def test_an_error_of_our_own_is_none_of_redis() -> None:
    assert words_for(KeyError("ours")) is KeyError


# ------------------------------------------------------------------------------------ as other servers and versions say


@pytest.mark.parametrize(
    "text",
    [
        "MOVED 3999 127.0.0.1:6381",
        "ASK 3999 127.0.0.1:6381",
        "TRYAGAIN Multiple keys request during rehashing of slot",
        "CLUSTERDOWN The cluster is down",
        "CLUSTERDOWN Hash slot not served",
        "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
        "LOADING Redis is loading the dataset in memory",
        "READONLY You can't write against a read only replica.",
        "UNBLOCKED the stream key no longer exists",
        "NOREPLICAS Not enough good replicas to write.",
        "MISCONF Errors writing to the AOF file: No space left on device",
        "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
        "OOM command not allowed when used memory > 'maxmemory'.",
        "ERR Error running script (call to f_59d9): @user_script:10: @user_script: 10: -OOM command not allowed",
        "ERR Error running script (call to f_59d9): @user_script:24: @user_script: 24: -READONLY You can't write",
        "ERR max number of clients reached",
    ],
)
def test_these_pass_in_whatever_class_the_client_puts_them(text: str) -> None:
    assert words_for(_as_the_client_has_it(text)) is TransportUnavailable


@pytest.mark.parametrize(
    "text",
    [
        "WRONGTYPE Operation against a key holding the wrong kind of value",
        "ERR unknown command 'XAUTOCLAIM'",
        "NOPERM this user has no permissions to run the 'xadd' command",
        "ERR wrong number of arguments for 'xadd' command",
        "CROSSSLOT Keys in request don't hash to the same slot",
        "ERR The ID specified in XADD is equal or smaller than the target stream top item",
        "ERR no command of this name: TASK MOVED, OOM",
    ],
)
def test_these_do_not_pass(text: str) -> None:
    assert issubclass(words_for(_as_the_client_has_it(text)), StreamRefused)


def _as_the_client_has_it(text: str) -> Exception:
    made = Connection()._parser.parse_error(text)
    assert isinstance(made, Exception)
    return made
