"""A link that is lost in the middle of a write, on the event loop that the service runs on."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine

import pytest
from redis import exceptions

from saga_service.streams.connection import connect
from saga_service.streams.errors import transport_error
from saga_service.wire.transport import TransportUnavailable
from tests.support.databases import run_apart


async def _write_on_a_closed_transport(url: str) -> None:
    client = connect(url)
    try:
        connection = await client.connection_pool.get_connection()
        connection._writer.transport.abort()
        # The loop closes the handle in its next turns.
        for _ in range(5):
            await asyncio.sleep(0)
        try:
            await connection.send_packed_command(b"PING\r\n")
            await connection.read_response()
        finally:
            await client.connection_pool.release(connection)
    finally:
        await client.aclose()


def _on_uvloop(work: Coroutine[None, None, None]) -> None:
    uvloop = pytest.importorskip("uvloop", reason="there is no uvloop on Windows")
    uvloop.run(work)


def test_a_write_after_the_link_was_lost_is_an_outage_on_uvloop_too(redis_url: str) -> None:
    with pytest.raises(exceptions.ConnectionError) as lost:
        _on_uvloop(_write_on_a_closed_transport(redis_url))
    assert isinstance(transport_error(lost.value), TransportUnavailable)


def test_a_write_after_the_link_was_lost_is_an_outage(redis_url: str) -> None:
    with pytest.raises(exceptions.ConnectionError):
        run_apart(_write_on_a_closed_transport(redis_url))
