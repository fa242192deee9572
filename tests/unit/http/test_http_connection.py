"""Connections of the HTTP server: whoever is slow to ask is let go, and whoever waits for an answer is not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from saga_service.http import http_connection
from saga_service.http.listener import Address, listening_on, serve_until

HEAD = b"POST / HTTP/1.1\r\nHost: x\r\n"
WHOLE = HEAD + b"Content-Length: 2\r\n\r\nhi"
WAITS_S = 0.2


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers nothing before the body is there, and then for longer than a request may take to come."""
    if scope["type"] == "http" and scope["path"] == "/":
        await Request(scope, receive).body()
        await asyncio.sleep(2 * WAITS_S)
    await PlainTextResponse("done")(scope, receive, send)


@pytest.fixture
async def port(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[int]:
    monkeypatch.setattr(http_connection, "REQUEST_S_MAX", WAITS_S)
    stop = asyncio.Event()
    with listening_on(Address("127.0.0.1", 0, "SAGA_HTTP_PORT")) as listening:
        serving = asyncio.create_task(serve_until(stop, application, listening, 1))
        yield listening.getsockname()[1]
        stop.set()
        await serving


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        HEAD,
        HEAD + b"Content-Length: 5\r\n\r\nhi",
        b"POST /early HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhi",
    ],
    ids=["nothing", "a part of the head", "a part of the body", "a part of a body that nobody reads"],
)
async def test_whoever_does_not_ask_in_time_is_let_go(port: int, sent: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(sent)
    async with asyncio.timeout(5):
        try:
            told = await reader.read()
        except ConnectionResetError:
            told = b""
    assert (b"done" in told) is (b"early" in sent)
    writer.close()


async def test_whoever_asks_drop_by_drop_is_let_go_too(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)

    writer.write(HEAD)
    async with asyncio.timeout(5):
        while not reader.at_eof() and reader.exception() is None:
            writer.write(b"X: y\r\n")
            await asyncio.sleep(WAITS_S / 10)
    writer.close()


async def test_an_answer_takes_as_long_as_it_takes_also_the_second_one_of_a_connection(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for requests in (1, 2):
        writer.write(WHOLE * requests)
        for _ in range(requests):
            async with asyncio.timeout(5):
                assert await reader.readuntil(b"done")
    writer.close()
