"""A reader of server-sent events, as a browser reads them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import orjson


@dataclass(frozen=True, slots=True)
class Event:
    """One event. `id` is the last id that was read, which a browser would send to go on."""

    name: str
    data: Any  # a value of JSON
    id: str


class EventReader:
    """Events of one response, with what is no event: the last id, comments, and whether the stream has ended."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self.last_id = ""
        self.comments: list[str] = []
        self._events = self._read()

    async def next(self, *names: str, within_s: float = 10.0) -> Event:
        """The next event; of those names if any are given, whatever comes before it."""
        async with asyncio.timeout(within_s):
            while True:
                event = await anext(self._events)
                if not names or event.name in names:
                    return event

    async def rest(self, within_s: float = 10.0) -> list[Event]:
        """All events until the stream ends."""
        async with asyncio.timeout(within_s):
            return [event async for event in self._events]

    async def _read(self) -> AsyncIterator[Event]:
        name, data = "message", ""
        async for line in self.response.aiter_lines():
            field, _, value = line.partition(":")
            value = value.removeprefix(" ")
            match field:
                case "" if line:
                    self.comments.append(value)
                case "event":
                    name = value
                case "data":
                    data += value
                case "id":
                    self.last_id = value
                case "":
                    if data:
                        yield Event(name, orjson.loads(data), self.last_id)
                    name, data = "message", ""


@asynccontextmanager
async def watched(address: str, path: str, **headers: str) -> AsyncIterator[EventReader]:
    """The stream of events at this path, on a connection of its own."""
    async with (
        httpx.AsyncClient(base_url=address, timeout=30) as client,
        client.stream("GET", path, headers=headers) as response,
    ):
        if response.status_code == httpx.codes.OK:
            assert response.headers["content-type"].startswith("text/event-stream"), response.headers
        yield EventReader(response)
