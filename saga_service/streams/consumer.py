"""One consumer of one group on one stream: what it is given, what it owes, and what it takes over.

What it hands out stays *outstanding* until it is settled. After a start or a failed read the entries may be in our
pending list without our knowing, so the next read drains that list first, passing over what is outstanding.

When the stream is lost and made anew, an entry of the new stream may have the id of one that is still in our hands.
The ids in hand are then *of the old stream*: each is acknowledged once in vain, and never in the new one's name.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from saga_service.streams import scripts
from saga_service.streams.connection import RedisClient
from saga_service.streams.errors import translated
from saga_service.streams.pipeline import Command, acknowledge
from saga_service.wire.entries import ORIGINAL, Entry, entry_of
from saga_service.wire.transport import StreamLost, StreamRefused

_BEGINNING = "0-0"
_NO_ENTRY = "0-1"
"""An id that no entry has by now."""
PENDING_PAGE_ENTRIES_MAX = 500
HANDED_BACK_IDLE_MS = 7 * 24 * 3_600_000
"""How idle an entry looks that was handed back: longer than any reclaim waits."""


class Consumer:
    """`reading` is the client whose connection a blocking read holds; `acting` is the client for everything else.

    All methods that ask Redis raise TransportUnavailable, StreamLost and StreamRefused.
    """

    def __init__(self, reading: RedisClient, acting: RedisClient, stream: str, group: str, name: str) -> None:
        self.stream = stream
        self.group = group
        self.name = name
        self.outstanding: set[str] = set()
        self._of_old_stream: set[str] = set()
        self._reading = reading
        self._acting = acting
        self._drained_up_to: str | None = _BEGINNING
        self._reclaim_cursor = _BEGINNING

    async def has_group(self) -> bool:
        """Whether the group is there."""
        try:
            groups = await self._of_stream("XINFO", "GROUPS", self.stream)
        except StreamLost:
            return False
        if any(self.group.encode() in facts for facts in groups):
            return True
        self._begin_new_stream()
        return False

    async def ensure_group(self) -> bool:
        """Make the group where it is missing; true if it was made here.

        A new group begins at the oldest entry: nothing that was added is passed over.
        """
        try:
            with translated():
                await self._ask("XGROUP", "CREATE", self.stream, self.group, "0", "MKSTREAM")
        except StreamRefused as error:
            if "BUSYGROUP" in str(error):
                return False
            raise
        self._begin_new_stream()
        return True

    async def check_rights(self) -> None:
        """Find out whether Redis lets us do what a consumer does, scripts included. Changes nothing.

        Raises StreamRefused where it does not.
        """
        await scripts.renew(self._acting, self.stream, self.group, self.name, [_NO_ENTRY])
        await self._of_stream(*acknowledge(self.stream, self.group, [_NO_ENTRY]))

    async def read(self, count_max: int, block_ms: int) -> list[Entry]:
        """Entries that are ours to handle: first our own pending ones, then new ones, waiting `block_ms` for them."""
        try:
            if self._drained_up_to is not None:
                pending = await self._read_own_pending(count_max)
                if pending or self._drained_up_to is not None:
                    return pending
            return self._hand_out(await self._read_group(self._reading, ">", count_max, block_ms))
        except BaseException:
            # Cancelled or failed: Redis may have given us entries that never arrived.
            self._drained_up_to = _BEGINNING
            raise

    async def reclaim(self, count_max: int, min_idle_ms: int) -> list[Entry]:
        """Entries whose consumer has not touched them for `min_idle_ms`; they are ours now.

        The cursor is kept from call to call, so that a long list of live entries does not hide a dead one behind it.
        """
        held = frozenset(self.outstanding)
        cursor, count = self._reclaim_cursor, ("COUNT", count_max)
        reply = await self._of_stream("XAUTOCLAIM", self.stream, self.group, self.name, min_idle_ms, cursor, *count)
        self._reclaim_cursor = reply[0].decode()
        present = [row for row in reply[1] if row is not None]
        if len(present) < len(reply[1]):
            await self._acknowledge_deleted()
        return self._hand_out(await self._without_deleted(present), held)

    @property
    def reclaim_is_through(self) -> bool:
        """True where the last reclaim reached the end of the pending list."""
        return self._reclaim_cursor == _BEGINNING

    def acknowledgement(self, entry_ids: Sequence[str]) -> Command | None:
        """The XACK for handled entries, to go into a pipeline; None where all are of a stream that is gone.

        Entries are settled once the command has gone through.
        """
        present, of_old_stream = [], set(self._of_old_stream)
        for entry_id in entry_ids:
            # The id of an entry of each stream may be here twice.
            if entry_id in of_old_stream:
                of_old_stream.discard(entry_id)
            else:
                present.append(entry_id)
        return acknowledge(self.stream, self.group, present) if present else None

    async def acknowledge(self, entry_ids: Sequence[str]) -> None:
        """Acknowledge and settle."""
        if command := self.acknowledgement(entry_ids):
            await self._of_stream(*command)
        self.settle(entry_ids)

    def settle(self, entry_ids: Iterable[str]) -> None:
        """Let go of entries that were acknowledged, or that are no longer our concern."""
        for entry_id in entry_ids:
            if entry_id in self._of_old_stream:
                self._of_old_stream.discard(entry_id)
            else:
                self.outstanding.discard(entry_id)

    async def renew(self, entry_ids: Sequence[str]) -> int:
        """Restart the idle time of those that are still ours; how many were."""
        if not entry_ids:
            return 0
        try:
            return await scripts.renew(self._acting, self.stream, self.group, self.name, entry_ids)
        except StreamLost:
            return 0

    async def hand_back(self, entry_ids: Sequence[str]) -> int:
        """Let another consumer's reclaim take these at once; how many were still ours."""
        self.settle(entry_ids)
        if not entry_ids:
            return 0
        idle_ms = HANDED_BACK_IDLE_MS
        try:
            return await scripts.hand_back(self._acting, self.stream, self.group, self.name, idle_ms, entry_ids)
        except StreamLost:
            return 0

    async def pass_on(self, entry: Entry) -> bool:
        """Move an entry to the end of the stream, where any consumer of the group is given it as new.

        An original that was given out more than once is moved as a copy. False where the entry was not ours any more.
        """
        flat = [part for pair in entry.pairs() for part in pair]
        moved = await scripts.pass_on(self._acting, self.stream, self.group, self.name, entry.id, ORIGINAL, flat)
        self.settle([entry.id])
        return moved == 1

    async def hand_back_all(self) -> int:
        """Hand back all that is pending for this consumer; how many entries that was.

        That may be more than what is known to be in hand: a read that was cut short may have been given entries that
        never arrived.
        """
        handed_back, after = 0, "-"
        page = PENDING_PAGE_ENTRIES_MAX
        while rows := await self._of_stream("XPENDING", self.stream, self.group, after, "+", page, self.name):
            entry_ids = [row[0].decode() for row in rows]
            handed_back += await self.hand_back(entry_ids)
            after = f"({entry_ids[-1]}"
        return handed_back

    async def leave(self) -> None:
        """Hand back all that is pending, and remove this consumer from the group if nothing is."""
        try:
            await self.hand_back_all()
            await scripts.remove_idle_consumers(self._acting, self.stream, self.group, 0, self.name)
        except StreamLost:
            return

    async def remove_dead_consumers(self, idle_ms: int) -> int:
        """Remove consumers that were idle for so long and have nothing pending; how many."""
        try:
            return await scripts.remove_idle_consumers(self._acting, self.stream, self.group, idle_ms)
        except StreamLost:
            return 0

    async def _read_own_pending(self, count_max: int) -> list[Entry]:
        after = self._drained_up_to or _BEGINNING
        held = frozenset(self.outstanding)
        rows = await self._read_group(self._reading, after, count_max, None)
        self._drained_up_to = rows[-1][0].decode() if rows else None
        mine = [row for row in rows if row[0].decode() not in self.outstanding]
        return self._hand_out(await self._without_deleted(mine), held)

    async def _without_deleted(self, rows: list[Any]) -> list[Any]:
        """Entries that were deleted from the stream while pending have no fields: nothing is left to do for them."""
        await self.acknowledge([row[0].decode() for row in rows if not row[1]])
        return [row for row in rows if row[1]]

    async def _acknowledge_deleted(self) -> None:
        """Redis 6.2 claims deleted entries too and does not say which: our own pending list, read again, does."""
        after = _BEGINNING
        while rows := await self._read_group(self._acting, after, PENDING_PAGE_ENTRIES_MAX, None):
            await self._without_deleted(rows)
            after = rows[-1][0].decode()

    async def _read_group(self, client: RedisClient, after: str, count_max: int, block_ms: int | None) -> list[Any]:
        blocking = () if block_ms is None else ("BLOCK", block_ms)
        consumer = ("GROUP", self.group, self.name)
        words = ("XREADGROUP", *consumer, "COUNT", count_max, *blocking, "STREAMS", self.stream, after)
        reply = await self._of_stream(*words, client=client)
        return reply[0][1] if reply else []

    def _hand_out(self, rows: Iterable[Any], held: Collection[str] | None = None) -> list[Entry]:
        """`held` was outstanding when Redis was asked: what of it is settled by now was handled, and comes too late.
        None for what is new to everybody."""
        entries, is_new = [], held is None
        for entry_id, flat in rows:
            identity = entry_id.decode()
            if is_new and identity in self.outstanding:
                # A group gives an id out as new once: so this stream was made anew unnoticed.
                self._of_old_stream.add(identity)
            elif identity in self.outstanding or (held and identity in held):
                continue
            self.outstanding.add(identity)
            entries.append(entry_of(self.stream, identity, flat, was_delivered_before=not is_new))
        return entries

    def _begin_new_stream(self) -> None:
        """What we hold is of a stream that is gone: an entry of the new one may well have the same id."""
        self._of_old_stream |= self.outstanding
        self.outstanding.clear()

    async def _of_stream(self, *words: str | bytes | int, client: RedisClient | None = None) -> Any:
        """The raw reply. A loss ends this stream for us, also where another replica makes the group anew."""
        try:
            with translated():
                return await self._ask(*words, client=client)
        except StreamLost:
            self._begin_new_stream()
            raise

    async def _ask(self, *words: str | bytes | int, client: RedisClient | None = None) -> Any:
        return await (client or self._acting).execute_command(*words)
