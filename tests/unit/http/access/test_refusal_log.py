"""Refusals: a line and a row for each that is unlike the others, and none is lost while it cannot be written."""

from __future__ import annotations

import pytest
from fastapi import Request
from structlog.testing import capture_logs

from saga_service.admin.failure_kinds import Failure
from saga_service.http.access.refusal_log import GATHERED_MAX, MORE, RefusalLog
from saga_service.store.http_access import Refusal

Rows = list[tuple[Refusal, int]]


def request(path: str = "/v1/sagas", address: str = "10.0.0.1") -> Request:
    return Request(
        {"type": "http", "method": "GET", "path": path, "headers": [], "client": (address, 1), "query_string": b"",
         "server": ("here", 80), "scheme": "http"}
    )  # fmt: skip


async def written(log: RefusalLog) -> Rows:
    rows: Rows = []

    async def write(refusals: Rows) -> None:
        rows.extend(refusals)

    await log.flush(write)
    return rows


async def test_what_is_alike_is_one_row_and_two_lines() -> None:
    log = RefusalLog()
    with capture_logs() as lines:
        for number in range(1_000):
            log.note(request(f"/v1/sagas/{number}"), 401, "the token is not known here", None)
        rows = await written(log)
    expected = Refusal(401, None, "10.0.0.1", "GET", "/v1/sagas/0", "the token is not known here")
    assert rows == [(expected, 1_000)]
    assert [(each["event"], each.get("times")) for each in lines] == [("refused", None), ("refused again", 1_000)]
    assert await written(log) == []


async def test_of_a_known_caller_every_path_is_told_apart() -> None:
    log = RefusalLog()
    for path in ("/v1/a", "/v1/b", "/v1/a"):
        log.note(request(path), 403, "the role is too low", "ci")
    assert [(refusal.caller, refusal.path, times) for refusal, times in await written(log)] == [
        ("ci", "/v1/a", 2),
        ("ci", "/v1/b", 1),
    ]


async def test_a_flood_of_either_sort_has_a_bound_and_leaves_room_for_the_other() -> None:
    log = RefusalLog()
    with capture_logs() as lines:
        for number in range(10_000):
            log.note(request(address=f"10.0.{number // 250}.{number % 250}"), 401, "x", None)
        log.note(request(), 403, "y", "ci")
        rows = await written(log)
    assert len(rows) == GATHERED_MAX + 2
    assert sum(times for _, times in rows) == 10_001
    assert (rows[GATHERED_MAX][0].detail, rows[-1][0].caller) == (MORE, "ci")
    assert len(lines) == GATHERED_MAX + 3


async def test_what_cannot_be_written_waits_and_is_counted_on() -> None:
    log = RefusalLog()

    async def away(_: Rows) -> None:
        raise Failure("Postgres is away")

    for _ in range(3):
        log.note(request(), 401, "x", None)
        await log.flush(away)
    assert [times for _, times in await written(log)] == [3]


@pytest.mark.parametrize("status", [404, 409, 422, 503])
async def test_what_is_refused_for_other_reasons_is_not_noted(status: int) -> None:
    log = RefusalLog()
    log.note(request(), status, "x", None)
    assert await written(log) == []


async def test_texts_are_short_and_on_one_line() -> None:
    log = RefusalLog()
    log.note(request("/v1/\n\x00" + "a" * 1_000), 401, "b" * 1_000, None)
    [(refusal, _)] = await written(log)
    assert refusal.path == "/v1/" + "a" * 196
    assert len(refusal.detail) == 200
