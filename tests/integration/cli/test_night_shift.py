"""What a person does at night with a saga that is stuck, command by command, on a service that runs."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from saga_service.app import serve
from saga_service.settings import Settings
from saga_service.worker import Rejected, Worker, WorkerOptions, run_workers
from tests.support.command_line import run_process
from tests.support.waiting import eventually

ORDER = """
name: order
key: order_id
input: {type: object, properties: {order_id: {type: string}}, required: [order_id]}
steps:
  - {name: reserve, action: shop.reserve, compensation: shop.release}
  - {name: charge, action: shop.charge, compensation: shop.refund}
  - {name: ship, action: shop.ship}
"""

shop = Worker("shop")


@shop.handler("shop.reserve")
async def reserve(command: dict[str, Any]) -> None:  # Any: JSON
    pass


@shop.handler("shop.release")
async def release(command: dict[str, Any]) -> None:
    pass


@shop.handler("shop.charge")
async def charge(command: dict[str, Any]) -> None:
    pass


@shop.handler("shop.refund")
async def refund(command: dict[str, Any]) -> None:
    raise Rejected("no_account", "the account was closed")


@shop.handler("shop.ship")
async def ship(command: dict[str, Any]) -> None:
    raise Rejected("no_truck", "no truck left")


@pytest.fixture
async def running_shop(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, postgres_dsn: str, redis_url: str
) -> AsyncIterator[None]:
    """The service and its workers, up until the end of the test."""
    (tmp_path / "order.yaml").write_text(ORDER)
    monkeypatch.chdir(tmp_path)
    for name, value in {"POSTGRES_DSN": postgres_dsn, "REDIS_URL": redis_url, "DEFINITIONS": "order.yaml"}.items():
        monkeypatch.setenv(f"SAGA_{name}", value)
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(serve(Settings(read_block_ms=50), stop))
        group.create_task(run_workers([shop], WorkerOptions(redis_url=redis_url, read_block_ms=50), stop=stop))
        yield
        stop.set()


@pytest.mark.usefixtures("running_shop")
async def test_the_command_that_show_prints_sets_a_stuck_saga_going_again() -> None:
    started = await run_process("start", "order", "-f", "order_id=A-17", "--wait", "--timeout", "30")
    shown = await run_process("show", "A-17")

    assert started.exit_code == 6
    [printed] = [shlex.split(line) for line in shown.lines if "--as compensated" in line]
    assert printed[:3] == ["saga-service", "resolve", "A-17"]
    resolved = await run_process(*printed[1:])
    assert (resolved.exit_code, resolved.err) == (0, "")

    async def undone() -> bool:
        listed = await run_process("list", "--status", "compensated", "--json")
        return [row["key"] for row in listed.json] == ["A-17"]

    await eventually(undone, what="the saga to be compensated")
    debt = (await run_process("show", "A-17", "--json")).json["debt"]
    assert debt == []


@pytest.mark.usefixtures("running_shop")
async def test_an_entry_that_nobody_can_use_is_found_replayed_and_dropped(redis_url: str) -> None:
    with Redis.from_url(redis_url) as client:
        client.xadd("saga:events", {"type": "ordre", "data": "{}"})

    async def letters() -> list[dict[str, Any]]:
        listed = await run_process("dead-letters", "list", "--json")
        return list(listed.json)

    [letter] = await eventually(letters, what="the dead letter")
    assert "no saga is started by an event of type 'ordre'" in letter["reason"]

    await run_process("dead-letters", "replay", str(letter["id"]))
    [again] = await eventually(letters, what="the dead letter of the replayed entry")
    assert again["entry_id"] != letter["entry_id"]
    assert again["fields"] == letter["fields"]

    await run_process("dead-letters", "drop", str(again["id"]))
    assert await letters() == []
