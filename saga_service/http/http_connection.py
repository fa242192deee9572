"""One connection of the HTTP server, which ends unless requests come whole in time.

The server itself waits without an end for whoever has connected: some thousand connections that say nothing would take
every file that the process may open, and no token is needed for that.
"""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

REQUEST_S_MAX = 30.0
"""How long a request may take to come, with its body: from the connection, or from the answer before."""


class HttpConnection(H11Protocol):
    """A connection of HTTP/1.1. An answer takes as long as it takes."""

    _overdue: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # uvicorn has it so too
        super().connection_made(transport)
        self._await_request()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def handle_events(self) -> None:
        super().handle_events()
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is not None and not cycle.more_body and not cycle.response_complete:
            self._stop_waiting()

    def on_response_complete(self) -> None:
        # Another request may be there already, which the server takes up now.
        self._await_request()
        super().on_response_complete()

    def _await_request(self) -> None:
        self._stop_waiting()
        self._overdue = self.loop.call_later(REQUEST_S_MAX, self.transport.abort)

    def _stop_waiting(self) -> None:
        if self._overdue is not None:
            self._overdue.cancel()
            self._overdue = None
