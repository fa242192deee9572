"""Events of lists: whoever reads the list once and then follows its events has the list as it is."""

from __future__ import annotations

import asyncio
import random
from datetime import timedelta

import asyncpg
import httpx
import pytest

from saga_service.admin import changes
from saga_service.admin.changes import cursor_in
from saga_service.base.clock import now_ms
from saga_service.core.vocabulary import Operation
from saga_service.http.live import saga_list, saga_lists
from saga_service.store.postgres_store import PostgresStore
from saga_service.store.retention import PostgresRemoval
from tests.integration.cli.test_sagas import begun, id_of, keep
from tests.integration.http.test_events import finish, move
from tests.support.ended_sagas import DAY_MS, put
from tests.support.event_streams import EventReader, watched
from tests.support.store_batches import batch, start
from tests.support.waiting import eventually


async def test_a_saga_that_begins_to_fit_is_told_and_so_is_one_that_fits_no_longer(
    server: str, store: PostgresStore, postgres_dsn: str
) -> None:
    first, other = begun("order", "A-1"), begun("trip", "B-1")
    await keep(postgres_dsn, first, other)
    async with watched(server, "/v1/sagas/events?status=paused&saga=order") as stream:
        await stream.next("ready")
        await move(store, other, Operation.PAUSE)
        await move(store, first, Operation.PAUSE)
        paused = await stream.next()
        await move(store, first, Operation.RESUME)
        resumed = await stream.next()
    assert (paused.name, paused.data["id"], paused.data["status"]) == ("saga", id_of(first), "paused")
    assert "input" not in paused.data
    assert (resumed.name, resumed.data) == ("gone", {"ids": [id_of(first)]})


async def test_a_saga_that_was_removed_is_gone_from_every_list(
    server: str, store: PostgresStore, pool: asyncpg.Pool
) -> None:
    removed = [await put(pool, key, ended_at_ms=now_ms() - 3 * DAY_MS) for key in ("one", "two")]
    async with watched(server, "/v1/sagas/events") as stream:
        await stream.next("ready")
        await PostgresRemoval(pool).remove_ended(now_ms() - 2 * DAY_MS, 100)
        gone = await stream.next()
    assert (gone.name, sorted(gone.data["ids"])) == ("gone", sorted(removed))


async def read_list(client: httpx.AsyncClient) -> dict[str, int]:
    page = (await client.get("/v1/sagas?status=running&limit=500")).raise_for_status().json()
    return {each["id"]: each["revision"] for each in page["items"]}


async def test_a_list_that_is_kept_by_events_is_the_list_whatever_is_cut(
    server: str, store: PostgresStore, postgres_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a page in a browser does it, with random cuts, while sagas begin, pause, go on and end."""
    monkeypatch.setattr(saga_list, "RELOAD_S_MIN", 0.1)
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    drawn = random.Random(seed)
    held: dict[str, int] = {}

    async def follow(client: httpx.AsyncClient, stream: EventReader) -> None:
        for _ in range(drawn.randrange(1, 30)):
            event = await stream.next(within_s=60)
            match event.name:
                case "ready" | "reload":
                    held.clear()
                    held.update(await read_list(client))
                case "saga":
                    held[event.data["id"]] = event.data["revision"]
                case "gone":
                    for saga_id in event.data["ids"]:
                        held.pop(saga_id, None)

    async def keep_list() -> None:
        last_id = ""
        async with httpx.AsyncClient(base_url=server) as client:
            while True:
                headers = {"Last-Event-ID": last_id} if last_id else {}
                async with watched(server, "/v1/sagas/events?status=running", **headers) as stream:
                    await follow(client, stream)
                    last_id = stream.last_id

    keeping = asyncio.create_task(keep_list())
    sagas = []
    for number in range(80):
        sagas.append(begun("order", f"A-{number}"))
        await keep(postgres_dsn, sagas[-1])
        moved = drawn.choice(sagas)
        if moved.status == "running":
            await (finish(store, moved) if drawn.random() < 0.3 else move(store, moved, Operation.PAUSE))
        elif moved.status == "paused":
            await move(store, moved, Operation.RESUME)
    running = {id_of(saga): saga.state.revision for saga in sagas if saga.status == "running"}
    try:
        await eventually(lambda: held == running, 20.0)
    finally:
        keeping.cancel()
        await asyncio.wait([keeping])


async def test_what_has_changed_while_a_stream_was_cut_is_told_by_the_next_one(
    server: str, store: PostgresStore, postgres_dsn: str
) -> None:
    first, second = begun("order", "A-1"), begun("order", "A-2")
    await keep(postgres_dsn, first, second)
    async with watched(server, "/v1/sagas/events?status=running") as stream:
        cut_at = (await stream.next("ready")).id
    await move(store, first, Operation.PAUSE)
    await move(store, second, Operation.PAUSE, Operation.RESUME)
    async with watched(server, "/v1/sagas/events?status=running", **{"Last-Event-ID": cut_at}) as stream:
        gone, told = await stream.next(), await stream.next()
        await move(store, second, Operation.PAUSE)
        later = await stream.next("gone")
    assert (gone.name, gone.data) == ("gone", {"ids": [id_of(first)]})
    assert (told.name, told.data["id"], told.data["revision"]) == ("saga", id_of(second), 3)
    assert later.data == {"ids": [id_of(second)]}


async def test_a_stream_that_was_cut_for_too_long_is_told_to_read_the_list_again(server: str) -> None:
    async with watched(server, "/v1/sagas/events") as stream:
        cut_at = cursor_in((await stream.next("ready")).id)
    assert cut_at is not None
    old = {
        "long ago": cut_at._replace(at=cut_at.at - changes.KEPT_FOR - timedelta(seconds=1)),
        "of another database": cut_at._replace(snapshot="99999999:99999999:"),
    }
    for name, cursor in old.items():
        async with watched(server, "/v1/sagas/events", **{"Last-Event-ID": str(cursor)}) as stream:
            assert (await stream.next()).name == "reload", name


@pytest.mark.parametrize(
    "snapshot", ["9:3:", "3:9:99", "0:0:", "5:9:8,7", "99999999999999999999:99999999999999999999:"]
)
async def test_an_id_that_no_server_has_made_keeps_nobody_from_being_told(server: str, snapshot: str) -> None:
    async with (
        watched(server, "/v1/sagas/events") as other,
        watched(server, "/v1/sagas/events", **{"Last-Event-ID": f"1795863553335@{snapshot}"}) as stream,
    ):
        assert (await stream.next()).name in ("ready", "reload")
        assert (await other.next()).name == "ready"


async def test_more_than_can_be_told_one_by_one_is_to_be_read_again_and_not_too_often(
    server: str, store: PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saga_list, "TOLD_MAX", 3)
    monkeypatch.setattr(saga_list, "RELOAD_S_MIN", 60.0)
    async with watched(server, "/v1/sagas/events") as stream, watched(server, "/v1/sagas/events?key=key-19") as narrow:
        await stream.next("ready")
        await narrow.next("ready")
        for flood in range(5):
            await store.commit(batch(*(start(f"key-{4 * flood + number}") for number in range(4))))
        # The last one: whatever changes after it is in a look of its own.
        assert (await narrow.next()).data["key"] == "key-19", "a list that little fits is told as ever"
        assert (await stream.next()).name == "reload"
        await store.commit(batch(start("calm")))
        assert (await stream.next()).data["key"] == "calm", "no second reload has come so soon"


async def test_more_than_one_look_reads_is_to_be_read_again(
    server: str, store: PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saga_lists, "LOOKED_UP_MAX", 3)
    monkeypatch.setattr("saga_service.http.live.reader.LOOKED_UP_MAX", 3)
    async with watched(server, "/v1/sagas/events?key=none") as stream:
        await stream.next("ready")
        await store.commit(batch(*(start(f"key-{number}") for number in range(4))))
        assert (await stream.next()).name == "reload"
