"""The page at the address itself: where everything is, for whoever opens it in a browser."""

from __future__ import annotations

from importlib.metadata import version

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

router = APIRouter(include_in_schema=False)

HEADERS = {"Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'", "X-Content-Type-Options": "nosniff"}
_PLACES = {
    "v1/sagas": "the sagas, newest first",
    "v1/sagas?status=stuck": "sagas that wait for a person",
    "v1/dead-letters": "entries that could not be used",
    "v1/definitions": "the registered versions of all definitions",
    "v1/processes": "services and workers that are alive",
    "v1/streams": "the streams, and how far each group has read",
    "metrics": "the numbers for Prometheus",
    "readyz": "whether this process can do its work",
    "openapi.json": "all of the API, described (OpenAPI 3.1)",
}
_PAGE = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>saga_service</title></head>
<body>
<h1>saga_service {version}</h1>
<ul>
{places}
</ul>
</body>
</html>
"""


@router.get("/")
async def front_page() -> HTMLResponse:
    # Relative, so that they lead on under a proxy's path too.
    places = "\n".join(f'<li><a href="{path}">{path}</a>: {meaning}</li>' for path, meaning in _PLACES.items())
    return HTMLResponse(_PAGE.format(version=version("saga-service"), places=places), headers=HEADERS)
