"""Clients of Redis: what the library gets wrong is put right for everybody who asks by one."""

from __future__ import annotations

import asyncio

import pytest
from redis.asyncio import Redis

from saga_service.streams.connection import connect
from saga_service.streams.process_registry import ProcessRegistry
from saga_service.wire.transport import StreamNames


async def test_a_cancellation_that_the_library_loses_ends_whoever_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a service that has to end would wait for the loop that asked."""
    asked = asyncio.Event()

    async def loses_it(*_: object, **__: object) -> list[bytes]:
        asked.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return [b"1", b"0"]
        raise AssertionError

    monkeypatch.setattr(Redis, "execute_command", loses_it)
    client = connect("redis://127.0.0.1:1/0")
    asking = asyncio.create_task(ProcessRegistry(client, StreamNames()).names())
    await asked.wait()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    await client.aclose()
