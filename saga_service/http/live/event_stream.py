"""A stream of server-sent events as the answer to a request."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing

import structlog
from fastapi import Request
from fastapi.responses import StreamingResponse
from starlette.types import Send

from saga_service.admin.failure_kinds import Failure
from saga_service.http.access.callers import Caller, CallersOfApplication
from saga_service.http.live.server_sent_events import DENIED, MEDIA_TYPE, reconnect_after
from saga_service.http.problem_details import ProblemRaised

log = structlog.get_logger(__name__)
HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
SEND_S_MAX = 30.0
"""How long a viewer may read nothing once more waits for it than the network holds."""
RECONNECT_MS_MIN, RECONNECT_MS_MAX = 1_000, 4_000
"""Browsers that were cut off together come back one by one."""

Permitted = Callable[[], Awaitable[bool]]


class EventStream(StreamingResponse):
    """The texts that `told` yields, as they come, until it ends or the viewer has gone.

    `is_permitted` is asked once in `check_s`, before the next text is sent, so there has to be one now and then. A
    caller who may watch no longer is told so as the last event.
    """

    media_type = MEDIA_TYPE

    def __init__(self, told: AsyncIterator[bytes], is_permitted: Permitted, check_s: float) -> None:
        super().__init__(_while_permitted(told, is_permitted, check_s), headers=HEADERS)

    async def stream_response(self, send: Send) -> None:
        """Send the texts, and end where the viewer takes none of them in."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        try:
            async for text in self.body_iterator:
                async with asyncio.timeout(SEND_S_MAX):
                    await send({"type": "http.response.body", "body": text, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        except TimeoutError:
            log.info("a viewer of events has read nothing and is cut off", seconds=SEND_S_MAX)
        finally:
            # What the texts are made of is given back now, and not when the garbage is collected.
            await self.body_iterator.aclose()  # type: ignore[attr-defined]  # a generator


async def _while_permitted(told: AsyncIterator[bytes], is_permitted: Permitted, check_s: float) -> AsyncIterator[bytes]:
    loop = asyncio.get_running_loop()
    check_at_s = loop.time() + check_s
    yield reconnect_after(random.randint(RECONNECT_MS_MIN, RECONNECT_MS_MAX))
    async with aclosing(told) as texts:  # type: ignore[type-var]  # a generator
        async for text in texts:
            if loop.time() >= check_at_s:
                if not await is_permitted():
                    yield DENIED
                    return
                check_at_s = loop.time() + check_s
            yield text


def still_permitted(request: Request, caller: Caller) -> Permitted:
    """Asks whether the caller may still watch: the token is known, and its role is not lower than at the beginning.

    The stream shows the payloads that the caller saw then.
    """

    async def is_permitted() -> bool:
        callers: CallersOfApplication = request.app.state.callers
        try:
            return (await callers.caller(request)).role.covers(caller.role)
        except (Failure, ProblemRaised):
            return False

    return is_permitted
