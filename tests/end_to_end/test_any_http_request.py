"""Whatever a client sends to the HTTP API is answered as its document says, and never breaks it.

Requests are made from the OpenAPI document by Schemathesis, right ones and wrong ones, and chains of them by the
document's links. To run one seed again, set SAGA_TEST_SEED.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
from pathlib import Path

import httpx
import pytest

from tests.end_to_end.system import System
from tests.support.waiting import eventually

SECONDS = 30
DEMO = {
    "SAGA_DEFINITIONS": "saga_service.demo.sagas",
    "SAGA_WORKERS": ",".join(
        f"saga_service.demo.workers:{name}"
        for name in ("inventory", "payment", "shipping", "fleet", "planning", "mapping")
    ),
    # Whoever sends so many is no other caller.
    "SAGA_HTTP_REQUESTS_PER_S_MAX": "0",
}
NOT_CHECKED = (
    # No schema says which sagas there are, and which inputs they take.
    "positive_data_acceptance",
)


@pytest.mark.timeout(240)
async def test_any_request_is_answered_as_the_document_says(system: System, tmp_path: Path) -> None:
    seed = int(os.environ.get("SAGA_TEST_SEED", random.randrange(2**32)))
    service = system.begin("service", "run", **DEMO)
    await system.ready(service)
    http = system.begin("http", "http", SAGA_HTTP_PORT="0", **DEMO)
    [address] = await eventually(
        lambda: [line["address"] for line in system.lines_of(http) if line["event"] == "http api started"]
    )
    # A dead letter, for the operations on one.
    system.redis.xadd(system.names.events, {"v": "1", "type": "ordre"})
    async with httpx.AsyncClient(base_url=address) as api:
        await eventually(lambda: dead_letters(api), 20.0, "the entry is a dead letter")

    run = await asyncio.create_subprocess_exec(
        Path(sys.executable).with_name("schemathesis"),
        *("run", f"{address}/openapi.json", "--seed", str(seed), "--max-time", str(SECONDS), "--max-examples", "25"),
        *("--exclude-checks", ",".join(NOT_CHECKED), "--suppress-health-check", "all", "--warnings", "off"),
        *("--no-color", "--request-timeout", "90"),
        # A stream of events has no end.
        *("--exclude-path-regex", "/events$"),
        cwd=tmp_path,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await run.communicate()

    print(out.decode())
    assert run.returncode == 0, f"seed {seed}"
    assert "Stateful" in out.decode()
    assert [line for line in system.lines_of(http) if line["level"] == "error"] == []
    assert http.is_running()
    assert service.is_running()


async def dead_letters(api: httpx.AsyncClient) -> bool:
    return bool((await api.get("/v1/dead-letters")).json()["items"])
