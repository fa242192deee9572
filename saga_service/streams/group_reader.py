"""One consumer of one group on one stream.

What it hands out stays *outstanding* until it is settled. After a start or a failed read the entries may be in our
pending list without our knowing, so the next read drains that list first, passing over what is outstanding.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

from saga_service.base.tasks import heeding_cancellation
from saga_service.streams import scripts
from saga_service.streams.faults import is_no_group
from saga_service.wire.entries import Entry, entry_of

_BEGINNING = "0-0"
OWN_PENDING_PAGE = 500
HANDED_BACK_IDLE_MS = 7 * 24 * 3_600_000
"""How idle a handed-back entry looks: longer than any reclaim waits."""


class GroupReader:
    def __init__(self, client: Redis, stream: str, group: str, consumer: str) -> None:
        self.stream = stream
        self.group = group
        self.consumer = consumer
        self.outstanding: set[str] = set()
        self._client = client
        self._drained_up_to: str | None = _BEGINNING
        self._reclaim_cursor = _BEGINNING

    async def ensure_group(self) -> bool:
        """Whether the group had to be made. It begins at the oldest entry: nothing that was added is passed over."""
        try:
            await self._execute("XGROUP", "CREATE", self.stream, self.group, "0", "MKSTREAM")
        except ResponseError as error:
            if str(error).startswith("BUSYGROUP"):
                return False
            raise
        # What we hold is of a stream that is gone: an entry of the new one may well have the same id.
        self.outstanding.clear()
        return True

    async def read(self, count_max: int, block_ms: int) -> list[Entry]:
        """Entries that are ours to handle: first our own pending ones, then new ones.

        Raises whatever the client raises; `is_no_group` tells a vanished group.
        """
        try:
            if self._drained_up_to is not None:
                pending = await self._read_own_pending(count_max)
                if pending or self._drained_up_to is not None:
                    return pending
            return self._hand_out(await self._xreadgroup(">", count_max, block_ms))
        except BaseException:
            # Cancelled or failed: Redis may have given us entries that never arrived.
            self._drained_up_to = _BEGINNING
            raise

    async def reclaim(self, count_max: int, min_idle_ms: int) -> list[Entry]:
        """Entries whose consumer has not touched them for `min_idle_ms`; they are ours now.

        The cursor is kept from call to call, so that a long list of live entries does not hide a dead one behind it.
        """
        held = frozenset(self.outstanding)
        reply = await self._execute(
            "XAUTOCLAIM", self.stream, self.group, self.consumer, min_idle_ms, self._reclaim_cursor, "COUNT", count_max
        )
        self._reclaim_cursor = reply[0].decode()
        present = [row for row in reply[1] if row is not None]
        if len(present) < len(reply[1]):
            await self._acknowledge_deleted()
        return self._hand_out(await self._without_deleted(present), held)

    def reclaim_is_through(self) -> bool:
        """Whether the last reclaim reached the end of the list."""
        return self._reclaim_cursor == _BEGINNING

    def settle(self, entry_ids: Iterable[str]) -> None:
        """These were acknowledged, or are no longer our concern."""
        self.outstanding.difference_update(entry_ids)

    async def acknowledge(self, entry_ids: Sequence[str]) -> None:
        if entry_ids:
            await self._execute("XACK", self.stream, self.group, *entry_ids)
            self.settle(entry_ids)

    async def renew(self, entry_ids: Sequence[str]) -> int:
        """Restart the idle time of those that are still ours; how many were."""
        return await self._script(scripts.RENEW, self.consumer, *entry_ids) if entry_ids else 0

    async def hand_back(self, entry_ids: Sequence[str]) -> int:
        """Let another consumer's reclaim take these at once; how many were still ours."""
        self.settle(entry_ids)
        if not entry_ids:
            return 0
        return await self._script(scripts.HAND_BACK, self.consumer, HANDED_BACK_IDLE_MS, *entry_ids)

    async def leave(self) -> None:
        """Remove this consumer from the group, unless something is pending for it."""
        await self._script(scripts.REMOVE_IDLE_CONSUMERS, 0, self.consumer)

    async def remove_dead_consumers(self, idle_ms: int) -> int:
        """Remove consumers that were idle for so long and have nothing pending; how many."""
        return await self._script(scripts.REMOVE_IDLE_CONSUMERS, idle_ms, "")

    async def _read_own_pending(self, count_max: int) -> list[Entry]:
        after = self._drained_up_to or _BEGINNING
        held = frozenset(self.outstanding)
        rows = await self._xreadgroup(after, count_max, None)
        self._drained_up_to = rows[-1][0].decode() if rows else None
        mine = [row for row in rows if row[0].decode() not in self.outstanding]
        return self._hand_out(await self._without_deleted(mine), held)

    async def _without_deleted(self, rows: list[Any]) -> list[Any]:
        """Entries that were deleted from the stream while pending have no fields: nothing is left to do for them."""
        deleted = [row[0].decode() for row in rows if not row[1]]
        if deleted:
            await self.acknowledge(deleted)
        return [row for row in rows if row[1]]

    async def _acknowledge_deleted(self) -> None:
        """Redis 6.2 claims deleted entries too and does not say which: our own pending list, read again, does."""
        after = _BEGINNING
        while rows := await self._xreadgroup(after, OWN_PENDING_PAGE, None):
            await self._without_deleted(rows)
            after = rows[-1][0].decode()

    async def _xreadgroup(self, after: str, count_max: int, block_ms: int | None) -> list[Any]:
        blocking = () if block_ms is None else ("BLOCK", block_ms)
        consumer = ("GROUP", self.group, self.consumer)
        reply = await self._execute(
            "XREADGROUP", *consumer, "COUNT", count_max, *blocking, "STREAMS", self.stream, after
        )
        return reply[0][1] if reply else []

    def _hand_out(self, rows: Iterable[Any], held: Collection[str] | None = None) -> list[Entry]:
        """`held` was outstanding when Redis was asked: what of it is settled by now was handled, and comes too late.
        None for what is new to everybody."""
        entries, is_new = [], held is None
        held = held or ()
        for entry_id, flat in rows:
            identity = entry_id.decode()
            if identity not in self.outstanding and identity not in held:
                self.outstanding.add(identity)
                entries.append(entry_of(self.stream, identity, flat, was_delivered_before=not is_new))
        return entries

    async def _script(self, script: str, *arguments: str | int) -> int:
        try:
            return int(await self._execute("EVAL", script, 1, self.stream, self.group, *arguments))
        except RedisError as error:
            if is_no_group(error) or "no such key" in str(error):
                return 0
            raise

    async def _execute(self, *words: str | int) -> Any:
        with heeding_cancellation():
            return await self._client.execute_command(*words)
