"""Jobs in Postgres: no item is requested twice, none is lost, whatever process ends where, and no table is scanned."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import asyncpg
import pytest
from redis.asyncio import Redis

from saga_service.admin.dead_letters import Replay
from saga_service.admin.letter_replay import JobLetters, job_letters
from saga_service.base.clock import now_ms
from saga_service.core.ids import SagaId
from saga_service.core.vocabulary import Operation, Resolution
from saga_service.engine.ports import Batch, JobTurn, LetterOperation, RequestResult
from saga_service.store.dead_letters import DeadLetterBox
from saga_service.store.jobs import PostgresJobs, PreviewedJob
from saga_service.store.postgres_store import PostgresStore
from saga_service.store.requests import OperationCall, PostgresRequests
from saga_service.store.retention import PostgresRemoval
from saga_service.streams.connection import connect
from saga_service.wire.dead_letters import dead_letter
from saga_service.wire.encryption import EVENT, read_data
from saga_service.wire.entries import Entry
from saga_service.wire.transport import TransportError, TransportUnavailable
from tests.support.ciphers import MARKER, OF_NEW
from tests.support.store_batches import batch, start, state_of

PAUSE = OperationCall(Operation.PAUSE, "ada", "a look")
OPEN_MAX = 100
AT_ONCE = 0
"""Turns follow each other without a pause."""


@pytest.fixture
def jobs(pool: asyncpg.Pool) -> PostgresJobs:
    return PostgresJobs(pool)


async def kept_sagas(store: PostgresStore, count: int) -> list[SagaId]:
    started = [start(f"order-{number}") for number in range(count)]
    await store.commit(batch(*started))
    return [state_of(each).id for each in started]


async def confirmed(jobs: PostgresJobs, job: PreviewedJob) -> int:
    assert (await jobs.confirm(job.job_id, job.confirm, "ada")).verdict == "applied"
    return job.job_id


async def a_job(jobs: PostgresJobs, saga_ids: Sequence[SagaId], call: OperationCall = PAUSE) -> int:
    return await confirmed(jobs, await jobs.preview_sagas(call, saga_ids, {}))


async def turn_of(jobs: PostgresJobs, open_max: int = OPEN_MAX) -> JobTurn:
    turn = await jobs.take_turn(now_ms(), AT_ONCE, open_max)
    assert turn is not None, "a job runs"
    return turn


async def answer_all(store: PostgresStore) -> None:
    entries = await store.claim_requests(now_ms(), 1_000, 10_000)
    numbers = [entry.request.number for entry in entries if entry.request is not None]
    await store.commit(Batch(results=[RequestResult(number, "applied", "", None) for number in numbers]))


async def counts_of(pool: asyncpg.Pool, job_id: int) -> tuple[str, int, int, int]:
    row = await pool.fetchrow("select status, requested, applied, open from saga.jobs where id = $1", job_id)
    assert row is not None
    return row["status"], row["requested"], row["applied"], row["open"]


# ------------------------------------------------------------------------------------------------------------- sagas


async def test_two_replicas_with_one_turn_request_each_saga_once(
    jobs: PostgresJobs, store: PostgresStore, pool: asyncpg.Pool
) -> None:
    """A replica that was paused between its turn and its request does nothing with what it knew."""
    job_id = await a_job(jobs, await kept_sagas(store, 5))
    one = await turn_of(jobs, 3)
    other = await turn_of(jobs, 3)
    assert one.saga_ids == other.saga_ids
    taken = await asyncio.gather(jobs.request(one, now_ms()), jobs.request(other, now_ms()))
    assert sorted(taken) == [0, 3]
    assert await jobs.request(one, now_ms()) == 0
    assert await pool.fetchval("select count(distinct saga_id) from saga.requests") == 3
    assert await counts_of(pool, job_id) == ("running", 3, 0, 3)


async def test_a_job_has_so_many_requests_open_and_goes_on_as_they_are_answered(
    jobs: PostgresJobs, store: PostgresStore, pool: asyncpg.Pool
) -> None:
    saga_ids = await kept_sagas(store, 5)
    job_id = await a_job(jobs, saga_ids)
    assert await jobs.request(await turn_of(jobs, 3), now_ms()) == 3
    assert (await turn_of(jobs, 3)).saga_ids == []
    await answer_all(store)
    turn = await turn_of(jobs, 3)
    assert (turn.reached, turn.saga_ids) == (3, saga_ids[3:])
    await jobs.request(turn, now_ms())
    await answer_all(store)
    assert (await turn_of(jobs)).has_ended
    assert await counts_of(pool, job_id) == ("completed", 5, 5, 0)
    assert await jobs.take_turn(now_ms(), AT_ONCE, OPEN_MAX) is None


async def test_two_jobs_share_what_may_be_open_and_have_their_turns_in_turn(
    jobs: PostgresJobs, store: PostgresStore
) -> None:
    saga_ids = await kept_sagas(store, 8)
    numbers = [await a_job(jobs, saga_ids), await a_job(jobs, saga_ids)]
    turns = [await jobs.take_turn(at_ms, AT_ONCE, 6) for at_ms in (1, 2, 3, 4)]
    assert [turn and turn.job_id for turn in turns] == numbers * 2
    assert [turn and len(turn.saga_ids) for turn in turns] == [3] * 4
    assert await jobs.take_turn(5, 100, 6) is None, "each has had its turn just now"


async def test_however_many_jobs_run_each_goes_on(jobs: PostgresJobs, store: PostgresStore) -> None:
    saga_ids = await kept_sagas(store, 1)
    for _ in range(3):
        await a_job(jobs, saga_ids)
    turns = [await jobs.take_turn(at_ms, AT_ONCE, 2) for at_ms in (1, 2, 3)]
    assert [turn and len(turn.saga_ids) for turn in turns] == [1] * 3


async def test_a_job_that_cannot_go_on_has_its_next_turn_later_and_tells_its_problem_once(
    jobs: PostgresJobs, store: PostgresStore, pool: asyncpg.Pool
) -> None:
    job_id = await a_job(jobs, await kept_sagas(store, 1))
    turn = await jobs.take_turn(1_000, AT_ONCE, OPEN_MAX)
    assert turn is not None
    assert [await jobs.note_problem(job_id, text) for text in ("away", "away", "full")] == [True, False, True]
    assert await jobs.take_turn(2_000, AT_ONCE, OPEN_MAX) is None
    turn = await jobs.take_turn(60_000, AT_ONCE, OPEN_MAX)
    assert turn is not None
    await jobs.request(turn, 60_000)
    assert await pool.fetchval("select problem from saga_private.jobs") is None, "it has moved"


async def test_a_job_that_somebody_holds_keeps_no_other_from_its_turn(
    jobs: PostgresJobs, store: PostgresStore, pool: asyncpg.Pool
) -> None:
    saga_ids = await kept_sagas(store, 1)
    held, other = await a_job(jobs, saga_ids), await a_job(jobs, saga_ids)
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("select from saga_private.jobs where id = $1 for update", held)
        assert (await turn_of(jobs)).job_id == other


async def test_an_answer_is_kept_until_its_job_has_it(
    jobs: PostgresJobs, store: PostgresStore, pool: asyncpg.Pool
) -> None:
    """No replica took a turn for longer than answers are kept."""
    saga_ids = await kept_sagas(store, 2)
    job_id = await a_job(jobs, saga_ids)
    await jobs.request(await turn_of(jobs), now_ms())
    by_sql = await pool.fetchval("select saga.operate('pause', $1)", saga_ids[0])
    await answer_all(store)
    await store.forget_answered(now_ms() + 1_000)
    assert [row[0] for row in await pool.fetch("select request_id from saga.requests")] != [by_sql]
    assert await pool.fetchval("select count(*) from saga.requests") == 2
    await turn_of(jobs)
    assert await counts_of(pool, job_id) == ("completed", 2, 2, 0)
    await store.forget_answered(now_ms() + 1_000)
    assert await pool.fetchval("select count(*) from saga.requests") == 0


async def test_a_request_that_somebody_deleted_is_told_as_unknown(
    jobs: PostgresJobs, store: PostgresStore, pool: asyncpg.Pool
) -> None:
    job_id = await a_job(jobs, await kept_sagas(store, 1))
    await jobs.request(await turn_of(jobs), now_ms())
    await pool.execute("delete from saga_private.requests")
    assert (await turn_of(jobs)).has_ended
    [(verdict, reason)] = await items_of(pool, job_id)
    assert (verdict, "look at the saga" in str(reason)) == ("unknown", True)
    assert await pool.fetchval("select unknown from saga.jobs where id = $1", job_id) == 1


async def test_one_saga_that_is_given_twice_is_operated_once(
    jobs: PostgresJobs, store: PostgresStore, pool: asyncpg.Pool
) -> None:
    [one, two] = await kept_sagas(store, 2)
    job = await jobs.preview_sagas(PAUSE, [two, one, two], {})
    assert job.items == 2
    positions = await pool.fetch("select saga_id::text from saga.job_items order by position")
    assert [row["saga_id"] for row in positions] == [two, one]


async def test_more_items_than_a_job_may_have_are_refused_in_words(pool: asyncpg.Pool) -> None:
    many = "array(select gen_random_uuid() from generate_series(1, 100001))"
    with pytest.raises(asyncpg.DataError, match=r"100,000 items at most, but this one has 100001"):
        await pool.execute(f"select * from saga.preview_job('pause', {many}, 'a look')")
    assert await pool.fetchval("select count(*) from saga.jobs") == 0


async def test_by_sql_a_job_is_previewed_confirmed_and_stopped(pool: asyncpg.Pool, store: PostgresStore) -> None:
    saga_ids = await kept_sagas(store, 2)
    job = await pool.fetchrow("select * from saga.preview_job('pause', $1::uuid[], 'a look', 'ada')", saga_ids)
    assert job is not None
    refused = await pool.fetchrow("select * from saga.confirm_job($1, 'guess')", job["job_id"])
    confirmed = await pool.fetchrow("select * from saga.confirm_job($1, $2, 'ada')", job["job_id"], job["confirm"])
    stopped = await pool.fetchrow("select * from saga.stop_job($1, 'bob')", job["job_id"])
    assert [each and each["verdict"] for each in (refused, confirmed, stopped)] == ["refused", "applied", "applied"]
    shown = await pool.fetchrow("select status, confirmed_by, stopped_by from saga.jobs")
    assert tuple(shown or ()) == ("stopped", "ada", "bob")


async def test_the_output_of_resolve_rests_encrypted_and_each_saga_gets_its_own(
    pool: asyncpg.Pool, store: PostgresStore
) -> None:
    jobs, saga_ids = PostgresJobs(pool, OF_NEW), await kept_sagas(store, 3)
    call = OperationCall(
        Operation.RESOLVE, "ada", "by hand", "charge", Resolution.SUCCEEDED, output={"receipt": MARKER}
    )
    await a_job(jobs, saga_ids, call)
    assert MARKER not in str(await pool.fetch("select * from saga_private.jobs"))
    await jobs.request(await turn_of(jobs), now_ms())
    rows = await pool.fetch("select fields ->> 'saga_id' as id, fields ->> 'data' as data from saga_private.requests")
    read = {row["id"]: read_data(row["data"].encode(), OF_NEW, EVENT, "saga.resolve", row["id"]) for row in rows}
    assert read == {saga_id: {"receipt": MARKER} for saga_id in saga_ids}


# ------------------------------------------------------------------------------------------------------ dead letters


@pytest.fixture
async def client(redis_url: str) -> AsyncIterator[Redis]:
    """Jobs ask Redis for XADD alone, so one Redis is enough."""
    opened = connect(redis_url)
    yield opened
    await opened.aclose()


async def a_replay(jobs: PostgresJobs, store: PostgresStore, count: int) -> int:
    letters = [dead_letter(Entry("saga:events", f"{number}-0", {b"n": b"1"}), "no data", 1) for number in range(count)]
    await store.commit(Batch(dead_letters=letters))
    return await confirmed(
        jobs, await jobs.preview_letters(LetterOperation.REPLAY, "ada", "mended", range(1, count + 1), {})
    )


class Crashing(DeadLetterBox):
    """Ends its process before it notes that dead letters were put back."""

    async def mark_replayed(self, numbers: Sequence[int], at_ms: int) -> list[int]:
        raise KeyboardInterrupt


async def let_leases_run_out(pool: asyncpg.Pool) -> None:
    await pool.execute("update saga_private.job_items set leased_until_ms = 1 where leased_until_ms is not null")


async def items_of(pool: asyncpg.Pool, job_id: int) -> list[tuple[str | None, str | None]]:
    rows = await pool.fetch("select verdict, reason from saga.job_items where job_id = $1 order by position", job_id)
    return [(row["verdict"], row["reason"]) for row in rows]


async def test_what_a_process_put_back_before_it_ended_is_put_back_once_more_and_said_so(
    jobs: PostgresJobs, store: PostgresStore, pool: asyncpg.Pool, client: Redis
) -> None:
    job_id = await a_replay(jobs, store, 2)
    crashing = JobLetters(jobs, Replay(Crashing(pool), PostgresRequests(pool), client))
    with pytest.raises(KeyboardInterrupt):
        await crashing.put_back(await turn_of(jobs), now_ms())

    assert (await turn_of(jobs)).positions == [], "they belong to the other process for a while"
    await let_leases_run_out(pool)
    await job_letters(jobs, pool, None, client).put_back(await turn_of(jobs), now_ms())

    assert await client.execute_command("XLEN", "saga:events") == 4
    items = await items_of(pool, job_id)
    assert [verdict for verdict, _ in items] == ["applied"] * 2
    assert all("maybe once before" in str(reason) for _, reason in items)
    assert (await turn_of(jobs)).has_ended


async def test_what_was_noted_as_put_back_before_the_process_ended_is_not_put_back_again(
    jobs: PostgresJobs, store: PostgresStore, pool: asyncpg.Pool, client: Redis
) -> None:
    job_id = await a_replay(jobs, store, 2)
    begun = await jobs.begin_letters(await turn_of(jobs), now_ms() - 1_000)
    await Replay(DeadLetterBox(pool), PostgresRequests(pool), client).batch([letter.number for letter in begun])
    await let_leases_run_out(pool)
    await job_letters(jobs, pool, None, client).put_back(await turn_of(jobs), now_ms())
    assert await client.execute_command("XLEN", "saga:events") == 2
    assert await items_of(pool, job_id) == [("applied", "put back by a try that ended before it said so")] * 2


async def test_a_stopped_replay_puts_nothing_back_and_tells_what_is_in_doubt(
    jobs: PostgresJobs, store: PostgresStore, pool: asyncpg.Pool, client: Redis
) -> None:
    job_id = await a_replay(jobs, store, 2)
    await jobs.begin_letters(await turn_of(jobs), now_ms())
    await jobs.stop(job_id, "ada")
    await let_leases_run_out(pool)
    await job_letters(jobs, pool, None, client).put_back(await turn_of(jobs), now_ms())
    assert [verdict for verdict, _ in await items_of(pool, job_id)] == ["unknown"] * 2
    assert await client.execute_command("XLEN", "saga:events") == 0
    assert (await turn_of(jobs)).has_ended


async def test_while_redis_is_away_nothing_is_in_doubt_and_a_stop_ends_the_job(
    jobs: PostgresJobs, store: PostgresStore, pool: asyncpg.Pool
) -> None:
    job_id = await a_replay(jobs, store, 1)
    nowhere = connect("redis://127.0.0.1:1/0")
    for _ in range(2):
        with pytest.raises(TransportError):
            await job_letters(jobs, pool, None, nowhere).put_back(await turn_of(jobs), now_ms())
    await jobs.stop(job_id, "ada")
    await job_letters(jobs, pool, None, nowhere).put_back(await turn_of(jobs), now_ms())
    assert await items_of(pool, job_id) == [("refused", "the job was stopped before it was put back")]
    assert (await turn_of(jobs)).has_ended
    await nowhere.aclose()


async def test_a_refusal_that_passes_is_waited_for(
    jobs: PostgresJobs, store: PostgresStore, pool: asyncpg.Pool, client: Redis
) -> None:
    """A Redis without room for more."""
    job_id = await a_replay(jobs, store, 1)
    letters = job_letters(jobs, pool, None, client)
    await client.execute_command("CONFIG", "SET", "maxmemory", "1")
    try:
        with pytest.raises(TransportUnavailable, match="Redis refuses it"):
            await letters.put_back(await turn_of(jobs), now_ms())
    finally:
        await client.execute_command("CONFIG", "SET", "maxmemory", "0")
    await letters.put_back(await turn_of(jobs), now_ms())
    [(verdict, reason)] = await items_of(pool, job_id)
    assert (verdict, "maybe" in str(reason)) == ("applied", False)


# ----------------------------------------------------------------------------------------------------------- removal


async def test_jobs_that_ended_long_ago_and_previews_that_nobody_confirmed_go_with_their_items(
    jobs: PostgresJobs, store: PostgresStore, pool: asyncpg.Pool
) -> None:
    saga_ids = await kept_sagas(store, 3)
    running = await a_job(jobs, saga_ids)
    ended, expired = await a_job(jobs, saga_ids), (await jobs.preview_sagas(PAUSE, saga_ids, {})).job_id
    await jobs.stop(ended, "ada")
    removal, later_ms = PostgresRemoval(pool), now_ms() + 3_600_000
    assert await removal.remove_jobs(0, 0, 10) == 0
    while await removal.remove_jobs(later_ms, later_ms, 2):
        pass
    assert [row[0] for row in await pool.fetch("select id from saga.jobs")] == [running]
    assert await pool.fetchval("select count(*) from saga.job_items where job_id = any($1)", [ended, expired]) == 0
    assert await pool.fetchval("select count(*) from saga.job_items where job_id = $1", running) == 3
