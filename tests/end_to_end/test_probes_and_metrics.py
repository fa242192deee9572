"""Probes and metrics of processes as they are deployed: after a small run, with a server away, with a blocked loop."""

from __future__ import annotations

import os
import re
import signal
import socket
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from saga_service.local.processes import Child
from saga_service.metrics.declarations import DECLARED, HTTP, SERVICE, WORKER, Metric
from tests.end_to_end.proxy import postgres_proxy, redis_proxy
from tests.end_to_end.system import System
from tests.support.waiting import eventually

PROBES: dict[str, Any] = {"SAGA_METRICS_PORT": "0", "SAGA_METRICS_HOST": "127.0.0.1"}
ANSWER_S_MAX = 10.0

Samples = dict[str, list[tuple[dict[str, str], float]]]
"""By the name of the metric, as it is declared."""

NEEDS_A_DISASTER = {
    "saga_batch_failures_total": "a commit fails",
    "saga_oldest_outbox_timestamp_seconds": "Redis is away while batches are committed",
    "saga_commands_resent_total": "Redis loses a stream",
    "saga_worker_inbox_answers_total": "a worker with an inbox is given a command twice",
}
"""Metrics without a value after a run in which nothing outside goes wrong. Tests of their own have them."""


def address_of(system: System, child: Child) -> str:
    [address] = re.findall(r"http://127\.0\.0\.1:\d+", system.log_of(child))
    return str(address)


async def address_once_there(system: System, child: Child) -> str:
    def there() -> str:
        assert child.is_running(), system.log_of(child)
        found = re.findall(r"http://127\.0\.0\.1:\d+", system.log_of(child))
        return found[0] if found else ""

    return await eventually(there, within_s=30)


async def get(address: str, path: str, timeout_s: float = ANSWER_S_MAX) -> httpx.Response:
    async with httpx.AsyncClient(timeout=timeout_s) as client:
        return await client.get(f"{address}{path}")


async def metrics_of(address: str) -> Samples:
    found: Samples = {}
    for family in text_string_to_metric_families((await get(address, "/metrics")).text):
        name = f"{family.name}_total" if family.type == "counter" else family.name
        for sample in family.samples:
            if not sample.name.endswith(("_bucket", "_sum", "_created")):
                found.setdefault(name, []).append((sample.labels, sample.value))
    return found


def total(samples: Samples, name: str, **labels: str) -> float:
    return sum(value for given, value in samples.get(name, []) if labels.items() <= given.items())


def exported_by(process: str) -> list[Metric]:
    return [metric for metric in DECLARED if process in metric.processes]


async def test_after_a_small_run_every_metric_has_a_value(system: System) -> None:
    service, worker = await system.start(SAGA_DEFERRAL_MAX_MS="600000", **PROBES)
    api = system.begin("http", "http", SAGA_HTTP_PORT="0")
    system.start_saga("trip", "completes", plan={"car": ["fail"]})
    system.start_saga("trip", "is-undone", plan={"invoice": ["reject"]})
    system.start_saga("trip", "gets-stuck", plan={"car": ["reject"], "undo hotel": ["reject"]})
    system.add(system.names.events, {"type": "trip", "data": "no JSON"})
    # Of a saga that is not there, so it waits.
    system.add(system.names.events, {"type": "saga.pause", "saga_id": "00000000-0000-4000-8000-000000000000"})
    # A group of somebody else's, which has read one entry of three and does not acknowledge it.
    system.redis.xgroup_create(system.names.events, "slow", "0", mkstream=True)
    system.redis.xreadgroup("slow", "me", {system.names.events: ">"}, count=1)
    await system.until_ended(3)
    [stuck] = await system.fetch("select id from saga.sagas where status = 'stuck'")
    await system.fetch("select saga.signal('nobody-waits', $1)", stuck["id"])
    # Something that waits: a saga with a timer, whose worker hangs.
    system.start_saga("trip", "hangs", plan={"flight": ["sleep 8000"]})
    addresses = {name: await address_once_there(system, child) for name, child in
                 ((SERVICE, service), (WORKER, worker), (HTTP, api))}  # fmt: skip
    assert (await get(addresses[HTTP], "/v1/sagas")).status_code == 200
    # A request that waits for the answer of a replica.
    async with httpx.AsyncClient(timeout=ANSWER_S_MAX) as client:
        resume = f"{addresses[HTTP]}/v1/sagas/{stuck['id']}/operations/resume"
        assert (await client.post(resume, json={"reason": "why not"})).status_code == 409

    async def all_are_there() -> dict[str, Samples]:
        seen = {process: await metrics_of(address) for process, address in addresses.items()}
        missing = {
            process: [each.name for each in exported_by(process) if each.name not in seen[process]] for process in seen
        }
        # The service has no API inside, and what is declared for it then.
        of_api = {each.name for each in exported_by(HTTP) if each.name.startswith("saga_http_")}
        missing[SERVICE] = [name for name in missing[SERVICE] if name not in of_api]
        left = {name for names in missing.values() for name in names} - NEEDS_A_DISASTER.keys()
        assert left == set()
        return seen

    seen = await eventually(all_are_there, within_s=40)
    own = seen[SERVICE]
    assert total(own, "saga_starts_total", saga="trip") == 4
    assert total(own, "saga_ends_total", saga="trip", status="completed") == 1
    assert total(own, "saga_ends_total", saga="trip", status="compensated") == 1
    assert total(own, "saga_stuck_total", saga="trip") == 1
    assert total(own, "saga_steps_total", step="car", outcome="failed") == 1
    assert total(own, "saga_step_retries_total", step="car", direction="action") == 1
    assert total(own, "saga_dead_letters_total", stream=system.names.events) >= 1
    assert total(seen[WORKER], "saga_worker_commands_total", command="rental.invoice", outcome="rejected") == 1
    assert total(seen[HTTP], "saga_http_requests_total", route="/v1/sagas", status="200") == 1
    for process in (SERVICE, HTTP):
        assert total(seen[process], "saga_in_flight", saga="trip", status="stuck") == 1
        assert total(seen[process], "saga_compensation_debt", saga="trip") == 2
        assert total(seen[process], "saga_processes", kind="worker") == 1
    assert all("saga_id" not in labels for samples in seen.values() for each in samples.values() for labels, _ in each)


async def test_while_postgres_is_silent_the_process_lives_and_is_not_ready_and_its_own_numbers_are_told(
    system: System, postgres_dsn: str
) -> None:
    async with postgres_proxy(postgres_dsn) as (proxy, dsn):
        [service] = await system.start(workers=0, SAGA_POSTGRES_DSN=dsn, SAGA_POSTGRES_TIMEOUT_MS="1000", **PROBES)
        address = address_of(system, service)
        await eventually(partial(_is_ready, address))
        proxy.stall()

        async def not_ready() -> str:
            answer = await get(address, "/readyz?verbose")
            assert answer.status_code == 503
            return answer.text

        said = await eventually(not_ready, within_s=20)
        assert "[+] redis\n" in said
        assert re.search(r"^\[-\] postgres: .+", said, re.MULTILINE), said
        assert (await get(address, "/livez")).text == "ok\n"

        async def absent() -> Samples:
            samples = await metrics_of(address)
            assert total(samples, "saga_state_errors_total", source="postgres") >= 1
            assert "saga_outbox_rows" not in samples
            return samples

        samples = await eventually(absent, within_s=30)
        assert samples["saga_lanes"] == [({}, 2.0)]
        assert "saga_stream_entries" in samples
        proxy.flow()
        await eventually(lambda: _is_ready(address), within_s=30)


async def test_while_redis_is_away_that_is_said_by_name(system: System, redis_url: str) -> None:
    async with redis_proxy(redis_url) as (proxy, url):
        service, worker = await system.start(SAGA_REDIS_URL=url, **PROBES)
        addresses = [address_of(system, child) for child in (service, worker)]
        proxy.stall()
        for address in addresses:

            async def not_ready(address: str = address) -> bool:
                answer = await get(address, "/readyz")
                return answer.status_code == 503 and answer.text.startswith("[-] redis: ")

            await eventually(not_ready, within_s=20)
            assert (await get(address, "/livez")).status_code == 200
        proxy.flow()
        for address in addresses:
            await eventually(partial(_is_ready, address), within_s=30)


async def in_hand(system: System, service: Child) -> None:
    """Wait until the worker inside the service has a command in hand."""
    travel = system.names.commands("travel")
    await eventually(lambda: "worker started" in system.events_of(service), within_s=20)
    await eventually(lambda: system.groups(travel)["travel"]["pending"] == 1)


async def _is_ready(address: str) -> bool:
    return (await get(address, "/readyz")).status_code == 200


BLOCKING = """
import time
from saga_service.worker import Worker

lab = Worker("block")

@lab.handler("block.now")
async def now(command: dict[str, object]) -> None:
    time.sleep(6)
"""
SAGA = "name: blocked\nsteps:\n  - {name: now, action: block.now, timeout: 60s}\n"


async def test_a_handler_that_blocks_the_event_loop_makes_its_process_fail_the_probe_of_liveness(
    system: System, tmp_path: Path
) -> None:
    (tmp_path / "blocking.py").write_text(BLOCKING)
    (tmp_path / "blocked.yaml").write_text(SAGA)
    settings = {"SAGA_DEFINITIONS": str(tmp_path / "blocked.yaml"), "PYTHONPATH": str(tmp_path)}
    await system.ready(system.begin_service(**settings))
    worker = system.begin("worker", "worker", "blocking:lab", **settings, **PROBES)
    await system.ready(worker)
    address = address_of(system, worker)
    assert (await get(address, "/livez")).text == "ok\n"
    system.add(system.names.events, {"type": "blocked", "data": "{}"})

    async def no_answer() -> bool:
        try:
            await get(address, "/livez", timeout_s=1.0)
        except httpx.TimeoutException:
            return True
        return False

    await eventually(no_answer, within_s=20)
    await eventually(lambda: _is_ready(address), within_s=20, what="the handler is over")
    assert (await get(address, "/livez")).status_code == 200


async def test_a_process_that_shuts_down_lives_and_is_not_ready(system: System) -> None:
    service = system.begin_service(SAGA_WORKERS="tests.end_to_end.workers:travel", **PROBES)
    await system.ready(service)
    address = address_of(system, service)
    system.start_saga("trip", "in-hand", plan={"flight": ["sleep 2000"]})
    await in_hand(system, service)
    service.ask_to_stop()

    async def shutting_down() -> bool:
        answer = await get(address, "/readyz")
        return answer.text == "[-] shutdown: the process is shutting down\nfailed\n"

    await eventually(shutting_down)
    assert (await get(address, "/livez")).status_code == 200
    assert await system.ended(service) == 0


async def test_the_api_inside_the_service_answers_and_ends_with_it(system: System) -> None:
    [service] = await system.start(workers=0, SAGA_HTTP_ENABLED="true", SAGA_HTTP_PORT="0")
    address = address_of(system, service)
    started = await get(address, "/v1/definitions")
    assert "trip" in {each["saga"] for each in started.json()["items"]}
    await eventually(partial(_is_ready, address))
    samples = await metrics_of(address)
    assert total(samples, "saga_http_requests_total", route="/v1/definitions") == 1
    assert "saga_lanes" in samples
    service.ask_to_stop()
    assert await system.ended(service) == 0
    assert "Traceback" not in system.log_of(service)


@pytest.mark.parametrize(
    ("setting", "settings"),
    [
        ("SAGA_METRICS_PORT", {"SAGA_METRICS_HOST": "127.0.0.1"}),
        ("SAGA_HTTP_PORT", {"SAGA_HTTP_ENABLED": "true"}),
    ],
)
async def test_a_port_that_is_taken_is_refused_at_the_start(system: System, setting: str, settings: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        service = system.begin_service(**settings, **{setting: str(port)})
        assert await system.ended(service, within_s=30) == 2
    assert f"port {port} of 127.0.0.1 cannot be had: Address already in use; set {setting}" in system.log_of(service)


async def test_a_second_signal_ends_a_service_with_an_api_at_once(system: System) -> None:
    [service] = await system.start(
        workers=0, SAGA_WORKERS="tests.end_to_end.workers:travel", SAGA_HTTP_ENABLED="true", SAGA_HTTP_PORT="0"
    )
    system.start_saga("trip", "in-hand", plan={"flight": ["sleep 60000"]})
    await in_hand(system, service)
    service.ask_to_stop()
    await eventually(lambda: "shutting down; a second signal ends it at once" in system.log_of(service))
    os.kill(service.pid, signal.SIGTERM)
    assert await system.ended(service, within_s=10) == 0
