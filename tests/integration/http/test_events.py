"""Events of one saga: its past, then what happens, without a gap and nothing twice, however often the stream is cut."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import asyncpg
import httpx
import pytest

from saga_service.core.vocabulary import Operation
from saga_service.engine.ports import Batch, Write
from saga_service.http.live import reader
from saga_service.http.routes import event_routes
from saga_service.settings import Settings
from saga_service.store.postgres_store import PostgresStore
from tests.end_to_end.proxy import postgres_proxy
from tests.integration.cli.test_sagas import begun, id_of, keep
from tests.integration.http.conftest import open_server
from tests.support.builders import SagaInMemory
from tests.support.ended_sagas import left
from tests.support.event_streams import Event, watched
from tests.support.waiting import eventually


async def move(store: PostgresStore, saga: SagaInMemory, *operations: Operation) -> None:
    """One commit of what these operations do."""
    before = len(saga.history)
    for operation in operations:
        saga.operate(operation)
    history = saga.history[before:]
    await store.commit(Batch(writes=[Write(saga.state, saga.state.revision - len(history))], history=history))


async def finish(store: PostgresStore, saga: SagaInMemory) -> None:
    before = len(saga.history)
    saga.succeed("reserve")
    saga.succeed("charge")
    history = saga.history[before:]
    await store.commit(Batch(writes=[Write(saga.state, saga.state.revision - len(history))], history=history))


async def pause_and_resume(store: PostgresStore, saga: SagaInMemory, times: int) -> None:
    for _ in range(times):
        await move(store, saga, Operation.PAUSE)
        await move(store, saga, Operation.RESUME)


def lines(events: Sequence[Event]) -> list[int]:
    return [event.data["revision"] for event in events if event.name == "history"]


async def test_the_past_comes_first_page_by_page_and_then_what_happens(
    server: str, store: PostgresStore, postgres_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_routes, "PAST_LINES_MAX", 2)
    saga = begun("order", "A-1")
    await keep(postgres_dsn, saga)
    await pause_and_resume(store, saga, 2)

    async with watched(server, "/v1/sagas/A-1/events") as stream:
        past = [await stream.next() for _ in range(6)]
        await move(store, saga, Operation.PAUSE)
        live = [await stream.next() for _ in range(2)]

    assert [(event.name, event.id) for event in past] == [
        *(("history", str(revision)) for revision in range(1, 6)),
        ("saga", "5"),
    ]
    assert past[-1].data["id"] == id_of(saga)
    assert "input" not in past[-1].data
    assert [(event.name, event.data["status"], event.id) for event in live] == [
        ("history", "paused", "6"),
        ("saga", "paused", "6"),
    ]
    assert live[0].data["reason"] == "because"


@pytest.mark.parametrize("way", ["header", "parameter", "both"])
async def test_a_stream_goes_on_after_the_last_event_that_was_read(
    server: str, store: PostgresStore, postgres_dsn: str, way: str
) -> None:
    saga = begun("order", "A-1")
    await keep(postgres_dsn, saga)
    await pause_and_resume(store, saga, 2)
    query = {"header": "", "parameter": "?last_event_id=3", "both": "?last_event_id=1"}[way]
    headers = {} if way == "parameter" else {"Last-Event-ID": "3"}
    async with watched(server, f"/v1/sagas/A-1/events{query}", **headers) as stream:
        assert [(event.name, event.id) for event in [await stream.next() for _ in range(3)]] == [
            ("history", "4"),
            ("history", "5"),
            ("saga", "5"),
        ]


async def test_a_saga_that_changes_while_streams_are_opened_leaves_no_gap_and_tells_nothing_twice(
    server: str, store: PostgresStore, postgres_dsn: str
) -> None:
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    drawn = random.Random(seed)
    saga = begun("order", "A-1")
    await keep(postgres_dsn, saga)
    pairs = 60
    last = 1 + 2 * pairs

    async def read_with_cuts() -> list[int]:
        """All lines, by a stream that is cut now and then in the middle of whatever it is told."""
        seen: list[int] = []
        while not seen or seen[-1] < last:
            headers = {"Last-Event-ID": str(seen[-1])} if seen else {}
            async with watched(server, "/v1/sagas/A-1/events", **headers) as stream:
                for _ in range(drawn.randrange(1, 40)):
                    event = await stream.next()
                    seen += lines([event])
                    if seen and seen[-1] == last:
                        break
        return seen

    async def come_late(after_s: float) -> list[int]:
        await asyncio.sleep(after_s)
        return await read_with_cuts()

    readers = [asyncio.create_task(come_late(drawn.random() * 0.5)) for _ in range(8)]
    await pause_and_resume(store, saga, pairs)
    for read in await asyncio.gather(*readers):
        assert read == list(range(1, last + 1))


async def test_until_it_has_ended_a_stream_stays_open_and_then_ends_for_good(
    server: str, store: PostgresStore, postgres_dsn: str
) -> None:
    saga = begun("order", "A-1")
    await keep(postgres_dsn, saga)
    async with watched(server, "/v1/sagas/A-1/events?until=ended") as stream:
        await stream.next("saga")
        await finish(store, saga)
        told = await stream.rest()
    assert [(event.name, event.id) for event in told] == [("history", "2"), ("history", "3"), ("saga", "3")]
    assert told[-1].data["status"] == "completed"

    async with watched(server, "/v1/sagas/A-1/events?until=ended", **{"Last-Event-ID": "3"}) as again:
        assert again.response.status_code == 204
    async with watched(server, "/v1/sagas/A-1/events?until=ended") as anew:
        assert lines(await anew.rest()) == [1, 2, 3]


async def test_a_saga_that_is_stuck_is_at_rest_and_has_not_ended(
    server: str, pool: asyncpg.Pool, postgres_dsn: str
) -> None:
    await keep(postgres_dsn, begun("order", "A-1"))
    await pool.execute("update saga_private.sagas set status = 'stuck'")
    async with watched(server, "/v1/sagas/A-1/events?until=at_rest") as stream:
        assert [event.name for event in await stream.rest()] == ["history", "saga"]
    async with watched(server, "/v1/sagas/A-1/events?until=ended") as stream:
        await stream.next("saga")
        with pytest.raises(TimeoutError):
            await stream.rest(within_s=0.2)


async def test_a_saga_that_is_removed_is_told_and_the_stream_ends(
    server: str, pool: asyncpg.Pool, postgres_dsn: str
) -> None:
    saga = begun("order", "A-1")
    await keep(postgres_dsn, saga)
    async with watched(server, "/v1/sagas/A-1/events") as stream:
        await stream.next("saga")
        await pool.execute("select saga_private.remove_sagas(array[$1::uuid])", id_of(saga))
        assert [event.name for event in await stream.rest()] == ["removed"]
    assert await left(pool) == []
    async with watched(server, "/v1/sagas/A-1/events") as stream:
        assert stream.response.status_code == 404


async def test_an_id_ahead_of_the_saga_is_told_to_read_it_again(
    server: str, store: PostgresStore, postgres_dsn: str
) -> None:
    """A database that was restored has less than its readers have seen."""
    saga = begun("order", "A-1")
    await keep(postgres_dsn, saga)
    async with watched(server, "/v1/sagas/A-1/events", **{"Last-Event-ID": "17"}) as stream:
        assert [(await stream.next()).name for _ in range(2)] == ["reload", "saga"]
        await move(store, saga, Operation.PAUSE)
        assert lines([await stream.next()]) == [2]


async def test_while_postgres_is_away_viewers_are_told_and_miss_nothing(
    store: PostgresStore, postgres_dsn: str, redis_url: str
) -> None:
    saga = begun("order", "A-1")
    await keep(postgres_dsn, saga)
    async with (
        postgres_proxy(postgres_dsn) as (proxy, dsn),
        open_server(dsn, redis_url) as (address, _),
        watched(address, "/v1/sagas/A-1/events") as one,
        watched(address, "/v1/sagas/events?status=paused") as listed,
    ):
        await one.next("saga")
        await listed.next("ready")
        await proxy.close()
        assert (await one.next()).name == (await listed.next()).name == "unreachable"
        async with watched(address, "/v1/sagas/events") as late, httpx.AsyncClient(base_url=address) as client:
            assert (await late.next()).name == "unreachable"
            assert (await client.get("/v1/sagas/A-1/events")).status_code == 503
            await pause_and_resume(store, saga, 2)
            await move(store, saga, Operation.PAUSE)
            await proxy.open()
            assert [(await late.next()).name for _ in range(2)] == ["reachable", "ready"]
        assert (await one.next()).name == (await listed.next()).name == "reachable"
        assert lines([await one.next() for _ in range(5)]) == [2, 3, 4, 5, 6]
        assert (await listed.next("saga")).data["id"] == id_of(saga)


async def test_a_stream_is_kept_open_and_is_stored_by_nobody(postgres_dsn: str, redis_url: str) -> None:
    await keep(postgres_dsn, begun("order", "A-1"))
    async with (
        open_server(postgres_dsn, redis_url, Settings(http_heartbeat_ms=100)) as (address, _),
        watched(address, "/v1/sagas/A-1/events") as one,
        watched(address, "/v1/sagas/events") as listed,
    ):
        for stream in (one, listed):
            headers = stream.response.headers
            assert (headers["cache-control"], headers["x-accel-buffering"]) == ("no-store", "no")
        await listed.next("ready")
        ready_id = listed.last_id
        reading = [asyncio.create_task(stream.rest()) for stream in (one, listed)]
        await eventually(lambda: one.comments and listed.last_id != ready_id)
        for task in reading:
            task.cancel()
        await asyncio.wait(reading)


async def test_open_streams_and_looks_are_measured(server: str, postgres_dsn: str) -> None:
    await keep(postgres_dsn, begun("order", "A-1"))
    async with (
        watched(server, "/v1/sagas/A-1/events") as one,
        watched(server, "/v1/sagas/events") as listed,
        httpx.AsyncClient(base_url=server) as client,
    ):
        await one.next("saga")
        await listed.next("ready")
        metrics = (await client.get("/metrics")).text
    assert re.search(r"^saga_http_viewers 2(\.0)?$", metrics, re.MULTILINE)
    looks = re.search(r"^saga_http_look_duration_seconds_count (\d+)", metrics, re.MULTILINE)
    assert looks is not None
    assert int(looks[1]) >= 1


async def test_head_answers_and_streams_nothing(server: str, postgres_dsn: str) -> None:
    await keep(postgres_dsn, begun("order", "A-1"))
    async with httpx.AsyncClient(base_url=server) as client:
        for path in ("/v1/sagas/events", "/v1/sagas/A-1/events"):
            answer = await client.head(path)
            assert (answer.status_code, answer.content) == (200, b"")
            assert answer.headers["content-type"].startswith("text/event-stream")
        assert (await client.head("/v1/sagas/none/events")).status_code == 404


@pytest.mark.parametrize(
    ("path", "given"),
    [
        ("A-1/events", "x"),
        ("A-1/events", "-1"),
        ("A-1/events", "9" * 11),
        ("A-1/events", "9" * 5_000),
        ("events", "5"),
        ("events", "1@2"),
        ("events", "99999999999999@1:1:"),
    ],
)
async def test_an_id_that_is_none_is_told(server: str, postgres_dsn: str, path: str, given: str) -> None:
    await keep(postgres_dsn, begun("order", "A-1"))
    async with httpx.AsyncClient(base_url=server) as client:
        answer = await client.get(f"/v1/sagas/{path}", headers={"Last-Event-ID": given})
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
    assert "Last-Event-ID: must be" in answer.json()["detail"]


async def test_more_viewers_than_a_process_may_have_are_told_so(postgres_dsn: str, redis_url: str) -> None:
    await keep(postgres_dsn, begun("order", "A-1"))
    async with open_server(postgres_dsn, redis_url, Settings(http_viewers_max=1)) as (address, _):
        async with watched(address, "/v1/sagas/events") as first:
            await first.next("ready")
            for path in ("/v1/sagas/events", "/v1/sagas/A-1/events"):
                async with watched(address, path) as refused:
                    assert (refused.response.status_code, refused.response.headers["retry-after"]) == (503, "5")
                    problem = httpx.Response(503, content=await refused.response.aread()).json()
                    assert problem["type"] == "urn:saga-service:problem:too-many-viewers"

        async def there_is_room() -> bool:
            async with watched(address, "/v1/sagas/events") as stream:
                return stream.response.status_code == 200

        await eventually(there_is_room)


async def test_a_stream_that_cannot_be_opened_in_time_is_told_so(
    server: str, postgres_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "TURN_S_MAX", 0.05)
    await keep(postgres_dsn, begun("order", "A-1"))
    taken = asyncio.Event()
    turns = reader.LiveReader.turn

    @asynccontextmanager
    async def kept_turn(live: reader.LiveReader) -> AsyncIterator[None]:
        async with turns(live):
            await taken.wait()
            yield

    monkeypatch.setattr(reader.LiveReader, "turn", kept_turn)
    async with httpx.AsyncClient(base_url=server) as client:
        more_than_turns = range(reader.OPENED_AT_ONCE_MAX + 1)
        asked = [asyncio.create_task(client.head("/v1/sagas/A-1/events")) for _ in more_than_turns]
        done, _ = await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
        taken.set()
        answers = [await each for each in asked]
    assert [task.result().status_code for task in done] == [503]
    assert sorted(answer.status_code for answer in answers) == [200, 200, 503]


async def test_a_process_that_stops_ends_its_streams_at_once(postgres_dsn: str, redis_url: str) -> None:
    await keep(postgres_dsn, begun("order", "A-1"))
    async with (
        open_server(postgres_dsn, redis_url, Settings(shutdown_grace_ms=60_000)) as (address, stop),
        watched(address, "/v1/sagas/A-1/events") as one,
        watched(address, "/v1/sagas/events") as listed,
    ):
        await one.next("saga")
        await listed.next("ready")
        stop.set()
        assert [event.name for stream in (one, listed) for event in await stream.rest()] == ["closing", "closing"]
