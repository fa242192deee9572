"""What fails is told in the words of HTTP."""

from __future__ import annotations

import httpx
import pytest

from saga_service.http.application import make_application
from saga_service.http.problem_details import advice_by_path
from saga_service.settings import Settings


@pytest.mark.parametrize(
    ("advice", "by_path"),
    [
        ("see: saga-service list", "see: /v1/sagas"),
        ("give another key, or look: saga-service show 0e6b", "give another key, or look: /v1/sagas/0e6b"),
        ("see: saga-service dead-letters show 12", "see: /v1/dead-letters/12"),
        ("run: saga-service migrate", "run: saga-service migrate"),
    ],
)
def test_advice_names_paths_where_a_command_would_only_show_something(advice: str, by_path: str) -> None:
    assert advice_by_path(advice) == by_path


@pytest.mark.parametrize("root_path", ["", "/sagas"])
async def test_a_method_that_a_path_does_not_have_is_refused_with_all_that_it_has(root_path: str) -> None:
    application = make_application(Settings(http_root_path=root_path))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(application), base_url="http://localhost") as client:
        answer = await client.put(f"{root_path}/v1/dead-letters/1")
    assert (answer.status_code, answer.headers["allow"]) == (405, "DELETE, GET")
    assert answer.headers["content-type"] == "application/problem+json"
