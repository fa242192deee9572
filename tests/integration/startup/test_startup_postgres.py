"""What is waited for at the start, and what is refused at once."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg
import pytest

from saga_service import app
from saga_service.settings import ServerUrl, Settings
from saga_service.startup import wait_for_postgres


@pytest.mark.parametrize("error", [asyncpg.CannotConnectNowError, asyncpg.TooManyConnectionsError])
async def test_a_postgres_that_lets_nobody_in_just_now_is_waited_for(
    postgres_dsn: str, monkeypatch: pytest.MonkeyPatch, error: type[asyncpg.PostgresError]
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


async def test_the_time_out_bounds_every_wait_for_a_connection_too(
    postgres_dsn: str, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The setting is for one statement, and for the wait for a free connection."""
    bounds_s: dict[str, float] = {}
    stop = asyncio.Event()

    def record(name: str, option: str) -> None:
        make = getattr(app, name)

        def recorded(*arguments: Any, **options: Any) -> Any:  # Any: as each has it
            bounds_s[name] = options[option]
            if len(bounds_s) == 4:
                stop.set()
            return make(*arguments, **options)

        monkeypatch.setattr(app, name, recorded)

    record("create_pool", "statement_timeout_s")
    for name in ("PostgresStore", "PostgresRemoval", "PostgresDefinitionRegistry"):
        record(name, "acquire_timeout_s")

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
