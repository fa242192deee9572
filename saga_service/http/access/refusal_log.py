"""Who was refused what: a line in the log, and a row of `saga.refusals` for people.

Refusals that are alike are gathered for some seconds and written together, a bounded number of each sort: a flood of
bad tokens costs a row and two lines in these, whatever its size. While Postgres is away they wait here, as many and no
more.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from http import HTTPStatus

import structlog
from fastapi import Request

from saga_service.admin.failure_kinds import Failure
from saga_service.store.http_access import Refusal

log = structlog.get_logger(__name__)

WRITE_EVERY_S = 5.0
GATHERED_MAX = 50
"""The refusals of one sort, those of known callers or of others, that are told apart before they are written."""
TEXT_CHARACTERS_MAX = 200
STATUSES = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.MISDIRECTED_REQUEST)
MORE = "and more, which are not told apart"


Key = tuple[object, ...]
Write = Callable[[list[tuple[Refusal, int]]], Awaitable[None]]
"""Keeps refusals, each with how often it came. Raises Failure where it cannot."""


class RefusalLog:
    """Gathers refusals, and hands them on."""

    def __init__(self) -> None:
        self._gathered: dict[Key, Refusal] = {}
        self._times: Counter[Key] = Counter()

    def note(self, request: Request, status: int, detail: str, caller: str | None) -> None:
        """Note that this request was refused, unless it was for another reason than who asks."""
        if status not in STATUSES:
            return
        refusal = Refusal(
            status,
            caller,
            "" if request.client is None else request.client.host,
            request.method,
            _shortened(request.url.path),
            _shortened(detail),
        )
        self._gather(refusal)

    def _gather(self, refusal: Refusal) -> None:
        # Whoever is not known may ask for anything, and is one and the same by the address.
        key: Key = (refusal.address, refusal.detail) if refusal.caller is None else tuple(refusal)
        if key not in self._gathered:
            key, refusal = self._key_with_room(key, refusal)
        if key not in self._gathered:
            self._gathered[key] = refusal
            log.warning("refused", **refusal._asdict())
        self._times[key] += 1

    def _key_with_room(self, key: Key, refusal: Refusal) -> tuple[Key, Refusal]:
        is_known = refusal.caller is not None
        alike = sum((each.caller is not None) == is_known for each in self._gathered.values())
        if alike < GATHERED_MAX:
            return key, refusal
        return (is_known, MORE), Refusal(refusal.status, "(several)" if is_known else None, "", "", "", MORE)

    async def write_by(self, write: Write) -> None:
        """Write what was gathered, every few seconds, for ever."""
        while True:
            await asyncio.sleep(WRITE_EVERY_S)
            await self.flush(write)

    async def flush(self, write: Write) -> None:
        """Write what was gathered. What cannot be written stays for the next time."""
        if not self._gathered:
            return
        gathered, times = self._gathered, self._times
        self._gathered, self._times = {}, Counter()
        try:
            await write([(refusal, times[key]) for key, refusal in gathered.items()])
        except Failure as failure:
            log.warning("refusals cannot be written now, and wait", error=str(failure), refusals=len(gathered))
            self._gathered = gathered | self._gathered
            self._times += times
            return
        for key, refusal in gathered.items():
            if times[key] > 1:
                log.warning("refused again", **refusal._asdict(), times=times[key])


def _shortened(text: str) -> str:
    return "".join(filter(str.isprintable, text))[:TEXT_CHARACTERS_MAX]
