"""What is waited for at the start, and what is refused at once."""

from __future__ import annotations

import asyncio
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest

from saga_service import app, startup
from saga_service.settings import ServerUrl, Settings
from saga_service.startup import ServerRefused, wait_for_postgres, with_postgres
from tests.support.waiting import eventually


@pytest.mark.parametrize(
    "error",
    [
        asyncpg.CannotConnectNowError,
        asyncpg.TooManyConnectionsError,
        asyncpg.AdminShutdownError,
        asyncpg.IdleSessionTimeoutError,
        asyncpg.ConnectionDoesNotExistError,
        asyncpg.ReadOnlySQLTransactionError,
        asyncpg.DeadlockDetectedError,
        asyncpg.InternalClientError,
        asyncpg.InterfaceError,
        ConnectionResetError,
        TimeoutError,
    ],
)
async def test_a_postgres_that_lets_nobody_in_just_now_is_waited_for(
    postgres_dsn: str, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    connect = asyncpg.connect
    tries: list[str] = []

    async def connect_at_the_third_try(*arguments: Any, **options: Any) -> asyncpg.Connection:  # Any: as asyncpg has it
        tries.append("try")
        if len(tries) < 3:
            raise error("not just now")
        return await connect(*arguments, **options)

    monkeypatch.setattr(asyncpg, "connect", connect_at_the_third_try)
    await wait_for_postgres(Settings(postgres_dsn=ServerUrl(postgres_dsn)))
    assert len(tries) == 3


@pytest.mark.parametrize(
    "error",
    [asyncpg.InvalidPasswordError, asyncpg.InvalidCatalogNameError, asyncpg.InsufficientPrivilegeError],
)
async def test_what_no_waiting_mends_is_refused_at_once(
    postgres_dsn: str, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    async def refuse(*_: Any, **__: Any) -> asyncpg.Connection:  # Any: as asyncpg has it
        raise error("said by the server")

    monkeypatch.setattr(asyncpg, "connect", refuse)
    with pytest.raises(ServerRefused, match=r"postgres at .* refuses: said by the server"):
        await wait_for_postgres(Settings(postgres_dsn=ServerUrl(postgres_dsn)))


async def test_without_an_address_the_wait_names_the_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SAGA_POSTGRES_DSN", raising=False)

    async def nobody_is_there() -> None:
        raise ConnectionRefusedError(111, "refused")

    said = r"postgres at postgresql://localhost:5432/saga \(no address is set: SAGA_POSTGRES_DSN\) did not answer"
    with pytest.raises(ServerRefused, match=said):
        await with_postgres(Settings(startup_wait_s=0), nobody_is_there)


async def test_a_session_that_the_server_ends_at_every_idle_moment_does_not_end_the_start(
    postgres_dsn: str, redis_url: str
) -> None:
    administrator: asyncpg.Connection = await asyncpg.connect(postgres_dsn)
    await administrator.execute(f'alter database "{urlsplit(postgres_dsn).path[1:]}" set idle_session_timeout = 50')
    stop = asyncio.Event()
    settings = Settings(
        postgres_dsn=ServerUrl(postgres_dsn), redis_url=ServerUrl(redis_url), definitions="saga_service.demo.sagas"
    )
    serving = asyncio.create_task(app.serve(settings, stop))
    try:
        await eventually(lambda: administrator.fetchval("select count(*) from saga.definitions"))
    finally:
        stop.set()
        await serving
        await administrator.close()


async def test_the_time_out_bounds_every_wait_for_a_connection_too(
    postgres_dsn: str, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The setting is for one statement, and for the wait for a free connection."""
    bounds_s: dict[str, float] = {}
    stop = asyncio.Event()

    def record(module: ModuleType, name: str, option: str) -> None:
        make = getattr(module, name)

        def recorded(*arguments: Any, **options: Any) -> Any:  # Any: as each has it
            bounds_s[name] = options[option]
            if len(bounds_s) == 4:
                stop.set()
            return make(*arguments, **options)

        monkeypatch.setattr(module, name, recorded)

    record(startup, "create_pool", "statement_timeout_s")
    for name in ("PostgresStore", "PostgresRemoval", "PostgresDefinitionRegistry"):
        record(app, name, "acquire_timeout_s")

    async with asyncio.timeout(10):
        await app.serve(
            Settings(
                postgres_dsn=ServerUrl(postgres_dsn),
                redis_url=ServerUrl(redis_url),
                postgres_timeout_ms=7_000,
                definitions="saga_service.demo.sagas",
            ),
            stop,
        )

    assert set(bounds_s.values()) == {7}
