"""`saga-service http` as a process: its address is logged, it answers there, and a signal ends it in good order."""

from __future__ import annotations

import asyncio
import os
import re
import socket
import sys
from pathlib import Path

import httpx
import pytest

from saga_service.settings.http_tokens import StoredToken, digest_of, fresh_token, write_token
from saga_service.settings.roles import Role
from tests.support.waiting import eventually


async def started(tmp_path: Path, **settings: str) -> tuple[asyncio.subprocess.Process, Path]:
    log = tmp_path / "http.log"
    program = "from saga_service.cli.main import main; main()"
    environment = {**os.environ, "SAGA_HTTP_PORT": "0", "SAGA_LOG_FORMAT": "json", **settings}
    with log.open("wb") as out:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", program, "http", stdout=out, stderr=out, env=environment, cwd=tmp_path
        )
    return process, log


async def test_a_process_answers_at_the_address_that_it_logs_until_it_is_stopped(
    tmp_path: Path, postgres_dsn: str, redis_url: str
) -> None:
    process, log = await started(tmp_path, SAGA_POSTGRES_DSN=postgres_dsn, SAGA_REDIS_URL=redis_url)
    [address] = await eventually(lambda: re.findall(r"http://127\.0\.0\.1:\d+", log.read_text()), within_s=20)
    async with httpx.AsyncClient(base_url=address) as client:
        assert (await client.get("/v1/sagas")).json()["items"] == []
        assert (await client.get("/openapi.json")).json()["info"]["title"] == "saga_service"
        process.terminate()
        async with asyncio.timeout(20):
            assert await process.wait() == 0
    assert "http api has stopped" in log.read_text()


async def test_a_path_of_a_proxy_is_part_of_the_document(tmp_path: Path, postgres_dsn: str, redis_url: str) -> None:
    process, log = await started(
        tmp_path, SAGA_POSTGRES_DSN=postgres_dsn, SAGA_REDIS_URL=redis_url, SAGA_HTTP_ROOT_PATH="/sagas"
    )
    [address] = await eventually(lambda: re.findall(r"http://127\.0\.0\.1:\d+", log.read_text()), within_s=20)
    async with httpx.AsyncClient() as client:
        document = (await client.get(f"{address}/openapi.json")).json()
        assert [server["url"] for server in document["servers"]] == ["/sagas"]
        assert (await client.get(f"{address}/sagas/v1/sagas")).status_code == 200
    process.terminate()
    assert await process.wait() == 0


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])
async def test_an_address_that_others_reach_is_refused(tmp_path: Path, host: str) -> None:
    process, log = await started(tmp_path, SAGA_HTTP_HOST=host)
    assert await process.wait() == 2
    assert f"SAGA_HTTP_HOST is {host}, and whoever reaches that could steer every saga; " in log.read_text()


async def test_a_port_that_is_taken_is_told_with_the_setting(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process, log = await started(tmp_path, SAGA_HTTP_PORT=str(port))
        assert await process.wait() == 2
    assert log.read_text() == (
        f"saga-service: port {port} of 127.0.0.1 cannot be had: Address already in use; "
        "set SAGA_HTTP_PORT to another one, or to 0 for any that is free\n"
    )


async def test_with_tokens_any_address_may_be_bound_and_a_token_is_replaced_while_the_process_runs(
    tmp_path: Path, postgres_dsn: str, redis_url: str
) -> None:
    old, new, tokens = fresh_token(), fresh_token(), tmp_path / "tokens"
    tokens.write_text(line_of(old))
    process, log = await started(
        tmp_path,
        SAGA_POSTGRES_DSN=postgres_dsn,
        SAGA_REDIS_URL=redis_url,
        SAGA_HTTP_HOST="0.0.0.0",
        SAGA_HTTP_TOKENS_FILE=str(tokens),
    )
    [port] = await eventually(lambda: re.findall(r"http://0\.0\.0\.0:(\d+)", log.read_text()), within_s=20)
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:

        async def status_with(token: str | None) -> int:
            headers = {} if token is None else {"Authorization": f"Bearer {token}"}
            return (await client.get("/v1/sagas", headers=headers)).status_code

        async def counts(token: str) -> bool:
            return await status_with(token) == 200

        assert [await status_with(each) for each in (None, new, old)] == [401, 401, 200]
        tokens.write_text(line_of(new))
        await eventually(lambda: counts(new))
        assert not await counts(old)
    process.terminate()
    assert await process.wait() == 0
    told = log.read_text()
    assert "tokens were read again" in told
    assert old not in told
    assert new not in told


def line_of(token: str) -> str:
    return write_token(StoredToken("ci", Role.VIEWER, digest_of(token)))


async def test_a_wrong_file_of_tokens_ends_the_start_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "tokens").write_text("ci:boss:" + "0" * 64)
    process, log = await started(tmp_path, SAGA_HTTP_TOKENS_FILE="tokens")
    assert await process.wait() == 2
    assert log.read_text().endswith(
        "SAGA_HTTP_TOKENS_FILE: tokens: token 1: 'boss' is no role; the roles are viewer, operator, admin\n"
    )
