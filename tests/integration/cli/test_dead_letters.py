"""`dead-letters`: a person reads them, puts them back exactly as they came, or drops them."""

from __future__ import annotations

from pathlib import Path

import asyncpg
import pytest
from redis import Redis

from saga_service.core.events import TimerDue, TransportLost
from saga_service.engine.ports import Batch
from saga_service.wire.dead_letters import dead_letter
from saga_service.wire.entries import Entry, entry_of
from saga_service.wire.events import OwnEvent, write_own_event
from tests.support.builders import SAGA_ID
from tests.support.command_line import run_aside, store

STRANGE = {b"type": b"ordre", b"data": b'{"a": 1}', b"\xff\x00": b"\x00\xfe binary", b"empty": b""}


@pytest.fixture(autouse=True)
def settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, postgres_dsn: str, redis_url: str) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SAGA_POSTGRES_DSN", postgres_dsn)
    monkeypatch.setenv("SAGA_REDIS_URL", redis_url)


async def put_aside(postgres_dsn: str, *entries: Entry) -> list[int]:
    """Dead letters of these entries; their numbers."""
    for entry in entries:
        # One after the other: within a batch their numbers follow the order in which their rows are locked.
        letter = dead_letter(entry, f"no saga for {entry.id}", 1_700_000_000_000)
        await store(postgres_dsn, Batch(dead_letters=[letter]))
    listed = (await run_aside("dead-letters", "list", "--json")).json
    number_of = {letter["entry_id"]: letter["id"] for letter in listed}
    return [number_of[entry.id] for entry in entries]


async def test_no_dead_letters_are_good_news() -> None:
    told, shown = await run_aside("dead-letters", "list"), await run_aside("dead-letters", "list", "--json")

    assert (told.exit_code, told.out, told.err) == (0, "", "no dead letters\n")
    assert shown.json == []


async def test_the_newest_are_listed_first_and_by_stream(postgres_dsn: str) -> None:
    await put_aside(
        postgres_dsn,
        Entry("saga:events", "1-1", STRANGE),
        Entry("saga:replies", "2-1", {}),
        Entry("saga:events", "3-1", {}),
    )

    everything = (await run_aside("dead-letters", "list", "--json")).json
    events = await run_aside("dead-letters", "list", "--stream", "saga:events")

    assert [letter["entry_id"] for letter in everything] == ["3-1", "2-1", "1-1"]
    assert [line.split()[-4:] for line in events.lines[1:]] == [
        ["no", "saga", "for", "3-1"],
        ["no", "saga", "for", "1-1"],
    ]


async def test_one_is_shown_with_its_reason_its_fields_and_what_to_do(postgres_dsn: str) -> None:
    [number] = await put_aside(postgres_dsn, Entry("saga:events", "1-1", STRANGE))

    told = await run_aside("dead-letters", "show", str(number))
    shown = (await run_aside("dead-letters", "show", str(number), "--json")).json

    assert told.lines[0] == f"dead letter {number}"
    assert "found on saga:events as 1-1, put aside 2023-11-14 22:13:20 UTC" in told.out
    assert "because no saga for 1-1" in told.out
    assert f"saga-service dead-letters replay {number}" in told.out
    assert shown["fields"] == {"type": "ordre", "data": '{"a": 1}', "\\xff\\x00": "\\x00\\xfe binary", "empty": ""}
    assert shown["at"] == "2023-11-14T22:13:20Z"


async def test_a_replayed_entry_is_the_one_that_came_byte_for_byte(postgres_dsn: str, redis_url: str) -> None:
    numbers = await put_aside(
        postgres_dsn, Entry("saga:events", "1-1", STRANGE), Entry("order_requests", "2-1", {b"amount": b"3"})
    )

    replayed = await run_aside("dead-letters", "replay", *map(str, numbers), "--json")

    with Redis.from_url(redis_url) as client:
        on_streams = {stream: client.xrange(stream) for stream in ("saga:events", "order_requests")}
    assert replayed.exit_code == 0
    assert [(each["id"], each["stream"]) for each in replayed.json] == list(
        zip(numbers, ["saga:events", "order_requests"], strict=True)
    )
    new_ids = [each["entry_id"].encode() for each in replayed.json]
    assert on_streams["saga:events"] == [(new_ids[0], STRANGE)]
    assert on_streams["order_requests"] == [(new_ids[1], {b"amount": b"3"})]


@pytest.mark.parametrize("event", [TimerDue(SAGA_ID), TransportLost(SAGA_ID)])
async def test_an_event_of_the_service_itself_is_replayed_as_a_request(
    pool: asyncpg.Pool, postgres_dsn: str, event: OwnEvent
) -> None:
    [number] = await put_aside(postgres_dsn, write_own_event(event, f"{SAGA_ID}:1"))

    shown = (await run_aside("dead-letters", "show", str(number), "--json")).json
    replayed = (await run_aside("dead-letters", "replay", str(number), "--json")).json

    assert shown["fields"]["saga_id"] == SAGA_ID
    [request] = await pool.fetch("select request_id, type, saga_id from saga.requests")
    assert (str(request["request_id"]), request["saga_id"]) == (replayed[0]["entry_id"], SAGA_ID)
    assert request["type"] == shown["fields"]["type"]


async def test_a_field_that_came_twice_is_replayed_twice(postgres_dsn: str, redis_url: str) -> None:
    flat = [b"amount", b"3", b"note", b"x", b"amount", b"4"]
    [number] = await put_aside(postgres_dsn, entry_of("order_requests", "1-1", flat))

    replayed = await run_aside("dead-letters", "replay", str(number))

    with Redis.from_url(redis_url) as client:
        client.response_callbacks.clear()
        [(_, on_stream)] = client.execute_command("XRANGE", "order_requests", "-", "+")
    assert replayed.exit_code == 0
    assert on_stream == flat


async def test_the_list_of_all_tells_which_were_replayed_and_when(postgres_dsn: str) -> None:
    first, second = await put_aside(
        postgres_dsn, Entry("saga:events", "1-1", STRANGE), Entry("saga:events", "2-1", STRANGE)
    )
    await run_aside("dead-letters", "replay", str(first))
    [replayed] = [
        letter["replayed_at"]
        for letter in (await run_aside("dead-letters", "list", "--all", "--json")).json
        if letter["id"] == first
    ]

    listed = await run_aside("dead-letters", "list", "--all")

    assert "replayed (UTC)" in listed.lines[0]
    line_of = {int(line.split()[0]): line for line in listed.lines[1:]}
    assert replayed[:19].replace("T", " ") in line_of[first]
    assert replayed[:19].replace("T", " ") not in line_of[second]


async def test_what_was_replayed_leaves_the_list_and_is_not_replayed_by_mistake(
    postgres_dsn: str, redis_url: str
) -> None:
    first, second = await put_aside(
        postgres_dsn, Entry("saga:events", "1-1", STRANGE), Entry("saga:events", "2-1", STRANGE)
    )
    await run_aside("dead-letters", "replay", str(first))

    left = (await run_aside("dead-letters", "list", "--json")).json
    everything = (await run_aside("dead-letters", "list", "--all", "--json")).json
    mistake = await run_aside("dead-letters", "replay", str(second), str(first))
    on_purpose = await run_aside("dead-letters", "replay", str(first), "--again")

    assert [letter["id"] for letter in left] == [second]
    assert [(letter["id"], letter["replayed_at"] is not None) for letter in everything] == [
        (second, False),
        (first, True),
    ]
    assert mistake.exit_code == 1
    assert f"replayed already: {first}; nothing was done" in mistake.err
    assert on_purpose.exit_code == 0
    with Redis.from_url(redis_url) as client:
        assert client.xlen("saga:events") == 2


async def test_a_dropped_one_is_gone(postgres_dsn: str) -> None:
    first, second = await put_aside(postgres_dsn, Entry("saga:events", "1-1", {}), Entry("saga:events", "2-1", {}))

    dropped = await run_aside("dead-letters", "drop", str(first))

    assert (dropped.exit_code, dropped.out) == (0, f"dropped: {first}\n")
    assert [letter["id"] for letter in (await run_aside("dead-letters", "list", "--json")).json] == [second]


@pytest.mark.parametrize("command", ["show", "replay", "drop"])
async def test_an_unknown_number_is_told(command: str) -> None:
    ran = await run_aside("dead-letters", command, "77")

    assert (ran.exit_code, ran.out) == (1, "")
    assert ran.err == "saga-service: no dead letter has the number 77; see: saga-service dead-letters list --all\n"
