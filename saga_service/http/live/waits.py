"""Waits of requests for what a replica does: all of them are served by the looks of the one reader."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from typing import Any

from saga_service.admin.changes import EntryPlace, LetterOfEntry
from saga_service.http.live.reader import LiveReader
from saga_service.http.live.saga_followers import SagaWaiter
from saga_service.store.requests import Result


async def until_at_rest(
    reader: LiveReader, saga_id: str, timeout_s: float, entry: EntryPlace | None = None
) -> LetterOfEntry | None:
    """Wait until the saga has ended or is stuck, for `timeout_s` at most; also one that is not there yet.

    Returns the dead letter that `entry` became, which was to start the saga; None where it became none.
    """
    at_rest: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    with ExitStack() as stack:
        stack.enter_context(reader.telling(SagaWaiter(saga_id, at_rest)))
        if entry is None:
            await _first_of(reader, at_rest, timeout_s=timeout_s)
            return None
        letter = stack.enter_context(reader.letters.of(entry))
        await _first_of(reader, at_rest, letter, timeout_s=timeout_s)
        return letter.result() if letter.done() else None


async def answer_to(reader: LiveReader, request_id: int, timeout_s: float) -> Result | None:
    """The answer to a request; None where there is none within `timeout_s`."""
    with reader.answers.of(request_id) as answer:
        reader.wake()
        await _first_of(reader, answer, timeout_s=timeout_s)
        return answer.result() if answer.done() else None


async def _first_of(reader: LiveReader, *awaited: asyncio.Future[Any], timeout_s: float) -> None:  # Any: whatever comes
    """Wait for one of them, for the end of the process, or for the time."""
    ended = asyncio.ensure_future(reader.ended.wait())
    try:
        await asyncio.wait((*awaited, ended), timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
    finally:
        ended.cancel()
