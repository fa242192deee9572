"""Requests count by the template of their route, whatever they ask for."""

from __future__ import annotations

import httpx
import pytest
from fastapi import APIRouter, FastAPI

from saga_service.http.application import UnderPath
from saga_service.http.request_metrics import RequestMetrics
from saga_service.metrics import declarations
from saga_service.metrics.measurements import Labels, Measurements

inner = APIRouter()


@inner.get("/sagas/{target}/history")
async def history(target: str) -> str:
    return target


@inner.post("/sagas")
async def start() -> None:
    raise RuntimeError("a bug")


async def counted(*requests: tuple[str, str], root_path: str = "") -> dict[Labels, float]:
    application, measurements = FastAPI(), Measurements()
    version = APIRouter(prefix="/v1")
    version.include_router(inner)
    application.include_router(version)
    application.get("/livez")(lambda: "ok")
    application.add_middleware(UnderPath, root_path=root_path)
    application.add_middleware(RequestMetrics, measurements)
    transport = httpx.ASGITransport(application, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        for method, path in requests:
            await client.request(method, path)
    assert sum(
        sum(each.counts) for each in measurements.histogram(declarations.REQUEST_DURATION).series.values()
    ) == len(requests)
    return dict(measurements.counter(declarations.REQUESTS))


async def test_requests_of_one_route_count_together_with_its_whole_template() -> None:
    asked = [("GET", f"/v1/sagas/A-{number}/history") for number in range(3)]
    assert await counted(*asked, ("GET", "/livez")) == {
        ("GET", "/v1/sagas/{target}/history", "200"): 3,
        ("GET", "/livez", "200"): 1,
    }


async def test_paths_that_lead_nowhere_and_methods_that_nobody_knows_make_no_labels() -> None:
    asked = [("GET", f"/wp-admin/{number}") for number in range(3)]
    assert await counted(*asked, ("HACK", "/v1/nowhere")) == {("GET", "none", "404"): 3, ("other", "none", "404"): 1}


async def test_a_bug_counts_as_an_error_of_the_server() -> None:
    assert await counted(("POST", "/v1/sagas")) == {("POST", "/v1/sagas", "500"): 1}


@pytest.mark.parametrize("path", ["/proxy/v1/sagas/A/history", "/v1/sagas/A/history"])
async def test_the_path_of_a_proxy_is_no_part_of_the_template(path: str) -> None:
    assert await counted(("GET", path), root_path="/proxy") == {("GET", "/v1/sagas/{target}/history", "200"): 1}
