"""Many commands in one round trip, and never MULTI: a refused XADD must not take an XACK with it, nor the reverse."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterable, Sequence

import hiredis
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ReadOnlyError, ResponseError

from saga_service.base.lifecycle import heeding_cancellation
from saga_service.streams.connection import RedisClient
from saga_service.streams.errors import translated, transport_error
from saga_service.wire.entries import Message
from saga_service.wire.transport import TransportError

Command = tuple[str | bytes | int, ...]
CommandsOn = Callable[[str | None], Sequence[Command]]
"""Makes the commands for a run of a server by its id, which is None where it is not known."""
Reply = object
"""A raw reply, or the TransportError that stands in its place."""


def add(message: Message, server_id: str | None = None) -> Command:
    """XADD: the message goes to the end of its stream. An original says so where the run of the server is known."""
    return ("XADD", message.stream, "*", *message.fields_on(server_id))


def acknowledge(stream: str, group: str, entry_ids: Iterable[str]) -> Command:
    """XACK: the group is done with these entries."""
    return ("XACK", stream, group, *entry_ids)


async def send(client: RedisClient, commands: Sequence[Command] | CommandsOn) -> list[Reply]:
    """Every command's reply in order; a command that Redis refused has a TransportError there.

    Commands that depend on the server are made once there is a connection to it.

    Raises TransportError where the connection failed: any number of the commands may have been carried out, unless its
    `nothing_was_sent` says that no connection was to be had.
    """
    if not commands:
        return []
    with translated(), heeding_cancellation():
        return await _send(client, commands)


async def _send(client: RedisClient, commands: Sequence[Command] | CommandsOn) -> list[Reply]:
    # The client's pipeline class costs several times as much per command as the connection below it.
    pool = client.connection_pool
    try:
        with translated():
            connection = await pool.get_connection()
    except TransportError as error:
        error.nothing_was_sent = True
        raise
    complete = False
    try:
        # Packed in C: the connection's own packing is in Python and costs five times as much.
        made = commands(connection.server_id) if callable(commands) else commands
        packed = b"".join([hiredis.pack_command(command) for command in made])  # type: ignore[arg-type]  # its stub knows tuples of one alone
        await connection.send_packed_command(packed)
        # One time limit for all replies, since setting one for each costs more than reading them.
        async with asyncio.timeout(connection.socket_timeout):
            replies = [await _read(connection) for _ in made]
        complete = True
    finally:
        if not complete:
            # Replies still to come would be taken for those of the next caller.
            await connection.disconnect(nowait=True)
        await pool.release(connection)
    return replies


async def _read(connection: AbstractConnection) -> Reply:
    try:
        return await connection.read_response(timeout=math.inf)
    except ReadOnlyError as error:
        # What was the master is a replica now; the same address may lead to the new one.
        connection.mark_for_reconnect()
        return transport_error(error)
    except ResponseError as error:
        return transport_error(error)
