"""A worker with a cipher decrypts what it is told and encrypts what it answers; without the key it says so."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import orjson
import pytest
import structlog
from pydantic import BaseModel

from saga_service.base.clock import now_ms
from saga_service.base.lifecycle import cancel
from saga_service.core.effects import Command
from saga_service.core.vocabulary import Outcome
from saga_service.encryption import Cipher
from saga_service.wire.commands import read_command, write_command
from saga_service.wire.entries import Entry
from saga_service.wire.replies import read_reply
from saga_service.worker import Worker, handover
from saga_service.worker.execution import body_of, success
from saga_service.worker.inbox.deduplication import Decision, Mark, Row, Side, reply_to
from saga_service.worker.replies import Replies
from tests.support.builders import SagaInMemory, definition, delivered
from tests.support.ciphers import MARKER, OF_BOTH, OF_NEW, OF_OLD
from tests.support.waiting import eventually
from tests.support.workers import FAR_AWAY_MS, NAMES, RedisInMemory, acknowledgement, dispatcher_of


class Charge(BaseModel):
    name: str


class Charged(BaseModel):
    charged: str


def encrypted_command(cipher: Cipher | None, *, attempt: int = 1, in_ms: int = FAR_AWAY_MS) -> Entry:
    [sent] = SagaInMemory(definition("charge")).start({"name": MARKER}).commands
    assert isinstance(sent, Command)
    return delivered(write_command(sent._replace(deadline_ms=now_ms() + in_ms, attempt=attempt), NAMES, cipher))


async def answer_to(entry: Entry, cipher: Cipher | None, *, reply_bytes_max: int = 10_000) -> RedisInMemory:
    """What a worker with one handler, which returns the name that it was told, adds to the streams."""
    worker = Worker("service")

    @worker.handler("service.charge")
    async def charge(command: Charge) -> Charged:
        return Charged(charged=command.name)

    redis = RedisInMemory()
    replies = Replies(redis.send, acknowledgement, NAMES, lambda _: None, structlog.get_logger())
    dispatcher = dispatcher_of(worker.handlers, replies, reply_bytes_max=reply_bytes_max, cipher=cipher)
    running = asyncio.create_task(replies.run())
    dispatcher.accept([entry])
    async with asyncio.timeout(10):
        await asyncio.sleep(0)  # what cannot be decrypted has its turn
        await dispatcher.drain(10)
        await replies.flushed()
    await cancel([running])
    return redis


def data_in(redis: RedisInMemory) -> Any:
    """Any: a JSON object."""
    return orjson.loads(redis.added[0].fields[-1])


@pytest.mark.parametrize("key", [OF_OLD, OF_NEW])
async def test_a_command_of_any_known_key_is_decrypted_and_replied_to_with_the_first(key: Cipher) -> None:
    redis = await answer_to(encrypted_command(key), OF_BOTH)
    assert data_in(redis)["$encrypted"].startswith("new.")
    assert read_reply(delivered(redis.added[0]), OF_NEW).output == {"charged": MARKER}


async def test_a_plain_command_is_carried_out_too() -> None:
    redis = await answer_to(encrypted_command(None), OF_NEW)
    assert read_reply(delivered(redis.added[0]), OF_NEW).output == {"charged": MARKER}


@pytest.mark.parametrize("cipher", [OF_NEW, None])
async def test_a_worker_without_the_key_says_so_shortly_before_the_deadline(cipher: Cipher | None) -> None:
    redis = await answer_to(encrypted_command(OF_OLD, in_ms=1_000), cipher)
    [replied] = redis.replies
    assert replied.outcome is Outcome.FAILED
    assert replied.fault is not None
    assert replied.fault.code == "encrypted_command"
    assert "is encrypted with key 'old'" in replied.fault.message
    assert len(redis.acknowledged) == 1


@pytest.mark.parametrize("cipher", [OF_NEW, None])
async def test_a_worker_without_the_key_leaves_the_command_to_one_that_has_it(
    cipher: Cipher | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handover, "PAUSE_S_MAX", 0.0)
    entry, redis, worker = encrypted_command(OF_OLD), RedisInMemory(), Worker("service")

    @worker.handler("service.charge")
    async def charge(command: Charge) -> None: ...

    replies = Replies(redis.send, acknowledgement, NAMES, lambda _: None, structlog.get_logger())
    dispatcher_of(worker.handlers, replies, redis, cipher=cipher).accept([entry])
    await eventually(lambda: redis.passed_on)
    assert redis.passed_on == [entry]
    assert replies.unsent == 0


@pytest.mark.parametrize("recorded_by", [OF_OLD, None])
def test_a_result_that_an_inbox_has_recorded_answers_a_later_attempt(recorded_by: Cipher | None) -> None:
    first, second = (read_command(encrypted_command(OF_NEW, attempt=attempt), OF_BOTH) for attempt in (1, 2))
    recorded = body_of(success(replace(first, cipher=recorded_by), {"charged": MARKER}, 10_000))
    again = reply_to(second, Decision.REPEAT, Row(action=Side(Mark.DONE, 1, recorded)))
    assert again is not None
    assert MARKER not in str(again)
    assert read_reply(delivered(again), OF_BOTH).output == {"charged": MARKER}


async def test_a_result_is_measured_as_it_is_sent() -> None:
    limit = 1_024 + 80
    plain = await answer_to(encrypted_command(None), None, reply_bytes_max=limit)
    encrypted = await answer_to(encrypted_command(None), OF_NEW, reply_bytes_max=limit)
    assert [redis.replies[0].outcome for redis in (plain, encrypted)] == [Outcome.SUCCEEDED, Outcome.FAILED]
