"""Handing back at a stop what was not carried out.

That is more than what is known to be in hand: a read that the stop cut short may have been given entries that never
arrived. So Redis is asked what is pending for this consumer.
"""

from __future__ import annotations

from redis.asyncio import Redis

from saga_service.streams.group_reader import GroupReader

PAGE_ENTRIES_MAX = 1_000


async def hand_back_all(client: Redis, reader: GroupReader) -> int:
    """Let others take over, at once, all that is pending for this consumer; how many entries that was.

    Raises whatever the client raises.
    """
    handed_back, after = 0, "-"
    while True:
        rows = await client.execute_command(
            "XPENDING", reader.stream, reader.group, after, "+", PAGE_ENTRIES_MAX, reader.consumer
        )
        entry_ids = [row[0].decode() for row in rows]
        if not entry_ids:
            return handed_back
        handed_back += await reader.hand_back(entry_ids)
        after = f"({entry_ids[-1]}"
