"""Lua on a real server: run by its digest, and sent again where the server does not know it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from importlib import resources

import pytest
from redis.asyncio import Redis

from saga_service.streams import scripts
from saga_service.wire.transport import StreamLost

STREAM, GROUP = "saga:events", "g"


async def _make_group(client: Redis) -> None:
    await client.execute_command("XGROUP", "CREATE", STREAM, GROUP, "0", "MKSTREAM")


async def test_a_server_that_does_not_know_a_script_is_sent_it(client: Redis) -> None:
    await _make_group(client)
    await client.execute_command("SCRIPT", "FLUSH")
    assert await scripts.renew(client, STREAM, GROUP, "me", ["1-0"]) == 0


async def test_a_script_that_the_server_knows_is_run_by_its_digest(
    client: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    await _make_group(client)
    await scripts.renew(client, STREAM, GROUP, "me", ["1-0"])
    asked: list[object] = []
    execute: Callable[..., Awaitable[object]] = client.execute_command

    async def listened(*words: object) -> object:
        asked.append(words[0])
        return await execute(*words)

    monkeypatch.setattr(client, "execute_command", listened)
    await scripts.renew(client, STREAM, GROUP, "me", ["1-0"])
    assert asked == ["EVALSHA"]


async def test_a_script_on_a_group_that_has_vanished_tells_of_a_loss(client: Redis) -> None:
    with pytest.raises(StreamLost):
        await scripts.remove_idle_consumers(client, STREAM, GROUP, 0)


@pytest.mark.parametrize(("deliveries", "is_kept"), [(1, True), (2, False), (3, False)])
async def test_an_original_that_was_given_out_again_is_passed_on_as_a_copy(
    client: Redis, deliveries: int, *, is_kept: bool
) -> None:
    await _make_group(client)
    entry_id = await client.execute_command("XADD", STREAM, "*", "id", "1", "original", "r", "data", "{}")
    await client.execute_command("XREADGROUP", "GROUP", GROUP, "other", "STREAMS", STREAM, ">")
    await client.execute_command("XCLAIM", STREAM, GROUP, "me", 0, entry_id, "RETRYCOUNT", deliveries)
    flat = [b"id", b"1", b"original", b"r", b"data", b"{}"]
    assert await scripts.pass_on(client, STREAM, GROUP, "me", entry_id, "original", flat) == 1
    [_, (_, fields)] = await client.execute_command("XRANGE", STREAM, "-", "+")
    assert fields == [b"id", b"1", *([b"original", b"r"] if is_kept else []), b"data", b"{}"]
    assert await scripts.pass_on(client, STREAM, GROUP, "me", entry_id, "original", flat) == 0


def test_every_script_has_a_function_of_its_name_that_names_it() -> None:
    files = [each.name for each in resources.files(scripts).iterdir() if each.name.endswith(".lua")]
    for name in files:
        assert f"`{name}`" in (getattr(scripts, name.removesuffix(".lua")).__doc__ or "")
    assert len(files) == 6
