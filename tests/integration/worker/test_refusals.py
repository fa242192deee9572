"""A worker that Redis refuses ends with one line that has the address and no secret; one that can wait waits."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from redis.asyncio import Redis

from saga_service.local.servers.redis import EmbeddedRedis
from saga_service.worker import Worker, WorkerCannotStart, WorkerOptions, run_workers


def payment() -> Worker:
    worker = Worker("payment")

    @worker.handler("payment.charge")
    async def charge(data: dict[str, Any]) -> None: ...

    return worker


async def refusal_of(url: str) -> str:
    with pytest.raises(WorkerCannotStart) as refusal:
        async with asyncio.timeout(20):
            await run_workers([payment()], WorkerOptions(redis_url=url), stop=asyncio.Event())
    text = str(refusal.value)
    assert "\n" not in text
    assert "hush" not in text
    return text


async def test_a_wrong_password_ends_the_worker_with_one_line(own_client: Redis, own_redis: EmbeddedRedis) -> None:
    await own_client.execute_command("ACL", "SETUSER", "payment", "on", ">right", "~*", "&*", "+@all")
    address = own_redis.url.removeprefix("redis://")
    text = await refusal_of(f"redis://payment:hush@{address}")
    assert f"redis at redis://payment:***@{address} refuses us" in text
    assert "check user and password" in text


async def test_a_user_without_rights_on_scripts_ends_the_worker_with_one_line(
    own_client: Redis, own_redis: EmbeddedRedis
) -> None:
    await own_client.execute_command("ACL", "SETUSER", "payment", "on", ">hush", "~*", "&*", "+@all", "-@scripting")
    text = await refusal_of(f"redis://payment:hush@{own_redis.url.removeprefix('redis://')}")
    assert "refuses: " in text
    assert "evalsha" in text.lower()


async def test_one_worker_in_the_place_of_a_list_is_told_what_to_write() -> None:
    with pytest.raises(ValueError, match=r"write run_workers\(\[worker\]\)"):
        await run_workers(payment(), stop=asyncio.Event())  # type: ignore[arg-type]  # what authors do


def test_the_options_do_not_show_the_password() -> None:
    assert "hush" not in repr(WorkerOptions(redis_url="redis://:hush@localhost"))
