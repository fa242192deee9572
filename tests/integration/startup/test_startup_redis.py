"""What the service finds out about Redis before it runs: whether it is there, and whether it will do."""

from __future__ import annotations

import asyncio
from unittest.mock import AsyncMock

import pytest
import structlog
from redis.asyncio import Redis

from saga_service.engine.failures import StoreBroken, StoreDenied, StoreUnavailable
from saga_service.local.servers.redis import EmbeddedRedis
from saga_service.settings import ServerUrl, Settings
from saga_service.startup import StartupRefused, wait_for, wait_for_redis
from saga_service.streams.server import UnfitServer, check_server, server_version
from saga_service.wire.transport import StreamRefused, TransportUnavailable
from tests.support.fakes import backoffs
from tests.support.waiting import eventually

__all__ = ["backoffs"]


def settings(url: str, wait_s: float = 20.0) -> Settings:
    return Settings(redis_url=ServerUrl(url), startup_wait_s=wait_s)


# -------------------------------------------------------------------------------------------------- whether it will do


async def test_a_fit_server_is_let_through_without_a_word(client: Redis) -> None:
    with structlog.testing.capture_logs() as logs:
        await check_server(client)
    assert logs == []


async def test_a_server_says_what_it_is(own_client: Redis) -> None:
    assert (await server_version(own_client)).split()[0] in ("redis", "valkey")
    assert (await server_version(own_client)).split()[1][0].isdigit()


@pytest.mark.parametrize("policy", ["allkeys-lru", "allkeys-lfu", "allkeys-random"])
async def test_a_server_that_may_evict_whole_streams_is_refused_with_what_to_do(own_client: Redis, policy: str) -> None:
    await own_client.execute_command("CONFIG", "SET", "maxmemory-policy", policy)
    with pytest.raises(UnfitServer, match="redis-cli CONFIG SET maxmemory-policy noeviction") as refused:
        await check_server(own_client)
    assert policy in str(refused.value)


@pytest.mark.parametrize("policy", ["volatile-lru", "volatile-ttl"])
async def test_a_server_that_evicts_only_what_expires_is_warned_of(own_client: Redis, policy: str) -> None:
    await own_client.execute_command("CONFIG", "SET", "maxmemory-policy", policy)
    with structlog.testing.capture_logs() as logs:
        await check_server(own_client)
    assert [(line["log_level"], line["policy"]) for line in logs] == [("warning", policy)]


async def test_a_server_that_does_not_tell_its_policy_is_warned_of(own_client: Redis) -> None:
    """As managed servers do."""
    await own_client.execute_command("ACL", "SETUSER", "default", "-config")
    with structlog.testing.capture_logs() as logs:
        await check_server(own_client)
    assert [line["log_level"] for line in logs] == ["warning"]
    assert "noeviction" in logs[0]["event"]


async def test_a_server_too_old_is_refused_with_its_version_and_what_to_use() -> None:
    old = AsyncMock(spec=Redis)
    old.execute_command.side_effect = lambda *words: {"COMMAND": [None], "INFO": b"redis_version:5.0.7\r\n"}[words[0]]
    with pytest.raises(UnfitServer, match=r"this is redis 5\.0\.7, which has no XAUTOCLAIM; use Redis 6\.2 or later"):
        await check_server(old)


# ------------------------------------------------------------------------------------------------- whether it is there


async def test_a_server_that_starts_late_is_waited_for(own_redis: EmbeddedRedis) -> None:
    await asyncio.to_thread(own_redis.stop)
    with structlog.testing.capture_logs() as logs:
        waiting = asyncio.create_task(wait_for_redis(settings(own_redis.url)))
        await eventually(lambda: bool(logs))
        await asyncio.to_thread(own_redis.start)
        async with asyncio.timeout(20):
            await waiting
    assert logs[0]["event"] == f"waiting for redis at {own_redis.url}"
    assert logs[-1]["event"] == f"redis at {own_redis.url} answers"


async def test_a_server_that_never_answers_is_given_up_with_one_line(
    own_redis: EmbeddedRedis,
) -> None:
    await asyncio.to_thread(own_redis.stop)
    async with asyncio.timeout(10):
        with pytest.raises(StartupRefused, match=r"did not answer within 0\.3 s") as refused:
            await wait_for_redis(settings(own_redis.url, wait_s=0.3))
    assert f"redis at {own_redis.url}" in str(refused.value)
    assert "\n" not in str(refused.value)
    await asyncio.to_thread(own_redis.start)


@pytest.mark.parametrize("password", ["", ":wrong"])
async def test_a_wrong_password_is_refused_at_once_and_never_repeated(
    own_redis: EmbeddedRedis, own_client: Redis, password: str
) -> None:
    await own_client.execute_command("CONFIG", "SET", "requirepass", "secret")
    url = own_redis.url.replace("//", f"//{password}@") if password else own_redis.url
    async with asyncio.timeout(5):
        with pytest.raises(StartupRefused, match="check user and password in SAGA_REDIS_URL") as refused:
            await wait_for_redis(settings(url))
    assert ":wrong" not in str(refused.value)


async def test_an_unfit_server_is_refused_at_once(own_redis: EmbeddedRedis, own_client: Redis) -> None:
    await own_client.execute_command("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    async with asyncio.timeout(5):
        with pytest.raises(StartupRefused, match="cannot be used: redis has maxmemory-policy allkeys-lru"):
            await wait_for_redis(settings(own_redis.url))


async def test_a_user_who_may_nothing_is_refused_at_once(own_redis: EmbeddedRedis, own_client: Redis) -> None:
    await own_client.execute_command("ACL", "SETUSER", "default", "-command")
    async with asyncio.timeout(5):
        with pytest.raises(StartupRefused, match="no permissions"):
            await wait_for_redis(settings(own_redis.url))


# ------------------------------------------------------------------------------------------------------------ the wait


class Probe:
    """Fails so often, then goes through."""

    def __init__(self, error: Exception, failures: int) -> None:
        self.error = error
        self.failures = failures
        self.tries = 0

    async def __call__(self) -> None:
        self.tries += 1
        if self.tries <= self.failures:
            raise self.error


@pytest.mark.parametrize(
    "error",
    [
        ConnectionRefusedError(111, "refused"),
        TransportUnavailable("loading"),
        StoreUnavailable("shutting down"),
        TimeoutError(),
    ],
)
async def test_what_passes_is_waited_for_longer_and_longer(error: Exception, backoffs: list[float]) -> None:
    probe = Probe(error, 8)
    await wait_for("a server", probe, within_s=60)
    assert probe.tries == 9
    assert len(backoffs) == 8
    assert max(backoffs) <= 2.0


@pytest.mark.usefixtures("backoffs")
@pytest.mark.parametrize("error", [StreamRefused("no"), StoreDenied("no"), StoreBroken("no")], ids=repr)
async def test_what_does_not_pass_ends_the_wait_at_once(error: Exception) -> None:
    probe = Probe(error, 8)
    with pytest.raises(type(error)):
        await wait_for("a server", probe, within_s=60)
    assert probe.tries == 1


async def test_no_time_to_wait_is_one_try() -> None:
    probe = Probe(ConnectionRefusedError(111, "refused"), 8)
    with pytest.raises(StartupRefused, match="a server did not answer within 0 s: ConnectionRefusedError"):
        await wait_for("a server", probe, within_s=0)
    assert probe.tries == 1


async def test_a_server_that_answers_at_once_needs_no_line_in_the_log() -> None:
    with structlog.testing.capture_logs() as logs:
        await wait_for("a server", Probe(OSError(), 0), within_s=60)
    assert logs == []
