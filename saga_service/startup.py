"""Before anything runs: wait for the servers, and refuse to start on what cannot work, each with one clear line."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import asyncpg
import structlog
from redis.exceptions import AuthenticationError, RedisError

from saga_service.base.backoff import Backoff
from saga_service.engine.ports import TransportUnavailable
from saga_service.settings import Settings
from saga_service.store.schema.version import SchemaFit, SchemaUnfit, schema_state
from saga_service.streams.connection import connect
from saga_service.streams.faults import describe
from saga_service.streams.server import UnfitServer, check_server
from saga_service.streams.source import in_our_words

log = structlog.get_logger(__name__)
SAY_AGAIN_AFTER_S = 5.0
CONNECT_S = 5.0


class StartupRefused(Exception):
    """The service cannot work here; the text is one line that says why and what to do."""


async def wait_for_servers(settings: Settings, stop: asyncio.Event) -> bool:
    """Until both are there and have been found fit; False where `stop` was set before that. Raises StartupRefused."""

    async def wait_for_both() -> None:
        await wait_for_postgres(settings)
        await wait_for_redis(settings)

    waiting, stopped = asyncio.create_task(wait_for_both()), asyncio.create_task(stop.wait())
    try:
        await asyncio.wait((waiting, stopped), return_when=asyncio.FIRST_COMPLETED)
        if waiting.done():
            waiting.result()
        return waiting.done()
    finally:
        waiting.cancel()
        stopped.cancel()
        await asyncio.gather(waiting, stopped, return_exceptions=True)


async def wait_for(server: str, probe: Callable[[], Awaitable[object]], within_s: float) -> None:
    """Until `probe` goes through. `server` is what a person calls it: `postgres at localhost:5432`.

    Raises StartupRefused where it does not answer in time.
    """
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    said_s = -SAY_AGAIN_AFTER_S
    backoff = Backoff(first_s=0.1, most_s=2.0)
    while True:
        try:
            await probe()
        except (OSError, TransportUnavailable) as error:
            waited_s = loop.time() - began_s
            if waited_s >= within_s:
                raise StartupRefused(
                    f"{server} did not answer within {within_s:g} s: {describe(error)}; "
                    "is it running, and is its address right?"
                ) from error
            if waited_s - said_s >= SAY_AGAIN_AFTER_S:
                said_s = waited_s
                log.info(f"waiting for {server}", waited_s=round(waited_s, 1), error=str(error))
            await backoff.wait()
        else:
            if backoff.attempts:
                log.info(f"{server} answers", waited_s=round(loop.time() - began_s, 1))
            return


async def wait_for_postgres(settings: Settings) -> None:
    """Until Postgres answers and its schema is the one that this version works with.

    Raises StartupRefused.
    """
    dsn = settings.postgres_dsn.get_secret_value()

    async def probe() -> None:
        try:
            connection = await asyncpg.connect(dsn, timeout=CONNECT_S)
        except (asyncpg.CannotConnectNowError, asyncpg.TooManyConnectionsError) as error:
            # It is there, and will let us in when it has started, or when others have left.
            raise ConnectionError(str(error)) from error
        try:
            if settings.migrate_at_start:
                # Its libraries cost a third of the start, and most starts need none of it.
                from saga_service.store.schema.migrate import migrate

                await migrate(dsn)
            state = await schema_state(connection)
        finally:
            await connection.close()
        if state.fit is not SchemaFit.CURRENT:
            raise StartupRefused(str(state))

    try:
        await wait_for(f"postgres at {settings.postgres_dsn}", probe, settings.startup_wait_s)
    except (asyncpg.PostgresError, SchemaUnfit) as error:
        raise StartupRefused(f"postgres at {settings.postgres_dsn} refuses: {error}") from error


async def wait_for_redis(settings: Settings) -> None:
    """Until Redis answers and has been found fit. Raises StartupRefused."""
    client = connect(settings.redis_url.get_secret_value(), connections_max=1)

    async def probe() -> None:
        with in_our_words():
            try:
                await check_server(client)
            except AuthenticationError as error:
                # A running service waits, since passwords get changed; at the start it is simply wrong.
                raise StartupRefused(
                    f"redis at {settings.redis_url} refuses us: {error} Check user and password in SAGA_REDIS_URL"
                ) from error

    try:
        await wait_for(f"redis at {settings.redis_url}", probe, settings.startup_wait_s)
    except (UnfitServer, RedisError) as error:
        raise StartupRefused(f"redis at {settings.redis_url} cannot be used: {error}") from error
    finally:
        await client.aclose()
