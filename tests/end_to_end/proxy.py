"""A link between a process and its server that can be watched, closed, or cut at the worst of moments."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from urllib.parse import parse_qs, unquote, urlsplit

HOST = "127.0.0.1"
CHUNK_BYTES = 65_536


@dataclass(slots=True)
class Cut:
    """The link is cut instead of passing on the first answer that has `answer` in it, after a request with `request`.

    The server has done what was asked for, and whoever asked never hears of it.
    """

    request: bytes
    answer: bytes
    times: int = 1
    done: int = 0


class Proxy:
    def __init__(self, upstream: str | tuple[str, int]) -> None:
        """`upstream` is the path of a unix socket, or a host and a port."""
        self.requests = 0
        self.cut: Cut | None = None
        self.port = 0
        self._upstream = upstream
        self._server: asyncio.Server | None = None
        self._links: set[asyncio.Task[None]] = set()
        self._flows = asyncio.Event()
        self._flows.set()

    def stall(self) -> None:
        """Pass on nothing more, and close nothing: nobody can tell this from a slow server."""
        self._flows.clear()

    def flow(self) -> None:
        self._flows.set()

    async def open(self) -> None:
        """Begin to listen: on any free port the first time, and on the same one again."""
        self._server = await asyncio.start_server(self._accept, HOST, self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Refuse new links and end the old ones."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for link in list(self._links):
            link.cancel()
        await asyncio.gather(*self._links, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # A task of our own: the one that asyncio makes for us complains when it is cancelled.
        link = asyncio.create_task(self._link(reader, writer))
        self._links.add(link)
        link.add_done_callback(self._links.discard)

    async def _link(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with _closing(writer):
            try:
                server_reader, server_writer = await self._connect()
            except OSError:
                return
            async with _closing(server_writer):
                asked = bytearray()
                there = asyncio.create_task(self._pass_requests(reader, server_writer, asked))
                back = asyncio.create_task(self._pass_answers(server_reader, writer, asked))
                try:
                    await asyncio.wait((there, back), return_when=asyncio.FIRST_COMPLETED)
                finally:
                    there.cancel()
                    back.cancel()
                    await asyncio.gather(there, back, return_exceptions=True)

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if isinstance(self._upstream, str):
            return await asyncio.open_unix_connection(self._upstream)
        return await asyncio.open_connection(*self._upstream)

    async def _pass_requests(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, asked: bytearray
    ) -> None:
        while chunk := await reader.read(CHUNK_BYTES):
            self.requests += 1
            if self.cut is not None:
                asked += chunk
            await self._flows.wait()
            writer.write(chunk)
            await writer.drain()

    async def _pass_answers(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, asked: bytearray) -> None:
        while chunk := await reader.read(CHUNK_BYTES):
            if self._is_to_be_cut(asked, chunk):
                return
            await self._flows.wait()
            writer.write(chunk)
            await writer.drain()

    def _is_to_be_cut(self, asked: bytearray, chunk: bytes) -> bool:
        cut = self.cut
        if cut is None or cut.done >= cut.times or cut.request not in asked or cut.answer not in chunk:
            return False
        cut.done += 1
        return True


@contextlib.asynccontextmanager
async def _closing(writer: asyncio.StreamWriter) -> AsyncIterator[None]:
    try:
        yield
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


@contextlib.asynccontextmanager
async def postgres_proxy(dsn: str) -> AsyncIterator[tuple[Proxy, str]]:
    """A proxy before this Postgres, and the address that goes through it."""
    parts = urlsplit(dsn)
    socket_folder = parse_qs(parts.query).get("host", [""])[0]
    port = parts.port or 5432
    upstream = f"{socket_folder}/.s.PGSQL.{port}" if socket_folder else (unquote(parts.hostname or HOST), port)
    password = f":{parts.password}" if parts.password else ""
    async with _opened(Proxy(upstream)) as proxy:
        yield proxy, f"postgresql://{parts.username}{password}@{HOST}:{proxy.port}{parts.path}?sslmode=disable"


@contextlib.asynccontextmanager
async def redis_proxy(url: str) -> AsyncIterator[tuple[Proxy, str]]:
    """A proxy before this Redis."""
    parts = urlsplit(url)
    credentials = f":{parts.password}@" if parts.password else ""
    async with _opened(Proxy((parts.hostname or HOST, parts.port or 6379))) as proxy:
        yield proxy, f"redis://{credentials}{HOST}:{proxy.port}{parts.path}"


@contextlib.asynccontextmanager
async def _opened(proxy: Proxy) -> AsyncIterator[Proxy]:
    await proxy.open()
    try:
        yield proxy
    finally:
        await proxy.close()
