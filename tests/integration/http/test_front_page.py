"""Whoever opens the address in a browser finds where everything is."""

from __future__ import annotations

import re

from tests.integration.http.conftest import Api


async def test_the_page_leads_to_places_that_answer(api: Api) -> None:
    page = await api.get("/")
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert page.headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
    places = re.findall('href="([^"]+)"', page.text)
    assert "openapi.json" in places
    assert {place: (await api.get(f"/{place}")).status_code for place in places} == dict.fromkeys(places, 200)
