"""Start-up: wait for the servers, and refuse what cannot work, each refusal with one line that says what to do.

Nothing of the service runs before all of this has passed.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import TypeVar

import asyncpg
import structlog

from saga_service.base.clock import Backoff
from saga_service.base.lifecycle import Shutdown
from saga_service.base.postgres import close_pool, is_worth_waiting, one_line
from saga_service.core.vocabulary import Task
from saga_service.definitions import Catalog, load_definitions
from saga_service.encryption import Cipher, CipherNotLoaded, DecryptionFailed, UnknownKey, load_cipher
from saga_service.engine.failures import StoreBroken, StoreDenied, StoreUnavailable
from saga_service.settings import Settings, missing_address
from saga_service.store.pool import create_pool
from saga_service.store.postgres_store import PostgresStore
from saga_service.store.schema.migrate import SchemaFit, SchemaUnfit, check_encoding, schema_state
from saga_service.streams.connection import connect
from saga_service.streams.server import UnfitServer, check_server
from saga_service.wire.transport import AccessDenied, StreamNames, TransportError, TransportUnavailable

log = structlog.get_logger(__name__)
LOG_AGAIN_AFTER_S = 5.0
CONNECT_S = 5.0
DAY_MS = 24 * 3_600_000
SAGAS_TRIED_AT_START = 100

Answer = TypeVar("Answer")


class StartupRefused(Exception):
    """The service cannot work here; the text is one line that says why and what to do."""


class SettingsRefused(StartupRefused):
    """A setting is missing, or does not fit the others or the definitions."""


class ServerRefused(StartupRefused):
    """Postgres or Redis does not answer in time, or cannot be used."""


class SchemaRefused(StartupRefused):
    """The database's schema, or its encoding, does not fit this release."""


class StartupStopped(Exception):
    """The service was stopped before it ran."""


def configured_catalog(settings: Settings) -> Catalog:
    """The sagas that SAGA_DEFINITIONS names. Raises StartupRefused and DefinitionErrors."""
    if not settings.definitions:
        raise SettingsRefused(
            "no saga is defined: set SAGA_DEFINITIONS to YAML files or Python modules, for example "
            "SAGA_DEFINITIONS=saga_service.demo.sagas"
        )
    catalog = load_definitions(settings.definitions, StreamNames(settings.stream_prefix))
    _check_retention(settings, catalog)
    return catalog


def _check_retention(settings: Settings, catalog: Catalog) -> None:
    """A reply that comes late, but within its command's time, must still find its saga."""
    kept_ms = settings.ended_sagas_retention_days * DAY_MS
    too_long = [
        f"'{step.name}' of '{definition.name}'"
        for definition in catalog.definitions()
        for step in definition.steps
        if step.task is Task.COMMAND and max(step.timeout_ms, step.compensation_timeout_ms) >= kept_ms
    ]
    if kept_ms and too_long:
        raise SettingsRefused(
            f"SAGA_ENDED_SAGAS_RETENTION_DAYS ({settings.ended_sagas_retention_days}) must be longer than any command "
            f"may take, and is not for {', '.join(too_long)}; keep ended sagas longer, or shorten these time-outs"
        )


def configured_cipher(settings: Settings) -> Cipher | None:
    """The cipher that the settings ask for; None where nothing is encrypted. Raises StartupRefused."""
    try:
        return load_cipher(
            settings.encryption_keys.get_secret_value(), settings.encryption_cipher, encrypt=settings.encryption_enabled
        )
    except CipherNotLoaded as error:
        raise SettingsRefused(str(error)) from None


async def register_deployment(store: PostgresStore, settings: Settings, catalog: Catalog) -> None:
    """Put the deployment and its definitions on record. Raises StartupRefused where the database is another's, or has
    sagas whose key is missing here."""
    await check_deployment(store, settings)
    await store.remember_definitions(catalog.documents())
    await check_keys(store)


async def check_deployment(store: PostgresStore, settings: Settings) -> None:
    """Raises StartupRefused where the database belongs to a deployment with other streams.

    Each of the two would take the other's timers and messages for its own, and send them to streams that nobody reads.
    """
    own = (settings.stream_prefix, settings.consumer_group)
    prefix, group = await store.deployment(*own)
    if (prefix, group) != own:
        raise StartupRefused(
            f"the database belongs to the deployment with SAGA_STREAM_PREFIX={prefix} and SAGA_CONSUMER_GROUP={group}, "
            f"but here they are {own[0]} and {own[1]}; give each deployment a database of its own, or, if this one was "
            "renamed, stop all its replicas and run: saga-service migrate --rename"
        )


async def check_keys(store: PostgresStore) -> None:
    """Raises StartupRefused where a saga under way is encrypted with a key that is not here.

    No replica is better than one that makes dead letters of all that it reads. A few sagas are enough to tell.
    """
    try:
        await store.load(await store.some_in_flight(SAGAS_TRIED_AT_START))
    except UnknownKey as error:
        raise StartupRefused(
            f"{error}; add the key to SAGA_ENCRYPTION_KEYS (the first encrypts, all decrypt)"
        ) from None
    except DecryptionFailed as error:
        log.error("a saga cannot be decrypted, and cannot go on", error=str(error))


async def wait_for_servers(settings: Settings, stop: asyncio.Event) -> None:
    """Wait until both servers answer and are found fit. Raises StartupRefused, StartupStopped once `stop` is set."""

    async def wait_for_both() -> None:
        await wait_for_postgres(settings)
        await wait_for_redis(settings)

    waiting, stopped = asyncio.create_task(wait_for_both()), asyncio.create_task(stop.wait())
    try:
        await asyncio.wait((waiting, stopped), return_when=asyncio.FIRST_COMPLETED)
        if not waiting.done():
            raise StartupStopped
        waiting.result()
    finally:
        waiting.cancel()
        stopped.cancel()
        await asyncio.gather(waiting, stopped, return_exceptions=True)


async def wait_for(
    server: str, probe: Callable[[], Awaitable[Answer]], within_s: float, shutdown: Shutdown | None = None
) -> Answer:
    """Wait until `probe` goes through, and return what it returns. `server` is its name for people.

    Raises ServerRefused where it does not answer in time, StartupStopped where `shutdown` is requested before, and what
    the probe raises where waiting mends nothing.
    """
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    logged_s = -LOG_AGAIN_AFTER_S
    backoff = Backoff(first_s=0.1, most_s=2.0)
    while True:
        if shutdown:
            raise StartupStopped
        try:
            answer = await probe()
        except Exception as error:
            if not _is_worth_waiting(error):
                raise
            waited_s = loop.time() - began_s
            if waited_s >= within_s:
                raise ServerRefused(
                    f"{server} did not answer within {within_s:g} s: {_text(error)}; "
                    "is it running, and is its address right?"
                ) from error
            if waited_s - logged_s >= LOG_AGAIN_AFTER_S:
                logged_s = waited_s
                log.info(f"waiting for {server}", waited_s=round(waited_s, 1), error=str(error))
            await backoff.wait()
        else:
            if backoff.attempts:
                log.info(f"{server} answers", waited_s=round(loop.time() - began_s, 1))
            return answer


def _is_worth_waiting(error: Exception) -> bool:
    if isinstance(error, StoreDenied):
        # A running service waits, since passwords get changed; at the start the settings are wrong.
        return False
    return isinstance(error, StoreUnavailable | TransportUnavailable) or is_worth_waiting(error)


def _text(error: Exception) -> str:
    # An error of ours says by itself which of the server's it was.
    return (
        str(error)
        if isinstance(error, TransportError | StoreUnavailable)
        else f"{type(error).__name__}: {one_line(error)}"
    )


async def with_postgres(
    settings: Settings, work: Callable[[], Awaitable[Answer]], shutdown: Shutdown | None = None
) -> Answer:
    """Do the work in Postgres as soon as Postgres takes it, and return what it returns.

    Raises StartupRefused where it is not done in time, or where waiting mends nothing; StartupStopped.
    """
    server = f"postgres at {settings.postgres_dsn}{missing_address(settings, 'postgres_dsn')}"
    try:
        return await wait_for(server, work, settings.startup_wait_s, shutdown)
    except SchemaUnfit as error:
        raise SchemaRefused(f"{server} refuses: {error}") from error
    except (asyncpg.PostgresError, asyncpg.ClientConfigurationError, StoreDenied, StoreBroken) as error:
        raise ServerRefused(f"{server} refuses: {one_line(error)}") from error


@asynccontextmanager
async def opened_pool(settings: Settings, shutdown: Shutdown) -> AsyncIterator[asyncpg.Pool]:
    """The service's connections to Postgres. Raises StartupRefused, and StartupStopped."""
    dsn, size = settings.postgres_dsn.get_secret_value(), settings.postgres_pool_size
    cached, within_s = settings.postgres_statement_cache_size, settings.postgres_timeout_ms / 1000
    connecting = partial(create_pool, dsn, size, statement_cache_size=cached, statement_timeout_s=within_s)
    pool = await with_postgres(settings, connecting, shutdown)
    try:
        yield pool
    finally:
        await close_pool(pool)


async def wait_for_postgres(settings: Settings) -> None:
    """Wait until Postgres answers and its schema is the one that this version works with. Raises StartupRefused."""
    dsn = settings.postgres_dsn.get_secret_value()

    async def probe() -> None:
        connection = await asyncpg.connect(dsn, timeout=CONNECT_S)
        try:
            await check_encoding(connection)
            if settings.migrate_at_start:
                # Its libraries cost a third of the start, and most starts need none of it.
                from saga_service.store.schema.migrate import migrate

                await migrate(dsn)
            state = await schema_state(connection)
        finally:
            await connection.close()
        if state.fit is not SchemaFit.CURRENT:
            raise SchemaRefused(str(state))

    await with_postgres(settings, probe)


async def wait_for_redis(settings: Settings) -> None:
    """Wait until Redis answers and is found fit. Raises StartupRefused."""
    client = connect(settings.redis_url.get_secret_value(), connections_max=1)

    async def probe() -> None:
        try:
            await check_server(client)
        except AccessDenied as error:
            # A running service waits, since passwords get changed; at the start the settings are wrong.
            raise ServerRefused(
                f"redis at {settings.redis_url} refuses us: {error}; check user and password in SAGA_REDIS_URL"
            ) from error

    server = f"redis at {settings.redis_url}{missing_address(settings, 'redis_url')}"
    try:
        await wait_for(server, probe, settings.startup_wait_s)
    except (UnfitServer, TransportError) as error:
        raise ServerRefused(f"redis at {settings.redis_url} cannot be used: {error}") from error
    finally:
        await client.aclose()
