"""Lua scripts on one key: what has to look and act in one step. No script touches two keys, so all work on a cluster.

Each function runs the script of its name. All raise TransportError; a group that has vanished is a StreamLost.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from importlib import resources
from typing import Any

from redis.exceptions import NoScriptError

from saga_service.streams.connection import RedisClient
from saga_service.streams.errors import translated


class _Script:
    """The text of a file in this folder, run by its digest; a server that does not know it yet is sent the text."""

    def __init__(self, name: str) -> None:
        self._text = resources.files(__package__).joinpath(f"{name}.lua").read_text(encoding="utf-8")
        # The name that Redis gives a script: nothing rests on its strength.
        self._digest = hashlib.sha1(self._text.encode(), usedforsecurity=False).hexdigest()

    async def run(self, client: RedisClient, key: str, *arguments: str | bytes | int) -> int:
        return int(await self.ask(client, key, *arguments))

    async def ask(self, client: RedisClient, key: str, *arguments: str | bytes | int) -> Any:
        """The raw reply. Any: as the script makes it."""
        with translated():
            try:
                return await client.execute_command("EVALSHA", self._digest, 1, key, *arguments)
            except NoScriptError:
                return await client.execute_command("EVAL", self._text, 1, key, *arguments)


_RENEW = _Script("renew")
_HAND_BACK = _Script("hand_back")
_PASS_ON = _Script("pass_on")
_REMOVE_IDLE_CONSUMERS = _Script("remove_idle_consumers")
_SEE_STREAM = _Script("see_stream")
_TRIM_HANDLED = _Script("trim_handled")


async def renew(client: RedisClient, stream: str, group: str, consumer: str, entry_ids: Sequence[str]) -> int:
    """`renew.lua`: restart the idle time of those entries that are still this consumer's; how many were."""
    return await _RENEW.run(client, stream, group, consumer, *entry_ids)


async def hand_back(
    client: RedisClient, stream: str, group: str, consumer: str, idle_ms: int, entry_ids: Sequence[str]
) -> int:
    """`hand_back.lua`: let entries look as if idle for `idle_ms`, if they are still this consumer's; how many were."""
    return await _HAND_BACK.run(client, stream, group, consumer, idle_ms, *entry_ids)


async def pass_on(
    client: RedisClient, stream: str, group: str, consumer: str, entry_id: str, once: str, flat: Sequence[bytes]
) -> int:
    """`pass_on.lua`: move an entry to the end of the stream, if it is still this consumer's; 1 if it was moved.

    The field `once` goes with it only if the entry was given out once.
    """
    return await _PASS_ON.run(client, stream, group, consumer, entry_id, once, *flat)


async def remove_idle_consumers(
    client: RedisClient, stream: str, group: str, idle_ms: int, consumer: str | None = None
) -> int:
    """`remove_idle_consumers.lua`: remove consumers (or one) that have nothing pending and have been idle for
    `idle_ms`; how many went."""
    return await _REMOVE_IDLE_CONSUMERS.run(client, stream, group, idle_ms, consumer or "")


async def trim_handled(client: RedisClient, stream: str, oldest_kept_id: str | None = None) -> int:
    """`trim_handled.lua`: remove what every group has acknowledged and is older than this id; how many entries went."""
    return await _TRIM_HANDLED.run(client, stream, oldest_kept_id or "")


async def see_stream(client: RedisClient, stream: str, group: str | None) -> list[Any]:
    """`see_stream.lua`: the stream as it is now, as seven raw values. Any: texts and numbers."""
    seen: list[Any] = await _SEE_STREAM.ask(client, stream, group or "")
    return seen
