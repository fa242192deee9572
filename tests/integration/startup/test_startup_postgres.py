"""What is waited for at the start, and what is refused at once."""

from __future__ import annotations

from typing import Any

import asyncpg
import pytest

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
