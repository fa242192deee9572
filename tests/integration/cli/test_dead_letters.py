"""`dead-letters`: a person reads them, puts them back exactly as they came, or drops them."""

from __future__ import annotations

from pathlib import Path

import asyncpg
import pytest
from redis import Redis

from saga_service.base.clock import now_ms
from saga_service.core.events import TimerDue
from saga_service.engine.ports import Batch
from saga_service.wire.dead_letters import dead_letter
from saga_service.wire.entries import Entry, entry_of
from saga_service.wire.events import write_timer
from tests.support.builders import SAGA_ID, resend
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


@pytest.mark.parametrize("sent", [write_timer(TimerDue(SAGA_ID), f"{SAGA_ID}:1"), resend()])
async def test_an_event_of_the_service_itself_is_replayed_as_a_request(
    pool: asyncpg.Pool, postgres_dsn: str, sent: Entry
) -> None:
    [number] = await put_aside(postgres_dsn, sent)

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
    assert f"replayed already: {first}; to replay them once more: --again" in mistake.err
    assert f"dead letter {second} is on saga:events again" in mistake.out
    assert on_purpose.exit_code == 0
    with Redis.from_url(redis_url) as client:
        assert client.xlen("saga:events") == 3


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


@pytest.mark.parametrize(("command", "done"), [("replay", "is on saga:events again"), ("drop", "dropped: ")])
async def test_a_number_that_is_not_there_keeps_no_other_from_its_turn(
    postgres_dsn: str, command: str, done: str
) -> None:
    [number] = await put_aside(postgres_dsn, Entry("saga:events", "1-1", STRANGE))

    ran = await run_aside("dead-letters", command, str(number), "77")

    assert ran.exit_code == 1
    assert done in ran.out
    assert ran.err == "saga-service: no dead letter has the number 77; see: saga-service dead-letters list --all\n"
    assert (await run_aside("dead-letters", "list", "--json")).json == []


# ------------------------------------------------------------------------------------------------------- many at once

MINUTE_MS = 60_000


async def flood(postgres_dsn: str, letters: int) -> None:
    """Dead letters of one stream, an older one of each other kind, and a request by SQL."""
    now = now_ms()
    others = [
        dead_letter(Entry("saga:replies", "1-1", {b"saga": b"order"}), "no saga", now - 90 * MINUTE_MS),
        dead_letter(Entry("saga:events", "0-2", {b"type": b"trip"}), "Malformed: 50% _ of it", now - 60 * MINUTE_MS),
        dead_letter(Entry("saga.requests", "0-3", {b"type": b"order"}), "does not fit", now - 30 * MINUTE_MS),
    ]
    many = [
        dead_letter(Entry("saga:events", f"{number}-1", {b"type": b"order", b"n": b"%d" % number}), "no schema", now)
        for number in range(1, letters + 1)
    ]
    for letter in others:
        await store(postgres_dsn, Batch(dead_letters=[letter]))
    await store(postgres_dsn, Batch(dead_letters=many))


@pytest.mark.parametrize(
    ("filters", "entries"),
    [
        (["--stream", "saga:replies"], ["1-1"]),
        (["--reason", "malFORMED"], ["0-2"]),
        (["--reason", "50% _"], ["0-2"]),
        (["--reason", "5_%"], []),
        (["--saga", "trip"], ["0-2"]),
        (["--saga", "order", "--older-than", "10m"], ["0-3", "1-1"]),
        (["--older-than", "45m", "--newer-than", "75m"], ["0-2"]),
        (["--stream", "saga:events", "--newer-than", "10m", "--limit", "1"], ["3-1"]),
    ],
    ids=" ".join,
)
async def test_dead_letters_are_selected_by_what_they_have_in_common(
    postgres_dsn: str, filters: list[str], entries: list[str]
) -> None:
    await flood(postgres_dsn, 3)

    listed = await run_aside("dead-letters", "list", "--json", *filters)

    assert [letter["entry_id"] for letter in listed.json] == entries


async def test_a_list_says_how_many_there_are(postgres_dsn: str) -> None:
    await flood(postgres_dsn, 3)

    some, everything = await run_aside("dead-letters", "list", "--limit", "2"), await run_aside("dead-letters", "list")

    assert (len(some.lines), some.err) == (3, "2 of 6 dead letters; --limit says how many are shown\n")
    assert everything.err == "6 dead letters\n"


async def test_many_are_replayed_at_once_in_their_order_and_others_are_left(
    postgres_dsn: str, redis_url: str, pool: asyncpg.Pool
) -> None:
    await flood(postgres_dsn, 450)

    replayed = await run_aside("dead-letters", "replay", "--saga", "order", "--yes")

    assert (replayed.exit_code, replayed.out) == (0, "replayed: 452 dead letters\n")
    with Redis.from_url(redis_url) as client:
        on_stream = [fields[b"n"] for _, fields in client.xrange("saga:events")]
        assert client.xlen("saga:replies") == 1
    assert on_stream == [b"%d" % number for number in range(1, 451)]
    assert await pool.fetchval("select count(*) from saga.requests where type = 'order'") == 1
    left = (await run_aside("dead-letters", "list", "--json")).json
    assert [letter["entry_id"] for letter in left] == ["0-2"]


async def test_many_are_shown_before_anything_is_done_and_a_script_has_to_be_sure(
    postgres_dsn: str, redis_url: str
) -> None:
    await flood(postgres_dsn, 3)

    dry = await run_aside("dead-letters", "replay", "--stream", "saga:events", "--dry-run")
    as_json = await run_aside("dead-letters", "drop", "--stream", "saga:events", "--dry-run", "--json")
    unsure = await run_aside("dead-letters", "drop", "--stream", "saga:events")

    assert [line.split() for line in dry.lines[1:]] == [
        ["saga:events", "3", "no", "schema"],
        ["saga:events", "1", "Malformed:", "50%", "_", "of", "it"],
    ]
    assert dry.err == "4 dead letters; nothing was changed\n"
    assert [(group["reason"], group["letters"]) for group in as_json.json] == [
        ("no schema", 3),
        ("Malformed: 50% _ of it", 1),
    ]
    assert unsure.exit_code == 2
    assert "this would drop 4 dead letters, and there is no terminal to ask on" in unsure.err
    with Redis.from_url(redis_url) as client:
        assert client.exists("saga:events") == 0
    assert len((await run_aside("dead-letters", "list", "--json")).json) == 6


@pytest.mark.parametrize("also", [["--stream", "saga:events"], ["--limit", "1"], ["--dry-run"]], ids=str)
async def test_numbers_and_filters_together_are_refused_and_change_nothing(postgres_dsn: str, also: list[str]) -> None:
    await flood(postgres_dsn, 1)
    before = (await run_aside("dead-letters", "list", "--json")).json

    refused = await run_aside("dead-letters", "drop", str(before[0]["id"]), *also, "--yes")

    assert refused.exit_code == 2
    assert "give numbers, or filters and their options; not both" in refused.err
    assert (await run_aside("dead-letters", "list", "--json")).json == before


async def test_many_are_dropped_at_once_the_oldest_first(postgres_dsn: str) -> None:
    await flood(postgres_dsn, 1_200)

    some = await run_aside("dead-letters", "drop", "--older-than", "10m", "--limit", "2", "--yes", "--json")
    rest = await run_aside("dead-letters", "drop", "--stream", "saga:events", "--yes")

    assert (len(some.json), rest.out) == (2, "dropped: 1,200 dead letters\n")
    left = (await run_aside("dead-letters", "list", "--json")).json
    assert [letter["entry_id"] for letter in left] == ["0-3"]


async def test_what_redis_refuses_stays_to_be_replayed(postgres_dsn: str, redis_url: str) -> None:
    await flood(postgres_dsn, 2)
    with Redis.from_url(redis_url) as client:
        client.set("saga:replies", "no stream")

    refused = await run_aside("dead-letters", "replay", "--newer-than", "2h", "--yes")

    assert refused.exit_code == 1
    assert "1 of the entries cannot be put back: Redis refuses it" in refused.err
    left = (await run_aside("dead-letters", "list", "--stream", "saga:replies", "--json")).json
    assert [letter["entry_id"] for letter in left] == ["1-1"]
    assert (await run_aside("dead-letters", "list", "--stream", "saga:events", "--json")).json == []
